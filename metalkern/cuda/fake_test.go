package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"unsafe"
)

// fake is a driver without a device: memory is Go's, a launch is only noted down, and what must not be done with a handle is
// an error. Device work is put off until someone waits, as on a device.
type fake struct {
	version, count, major, minor int

	mu      sync.Mutex         // guards what kernels are made with, which happens beside all else
	handles map[uintptr]string // what each live handle is
	texts   map[module]string
	// Of functions: by name, by handle, and what they were made of.
	signatures          map[string]signature
	programs            map[function]string
	last                uintptr
	memory              map[address][]byte
	functions           map[function]signature
	carved              map[function]int // percent
	mostBrought         map[function]int // bytes
	graphs              map[graph]*fakeGraph
	executables         map[executable]*fakeGraph
	streams             map[stream][]func() // put off
	ran                 []ran
	launches, graphRuns int
	settings, early     int
	released            int              // contexts
	failing             map[string]error // by call
	loaded              func(ptx string)
}

// ran is a kernel that the device has run.
type ran struct {
	function  function
	groups    [3]uint32
	threads   uint32
	room      uint32
	constants string
	bindings  string
}

type fakeGraph struct {
	nodes []fakeNode
}

type fakeNode struct {
	id     node
	after  []node
	kernel ran
	join   bool
}

func newFake() *fake {
	return &fake{
		version: 12040, count: 1, major: 9, handles: map[uintptr]string{}, last: 100, memory: map[address][]byte{},
		texts: map[module]string{}, signatures: map[string]signature{}, programs: map[function]string{},
		functions: map[function]signature{}, carved: map[function]int{}, mostBrought: map[function]int{}, graphs: map[graph]*fakeGraph{}, executables: map[executable]*fakeGraph{},
		streams: map[stream][]func(){}, failing: map[string]error{}, loaded: func(string) {},
	}
}

func (f *fake) handle(kind string) uintptr {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last += 8
	f.handles[f.last] = kind
	return f.last
}

func (f *fake) gone(handle uintptr, kind string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handles[handle] != kind {
		return fmt.Errorf("fake: handle %d is %q, want a %s", handle, f.handles[handle], kind)
	}
	delete(f.handles, handle)
	return f.failing["destroy "+kind]
}

func (f *fake) driverVersion() (int, error)          { return f.version, f.failing["driverVersion"] }
func (f *fake) deviceCount() (int, error)            { return f.count, nil }
func (f *fake) deviceName(int) (string, error)       { return "Fake GPU", nil }
func (f *fake) deviceMemory(int) (int64, error)      { return 1 << 30, nil }
func (f *fake) releaseContext(int) error             { f.released++; return nil }
func (f *fake) setCurrent(context) error             { return f.failing["setCurrent"] }
func (f *fake) unloadModule(m module) error          { return f.gone(uintptr(m), "module") }
func (f *fake) newStream() (stream, error)           { return stream(f.handle("stream")), nil }
func (f *fake) destroyStream(s stream) error         { return f.gone(uintptr(s), "stream") }
func (f *fake) newEvent() (event, error)             { return event(f.handle("event")), nil }
func (f *fake) destroyEvent(e event) error           { return f.gone(uintptr(e), "event") }
func (f *fake) record(event, stream) error           { return nil }
func (f *fake) destroyGraph(g graph) error           { return f.gone(uintptr(g), "graph") }
func (f *fake) destroyExecutable(e executable) error { return f.gone(uintptr(e), "executable") }

func (f *fake) retainContext(int) (context, error) {
	return context(f.handle("context")), f.failing["retainContext"]
}

func (f *fake) loadModule(ptx string) (module, error) {
	f.loaded(ptx)
	m := module(f.handle("module"))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts[m] = ptx
	return m, f.failing["loadModule"]
}

func (f *fake) compile(ptx string) (string, error) { return ptx, f.failing["compile"] }

func (f *fake) deviceAttribute(_ int, a attribute) (int, error) {
	return map[attribute]int{
		attributeMajor: f.major, attributeMinor: f.minor, attributeMultiprocessors: 132, attributeCoreBytes: 228 << 10, attributeReservedBytes: 1 << 10,
	}[a], nil
}

func (f *fake) function(m module, name string) (function, error) {
	made := function(f.handle("function"))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.programs[made] = f.texts[m]
	f.functions[made] = f.signatures[name]
	return made, nil
}

func (f *fake) functionAttribute(function, functionAttribute) (int, error) { return 256, nil }

func (f *fake) setFunctionAttribute(made function, a functionAttribute, value int) error {
	if a == functionCarveOut {
		f.carved[made] = value
	}
	if a == functionMostBrought {
		f.mostBrought[made] = value
	}
	return f.failing["setFunctionAttribute"]
}

func (f *fake) allocate(bytes int64) (address, error) {
	if err := f.failing["allocate"]; err != nil {
		return 0, err
	}
	at := address(f.handle("memory"))<<32 + 256
	memory := make([]byte, bytes)
	for i := range memory {
		memory[i] = byte(rand.Uint32())
	}
	f.memory[at] = memory
	return at, nil
}

func (f *fake) free(at address) error {
	delete(f.memory, at)
	return f.gone(uintptr(at>>32), "memory")
}

// region is device memory from at on.
func (f *fake) region(at address) []byte {
	base := at>>32<<32 + 256
	return f.memory[base][at-base:]
}

func (f *fake) allocatePinned(bytes int) ([]byte, error) {
	f.handle("pinned")
	return make([]byte, bytes), nil
}

func (f *fake) freePinned([]byte) error {
	for h, kind := range f.handles {
		if kind == "pinned" {
			delete(f.handles, h)
			return nil
		}
	}
	return fmt.Errorf("fake: no pinned memory is left to free")
}

func (f *fake) later(s stream, work func()) error {
	f.streams[s] = append(f.streams[s], work)
	return nil
}

func (f *fake) zero(to address, bytes int64, s stream) error {
	return f.later(s, func() { clear(f.region(to)[:bytes]) })
}

func (f *fake) upload(to address, from []byte, s stream) error {
	return f.later(s, func() { copy(f.region(to)[:len(from)], from) })
}

func (f *fake) download(to []byte, from address, s stream) error {
	return f.later(s, func() { copy(to, f.region(from)) })
}

func (f *fake) synchronize(s stream) error {
	for _, work := range f.streams[s] {
		work()
	}
	delete(f.streams, s)
	return f.failing["synchronize"]
}

func (f *fake) waitEvent(event) error {
	for s := range f.streams {
		if err := f.synchronize(s); err != nil {
			return err
		}
	}
	return f.failing["waitEvent"]
}

// copied is what the driver keeps of a launch: the bytes behind its parameters at the time of the call.
func (f *fake) copied(l *launch) ran {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.functions[l.function]
	r := ran{function: l.function, groups: l.groups, threads: l.threads, room: l.room}
	r.constants = string(unsafe.Slice((*byte)(l.parameters[0]), s.constantBytes))
	for i := range s.buffers {
		r.bindings += fmt.Sprint(*(*address)(l.parameters[1+i]), " ")
	}
	return r
}

func (f *fake) launch(l *launch, s stream, early bool) error {
	if err := f.failing["launch"]; err != nil {
		return err
	}
	f.launches++
	if early {
		f.early++
	}
	r := f.copied(l)
	return f.later(s, func() { f.ran = append(f.ran, r) })
}

func (f *fake) newGraph() (graph, error) {
	g := graph(f.handle("graph"))
	f.graphs[g] = &fakeGraph{}
	return g, f.failing["newGraph"]
}

func (f *fake) add(g graph, n fakeNode) (node, error) {
	for _, before := range n.after {
		if !slices.ContainsFunc(f.graphs[g].nodes, func(m fakeNode) bool { return m.id == before }) {
			return 0, fmt.Errorf("fake: node %d is not of this graph", before)
		}
	}
	n.id, n.after = node(f.handle("node")), slices.Clone(n.after)
	f.graphs[g].nodes = append(f.graphs[g].nodes, n)
	return n.id, f.failing["add"]
}

func (f *fake) addKernel(g graph, after []node, l *launch) (node, error) {
	return f.add(g, fakeNode{after: after, kernel: f.copied(l)})
}

func (f *fake) canOverlap() bool { return true }

func (f *fake) addEarlyKernel(g graph, after node, l *launch) (node, error) {
	for _, n := range f.graphs[g].nodes {
		if n.id == after && n.join {
			return 0, fmt.Errorf("fake: node %d is no kernel", after)
		}
	}
	f.early++
	return f.addKernel(g, []node{after}, l)
}

func (f *fake) addJoin(g graph, after []node) (node, error) {
	return f.add(g, fakeNode{after: after, join: true})
}

func (f *fake) instantiate(g graph) (executable, error) {
	e := executable(f.handle("executable"))
	f.executables[e] = &fakeGraph{slices.Clone(f.graphs[g].nodes)}
	return e, nil
}

func (f *fake) setKernel(e executable, n node, l *launch) error {
	f.settings++
	for i := range f.executables[e].nodes {
		if f.executables[e].nodes[i].id == n {
			if err := f.failing["setKernel"]; err != nil {
				return err
			}
			f.executables[e].nodes[i].kernel = f.copied(l)
			return nil
		}
	}
	return fmt.Errorf("fake: no node %d", n)
}

// launchGraph runs nodes in any order that their edges allow.
func (f *fake) launchGraph(e executable, s stream) error {
	f.graphRuns++
	nodes := slices.Clone(f.executables[e].nodes)
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return f.later(s, func() {
		done := map[node]bool{}
		for len(done) < len(nodes) {
			for _, n := range nodes {
				ready := !slices.ContainsFunc(n.after, func(m node) bool { return !done[m] })
				if done[n.id] || !ready {
					continue
				}
				done[n.id] = true
				if !n.join {
					f.ran = append(f.ran, n.kernel)
				}
			}
		}
	})
}
