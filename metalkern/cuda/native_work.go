package cuda

import (
	"runtime"
	"unsafe"
)

// The driver's memory, streams, launches and graphs.

func (n *native) allocate(bytes int64) (address, error) {
	a, err := n.get(cuMemAlloc, uintptr(bytes))
	return address(a), err
}

func (n *native) free(a address) error { return n.do(cuMemFree, uintptr(a)) }

func (n *native) allocatePinned(bytes int) ([]byte, error) {
	p, err := n.get(cuMemHostAlloc, uintptr(bytes), 0)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(foreign(p)), bytes), nil
}

func (n *native) freePinned(b []byte) error { return n.do(cuMemFreeHost, pointer(&b[0])) }

func (n *native) zero(to address, bytes int64, s stream) error {
	return n.do(cuMemsetD8Async, uintptr(to), 0, uintptr(bytes), uintptr(s))
}

func (n *native) upload(to address, from []byte, s stream) error {
	return n.do(cuMemcpyHtoDAsync, uintptr(to), pointer(&from[0]), uintptr(len(from)), uintptr(s))
}

func (n *native) download(to []byte, from address, s stream) error {
	return n.do(cuMemcpyDtoHAsync, pointer(&to[0]), uintptr(from), uintptr(len(to)), uintptr(s))
}

// streamNonBlocking: not ordered with work on the default stream, of which this package has none.
const streamNonBlocking = 1

func (n *native) newStream() (stream, error) {
	s, err := n.get(cuStreamCreate, streamNonBlocking)
	return stream(s), err
}

func (n *native) destroyStream(s stream) error { return n.do(cuStreamDestroy, uintptr(s)) }
func (n *native) synchronize(s stream) error   { return n.do(cuStreamSynchronize, uintptr(s)) }

// Events are waited for asleep, not spinning: segue shares the processor with whoever plays the music.
const eventBlockingSync, eventDisableTiming = 1, 2

func (n *native) newEvent() (event, error) {
	e, err := n.get(cuEventCreate, eventBlockingSync|eventDisableTiming)
	return event(e), err
}

func (n *native) destroyEvent(e event) error     { return n.do(cuEventDestroy, uintptr(e)) }
func (n *native) record(e event, s stream) error { return n.do(cuEventRecord, uintptr(e), uintptr(s)) }
func (n *native) waitEvent(e event) error        { return n.do(cuEventSynchronize, uintptr(e)) }

// allowEarly is what a launch is told so that it need not wait for the end of the last one of its stream.
var allowEarly = &launchAttribute{id: 6, value: 1}

func (n *native) launch(l *launch, s stream, early bool) error {
	f := n.frame()
	defer n.frames.Put(f)
	f.config = launchConfig{groups: l.groups, threads: [3]uint32{l.threads, 1, 1}, sharedBytes: l.room, stream: s}
	if early {
		f.config.attributes, f.config.attributeCount = allowEarly, 1
	}
	return n.with(f, cuLaunchKernelEx, uintptr(unsafe.Pointer(&f.config)), uintptr(l.function), uintptr(unsafe.Pointer(&l.parameters)), 0)
}

// node is the launch as a graph's.
func (l *launch) node() kernelNode {
	return kernelNode{
		function: l.function, groups: l.groups, threads: [3]uint32{l.threads, 1, 1}, sharedBytes: l.room,
		parameters: unsafe.Pointer(&l.parameters),
	}
}

func (n *native) newGraph() (graph, error) {
	g, err := n.get(cuGraphCreate, 0)
	return graph(g), err
}

func (n *native) addKernel(g graph, after []node, l *launch) (node, error) {
	f := n.frame()
	defer n.frames.Put(f)
	f.node = l.node()
	f.out = 0
	err := n.with(f, cuGraphAddKernelNode, uintptr(unsafe.Pointer(&f.out)), uintptr(g), first(after), uintptr(len(after)), uintptr(unsafe.Pointer(&f.node)))
	runtime.KeepAlive(after)
	return node(f.out), err
}

func (n *native) canOverlap() bool { return n.addresses[cuGraphAddDependencies] != 0 }

// edge is the driver's CUgraphEdgeData.
type edge struct {
	fromPort, toPort, kind uint8
	_                      [5]byte
}

// programmaticEdge lets a kernel start when all threadgroups of the one before have said that it may.
var programmaticEdge = edge{fromPort: 1, kind: 1}

func (n *native) addEarlyKernel(g graph, after node, l *launch) (node, error) {
	added, err := n.addKernel(g, nil, l)
	if err != nil {
		return 0, err
	}
	f := n.frame()
	defer n.frames.Put(f)
	f.from, f.to, f.edge = after, added, programmaticEdge
	err = n.with(f, cuGraphAddDependencies, uintptr(g), uintptr(unsafe.Pointer(&f.from)), uintptr(unsafe.Pointer(&f.to)), uintptr(unsafe.Pointer(&f.edge)), 1)
	return added, err
}

// addJoin adds a node that does nothing but wait for others.
func (n *native) addJoin(g graph, after []node) (node, error) {
	v, err := n.get(cuGraphAddEmptyNode, uintptr(g), first(after), uintptr(len(after)))
	runtime.KeepAlive(after)
	return node(v), err
}

// first is the address of a list, which must be on the heap.
func first(list []node) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(list))) }

func (n *native) instantiate(g graph) (executable, error) {
	e, err := n.get(cuGraphInstantiateWithFlags, uintptr(g), 0)
	return executable(e), err
}

// setKernel changes what a node will run from the next launch of its graph on; launches under way are not touched.
func (n *native) setKernel(e executable, k node, l *launch) error {
	f := n.frame()
	defer n.frames.Put(f)
	f.node = l.node()
	return n.with(f, cuGraphExecKernelNodeSetParams, uintptr(e), uintptr(k), uintptr(unsafe.Pointer(&f.node)))
}

func (n *native) launchGraph(e executable, s stream) error {
	return n.do(cuGraphLaunch, uintptr(e), uintptr(s))
}

func (n *native) destroyGraph(g graph) error           { return n.do(cuGraphDestroy, uintptr(g)) }
func (n *native) destroyExecutable(e executable) error { return n.do(cuGraphExecDestroy, uintptr(e)) }
