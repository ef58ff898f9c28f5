package cuda

import (
	"bytes"
	"errors"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

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
	size   uintptr
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
	attributes      *launchAttribute
	attributeCount  uint32
}

// launchAttribute is the driver's CUlaunchAttribute, of which a value has 64 bytes at most.
type launchAttribute struct {
	id, _ int32
	value int32
	_     [60]byte
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
	return n.result(s, int32(f.Call.Call(n.addresses[s])))
}

// result is what a call's code means.
func (n *native) result(s symbol, code int32) error {
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

// newCompiler is on the heap, where the driver finds its options again in later calls.
//
//go:noinline
func newCompiler() *compiler {
	c := &compiler{options: [2]int32{optionErrorLog, optionErrorLogBytes}}
	c.values = [2]uintptr{pointer(&c.log[0]), uintptr(len(c.log) - 1)}
	return c
}

// arguments are the number of options, their names and their values.
func (c *compiler) arguments() (count, options, values uintptr) {
	return uintptr(len(c.options)), uintptr(unsafe.Pointer(&c.options)), uintptr(unsafe.Pointer(&c.values))
}

// logged adds what the compiler said to an error of its call.
func (c *compiler) logged(err error) error {
	if failed, ok := err.(*Error); ok {
		log, _, _ := bytes.Cut(c.log[:], []byte{0})
		failed.Log = string(bytes.TrimSpace(log))
	}
	runtime.KeepAlive(c)
	return err
}

func (n *native) loadModule(text string) (module, error) {
	at, c := terminated(text), newCompiler()
	count, options, values := c.arguments()
	m, err := n.get(cuModuleLoadDataEx, pointer(at), count, options, values)
	runtime.KeepAlive(at)
	return module(m), c.logged(err)
}

// compile goes by the driver's linker, which does not keep other threads from the device for as long as it takes.
func (n *native) compile(ptx string) (cubin string, err error) {
	f, c := n.frame(), newCompiler()
	defer n.frames.Put(f)
	count, options, values := c.arguments()
	if err := n.with(f, cuLinkCreate, count, options, values, uintptr(unsafe.Pointer(&f.out))); err != nil {
		return "", err
	}
	linker := f.out
	defer func() {
		err = errors.Join(err, n.do(cuLinkDestroy, linker))
		runtime.KeepAlive(c)
	}()
	const isPTX = 1
	text, name := terminated(ptx), terminated("kernel")
	// Eight arguments are more than a frame has.
	code, _, _ := purego.SyscallN(n.addresses[cuLinkAddData], linker, isPTX, pointer(text), uintptr(len(ptx)+1), pointer(name), 0, 0, 0)
	runtime.KeepAlive(text)
	runtime.KeepAlive(name)
	err = n.result(cuLinkAddData, int32(code))
	if err == nil {
		err = n.with(f, cuLinkComplete, linker, uintptr(unsafe.Pointer(&f.out)), uintptr(unsafe.Pointer(&f.size)))
	}
	if err = c.logged(err); err != nil {
		return "", err
	}
	return string(unsafe.Slice((*byte)(foreign(f.out)), f.size)), nil
}

func (n *native) unloadModule(m module) error { return n.do(cuModuleUnload, uintptr(m)) }

func (n *native) function(m module, name string) (function, error) {
	text := terminated(name)
	fn, err := n.get(cuModuleGetFunction, uintptr(m), pointer(text))
	runtime.KeepAlive(text)
	return function(fn), err
}

func (n *native) setFunctionAttribute(f function, a functionAttribute, value int) error {
	return n.do(cuFuncSetAttribute, uintptr(f), uintptr(a), uintptr(value))
}

func (n *native) functionAttribute(f function, a functionAttribute) (int, error) {
	v, err := n.get(cuFuncGetAttribute, uintptr(a), uintptr(f))
	return int(int32(v)), err
}
