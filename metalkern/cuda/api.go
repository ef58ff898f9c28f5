package cuda

import (
	"fmt"
	"unsafe"

	"segue/engine/kern"
)

// api is what this package uses of NVIDIA's driver interface; names and order of arguments follow it. native calls the
// driver, tests put a pretended one in its place. All but the first group want a current context.
type api interface {
	driverVersion() (int, error)
	deviceCount() (int, error)
	deviceName(device int) (string, error)
	deviceAttribute(device int, attribute attribute) (int, error)
	deviceMemory(device int) (int64, error)
	retainContext(device int) (context, error)
	releaseContext(device int) error
	setCurrent(context) error

	loadModule(text string) (module, error) // PTX, or what compile made of it
	compile(ptx string) (string, error)     // other than loadModule, beside the launches of other threads
	unloadModule(module) error
	function(m module, name string) (function, error)
	functionAttribute(f function, a functionAttribute) (int, error)
	setFunctionAttribute(f function, a functionAttribute, value int) error

	allocate(bytes int64) (address, error)
	free(address) error
	allocatePinned(bytes int) ([]byte, error)
	freePinned([]byte) error
	zero(to address, bytes int64, s stream) error
	upload(to address, from []byte, s stream) error   // from is pinned
	download(to []byte, from address, s stream) error // to is pinned

	newStream() (stream, error)
	destroyStream(stream) error
	synchronize(stream) error
	newEvent() (event, error)
	destroyEvent(event) error
	record(event, stream) error
	waitEvent(event) error

	launch(l *launch, s stream, early bool) error // early: it may start before the last one of the stream has ended
	newGraph() (graph, error)
	addKernel(g graph, after []node, l *launch) (node, error)
	canOverlap() bool                                            // whether addEarlyKernel works
	addEarlyKernel(g graph, after node, l *launch) (node, error) // may start before the one after which it comes has ended
	addJoin(g graph, after []node) (node, error)
	instantiate(graph) (executable, error)
	setKernel(e executable, n node, l *launch) error
	launchGraph(executable, stream) error
	destroyGraph(graph) error
	destroyExecutable(executable) error
}

// Handles of the driver.
type (
	context    uintptr
	module     uintptr
	function   uintptr
	stream     uintptr
	event      uintptr
	graph      uintptr
	node       uintptr
	executable uintptr
	address    uint64 // in device memory
)

// launch is one kernel with everything that it needs. parameters[i] points to argument i; the driver copies as many bytes
// as the kernel declares. It lives on the heap, because the driver is handed its address.
type launch struct {
	function   function
	groups     [3]uint32
	threads    uint32 // a row
	room       uint32 // see room.go
	parameters [1 + maxBindings]unsafe.Pointer
}

type attribute int32

const (
	attributeMultiprocessors attribute = 16
	attributeMajor           attribute = 75
	attributeMinor           attribute = 76
	attributeCoreBytes       attribute = 81  // of a multiprocessor's memory that can be threadgroups'
	attributeReservedBytes   attribute = 111 // of it, that the driver takes for each threadgroup
)

type functionAttribute int32

const (
	functionMaxThreads  functionAttribute = 0
	functionSharedBytes functionAttribute = 1
	functionRegisters   functionAttribute = 4
	functionMostBrought functionAttribute = 8 // threadgroup memory that a launch may bring
	functionCarveOut    functionAttribute = 9 // percent of a core's memory that is to be threadgroups'
)

// Error is a driver call that failed.
type Error struct {
	Call       string // of the driver interface
	Code       int
	Name, Text string // by the driver
	Log        string // of its compiler
}

func (e *Error) Error() string {
	s := fmt.Sprintf("cuda: %s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
	if e.Log != "" {
		s += "\n" + e.Log
	}
	return s
}

const outOfMemory = 2 // CUDA_ERROR_OUT_OF_MEMORY

// Is says which kind of kern's errors it is.
func (e *Error) Is(target error) bool {
	if e.Code == outOfMemory {
		return target == kern.ErrMemory
	}
	return target == kern.ErrDevice
}

// lost says whether every later call would fail too: errors of a running kernel take the context with them.
func (e *Error) lost() bool {
	switch e.Code {
	case 214, 220, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999:
		return true
	}
	return false
}
