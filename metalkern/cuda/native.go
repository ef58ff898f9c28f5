package cuda

import (
	"bytes"
	"runtime"
	"sync"
	"unsafe"

	"segue/metalkern/ccall"
)

// native is the driver itself. Every method is one call, whose result is checked.
type native struct {
	addresses [symbolCount]uintptr
	frames    sync.Pool // of *frame
}

// frame is a call's arguments and the places that the driver writes to or reads from during the call. All of it is on the
// heap, which does not move.
type frame struct {
	ccall.Call
	out    uintptr
	text   [256]byte
	config launchConfig
	node   kernelNode

	from, to node
	edge     edge
}

// launchConfig is the driver's CUlaunchConfig.
type launchConfig struct {
	groups, threads [3]uint32
	sharedBytes     uint32
	stream          stream
	attributes      uintptr
	attributeCount  uint32
}

// kernelNode is the driver's CUDA_KERNEL_NODE_PARAMS in its first version, which the functions without a suffix take.
type kernelNode struct {
	function        function
	groups, threads [3]uint32
	sharedBytes     uint32
	parameters      unsafe.Pointer
	extra           uintptr
}

func newNative(addresses [symbolCount]uintptr) *native {
	return &native{addresses: addresses, frames: sync.Pool{New: func() any { return new(frame) }}}
}

func (n *native) frame() *frame { return n.frames.Get().(*frame) }

// with is a call in a frame of the caller's. What args point to must be on the heap, and alive until it returns.
func (n *native) with(f *frame, s symbol, args ...uintptr) error {
	copy(f.Args[:], args)
	return n.call(f, s)
}

// call calls with the arguments in the frame.
func (n *native) call(f *frame, s symbol) error {
	code := int32(f.Call.Call(n.addresses[s]))
	if code == 0 {
		return nil
	}
	return &Error{Call: symbolNames[s], Code: int(code), Name: n.describe(cuGetErrorName, code), Text: n.describe(cuGetErrorString, code)}
}

// do is a call that returns nothing.
func (n *native) do(s symbol, args ...uintptr) error {
	f := n.frame()
	defer n.frames.Put(f)
	return n.with(f, s, args...)
}

// get is a call whose first argument is where the driver writes a handle or a number.
func (n *native) get(s symbol, args ...uintptr) (uintptr, error) {
	f := n.frame()
	defer n.frames.Put(f)
	f.out = 0
	f.Args[0] = uintptr(unsafe.Pointer(&f.out))
	copy(f.Args[1:], args)
	if err := n.call(f, s); err != nil {
		return 0, err
	}
	return f.out, nil
}

// describe asks the driver for the name or the text of a code.
func (n *native) describe(s symbol, code int32) string {
	f := n.frame()
	defer n.frames.Put(f)
	f.out = 0
	f.Args[0], f.Args[1] = uintptr(code), uintptr(unsafe.Pointer(&f.out))
	if int32(f.Call.Call(n.addresses[s])) != 0 || f.out == 0 {
		return "unknown"
	}
	return cString(f.out)
}

// foreign turns an address that C gave into a pointer. It is not of Go's memory, so the collector does not mind.
func foreign(at uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&at)) }

// cString copies a text of the driver's.
func cString(at uintptr) string {
	n := 0
	for *(*byte)(unsafe.Add(foreign(at), n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(foreign(at)), n))
}

// terminated is a copy of text with a zero after it, on the heap.
//
//go:noinline
func terminated(text string) *byte {
	b := make([]byte, len(text)+1)
	copy(b, text)
	return &b[0]
}

func pointer(p *byte) uintptr { return uintptr(unsafe.Pointer(p)) }

func (n *native) driverVersion() (int, error) {
	if err := n.do(cuInit, 0); err != nil {
		return 0, err
	}
	v, err := n.get(cuDriverGetVersion)
	return int(int32(v)), err
}

func (n *native) deviceCount() (int, error) {
	v, err := n.get(cuDeviceGetCount)
	return int(int32(v)), err
}

func (n *native) deviceName(device int) (string, error) {
	f := n.frame()
	defer n.frames.Put(f)
	clear(f.text[:])
	err := n.with(f, cuDeviceGetName, pointer(&f.text[0]), uintptr(len(f.text)-1), uintptr(device))
	name, _, _ := bytes.Cut(f.text[:], []byte{0})
	return string(name), err
}

func (n *native) deviceAttribute(device int, a attribute) (int, error) {
	v, err := n.get(cuDeviceGetAttribute, uintptr(a), uintptr(device))
	return int(int32(v)), err
}

func (n *native) deviceMemory(device int) (int64, error) {
	v, err := n.get(cuDeviceTotalMem, uintptr(device))
	return int64(v), err
}

// retainContext takes the context that all users of a device in this process share.
func (n *native) retainContext(device int) (context, error) {
	v, err := n.get(cuDevicePrimaryCtxRetain, uintptr(device))
	return context(v), err
}

func (n *native) releaseContext(device int) error {
	return n.do(cuDevicePrimaryCtxRelease, uintptr(device))
}

func (n *native) setCurrent(c context) error { return n.do(cuCtxSetCurrent, uintptr(c)) }

// Options of the driver's compiler.
const (
	optionErrorLog      = 5
	optionErrorLogBytes = 6
)

// compiler is where the driver's compiler finds its options and writes its log.
type compiler struct {
	options [2]int32
	values  [2]uintptr
	log     [8192]byte
}

func (n *native) loadModule(ptx string) (module, error) {
	text := terminated(ptx)
	c := &compiler{options: [2]int32{optionErrorLog, optionErrorLogBytes}}
	c.values = [2]uintptr{pointer(&c.log[0]), uintptr(len(c.log) - 1)}
	m, err := n.get(cuModuleLoadDataEx, pointer(text), uintptr(len(c.options)), uintptr(unsafe.Pointer(&c.options)), uintptr(unsafe.Pointer(&c.values)))
	runtime.KeepAlive(text)
	if failed, ok := err.(*Error); ok {
		log, _, _ := bytes.Cut(c.log[:], []byte{0})
		failed.Log = string(bytes.TrimSpace(log))
	}
	runtime.KeepAlive(c)
	return module(m), err
}

func (n *native) unloadModule(m module) error { return n.do(cuModuleUnload, uintptr(m)) }

func (n *native) function(m module, name string) (function, error) {
	text := terminated(name)
	fn, err := n.get(cuModuleGetFunction, uintptr(m), pointer(text))
	runtime.KeepAlive(text)
	return function(fn), err
}

func (n *native) functionAttribute(f function, a functionAttribute) (int, error) {
	v, err := n.get(cuFuncGetAttribute, uintptr(a), uintptr(f))
	return int(int32(v)), err
}
