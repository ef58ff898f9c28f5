//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/ebitengine/purego"

	"segue/metalkern/ccall"
)

// id is an Objective-C object, or nil where it is 0. Messages to nil return 0, so every id that a message returns is
// checked before it is used.
type id uintptr

// library holds the functions of Objective-C and Metal that are called by name, and the registered selectors.
type library struct {
	getClass, registerName, poolPush, poolPop, msgSend uintptr
	objectClass, instanceMethod, typeEncoding          uintptr
	defaultDevice, allDevices                          uintptr
	selectors                                          [selectorCount]uintptr
}

// load opens the libraries and finds the functions in any of them.
func load() (*library, error) {
	paths, err := libraries()
	if err != nil {
		return nil, err
	}
	var handles []uintptr
	for _, path := range paths {
		h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err != nil {
			return nil, fmt.Errorf("metal: load %s: %w", path, err)
		}
		handles = append(handles, h)
	}
	l := &library{}
	for name, p := range map[string]*uintptr{
		"objc_getClass": &l.getClass, "sel_registerName": &l.registerName, "objc_msgSend": &l.msgSend,
		"objc_autoreleasePoolPush": &l.poolPush, "objc_autoreleasePoolPop": &l.poolPop,
		"object_getClass": &l.objectClass, "class_getInstanceMethod": &l.instanceMethod, "method_getTypeEncoding": &l.typeEncoding,
		"MTLCreateSystemDefaultDevice": &l.defaultDevice, "MTLCopyAllDevices": &l.allDevices,
	} {
		var err error
		for _, h := range handles {
			if *p, err = purego.Dlsym(h, name); err == nil {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("metal: %s is in none of %v: %w", name, paths, err)
		}
	}
	return l, nil
}

// caller sends messages from one thread. All of Metal is called through one caller, on the thread of thread.go. A step of a
// decoder sends thousands of messages, so they go through package ccall: purego's own calls take several times as long.
type caller struct {
	*library
	call  ccall.Call
	sizes [6]uint64 // of a dispatch, where they are passed by reference
	err   uintptr   // where methods put an NSError
}

// c calls a C function.
func (c *caller) c(function uintptr, words ...uintptr) uintptr {
	copy(c.call.Args[:], words)
	return c.call.Call(function)
}

func (c *caller) send(to id, s selector, words ...uintptr) uintptr {
	c.call.Args[0], c.call.Args[1] = uintptr(to), c.selectors[s]
	copy(c.call.Args[2:], words)
	return c.call.Call(c.msgSend)
}

// truth sends a message that returns BOOL, of which only the lowest byte counts.
func (c *caller) truth(to id, s selector, words ...uintptr) bool {
	return byte(c.send(to, s, words...)) != 0
}

func (c *caller) seconds(to id, s selector) float64 {
	c.send(to, s)
	return c.call.Float
}

// dispatch sends encoderDispatch. Its two structs of 24 bytes travel on the stack on amd64, and by reference on arm64.
func (c *caller) dispatch(encoder id, sizes *[6]uint64) {
	if runtime.GOARCH == "arm64" {
		c.sizes = *sizes
		c.send(encoder, encoderDispatch, uintptr(unsafe.Pointer(&c.sizes[0])), uintptr(unsafe.Pointer(&c.sizes[3])))
		return
	}
	for i, n := range sizes {
		c.call.Stack[i] = uintptr(n)
	}
	c.send(encoder, encoderDispatch)
}

func (c *caller) register() {
	for s, m := range messages {
		name := cString(m.name)
		c.selectors[s] = c.c(c.registerName, uintptr(unsafe.Pointer(name)))
		runtime.KeepAlive(name)
	}
}

func (c *caller) class(name string) (id, error) {
	text := cString(name)
	class := id(c.c(c.getClass, uintptr(unsafe.Pointer(text))))
	runtime.KeepAlive(text)
	if class == 0 {
		return 0, fmt.Errorf("metal: there is no class %s", name)
	}
	return class, nil
}

// verify compares what the runtime says of the methods of an object with the table, before the first of them is sent: a
// method that is not there would end the process.
func (c *caller) verify(object id, owners ...string) error {
	class := c.c(c.objectClass, uintptr(object))
	for s, m := range messages {
		if !slices.Contains(owners, m.owner) {
			continue
		}
		if err := c.verifyMethod(object, class, selector(s), m); err != nil {
			return err
		}
	}
	return nil
}

// verifyNew verifies an object that was made for us, and returns it. One that is refused is released, unless it is release
// that is not what the table says.
func (c *caller) verifyNew(made id, owner string) (id, error) {
	if err := c.verify(made, "NSObject"); err != nil {
		return 0, err
	}
	if err := c.verify(made, owner); err != nil {
		c.send(made, objectRelease)
		return 0, err
	}
	return made, nil
}

func (c *caller) verifyMethod(object id, class uintptr, s selector, m message) error {
	if c.selectors[s] == 0 {
		return nil // optional, and missing from an earlier object
	}
	method := c.c(c.instanceMethod, class, c.selectors[s])
	if method == 0 {
		// A tool between us and Metal, such as a debugger's, may pass messages on to the object behind it.
		if c.truth(object, objectResponds, c.selectors[s]) {
			return nil
		}
		if m.optional {
			c.selectors[s] = 0
			return nil
		}
		return fmt.Errorf("metal: %s has no method %s; this system is too old or too new for this version of segue", m.owner, m.name)
	}
	if got := goString(c.c(c.typeEncoding, method)); !sameShape(got, m.encoding) {
		return fmt.Errorf("metal: %s %s: got types %q, want %q", m.owner, m.name, got, m.encoding)
	}
	return nil
}

func sameShape(got, want string) bool {
	g, err := shape(got)
	w, bad := shape(want)
	return err == nil && bad == nil && g == w
}

// nsString returns an autoreleased string.
func (c *caller) nsString(text string) (id, error) {
	class, err := c.class("NSString")
	if err != nil {
		return 0, err
	}
	const utf8 = 4
	bytes := cString(text)
	s := id(c.send(class, stringWithCString, uintptr(unsafe.Pointer(bytes)), utf8))
	runtime.KeepAlive(bytes)
	if s == 0 {
		return 0, fmt.Errorf("metal: no NSString of %d bytes", len(text))
	}
	return s, nil
}

func (c *caller) text(nsString id) string {
	if nsString == 0 {
		return ""
	}
	return goString(c.send(nsString, stringUTF8))
}

// failure is what an NSError says.
func (c *caller) failure(nsError id) string {
	if nsError == 0 {
		return "no reason given"
	}
	return c.text(id(c.send(nsError, errorDescription)))
}

// code is the number of an NSError, 0 where there is none.
func (c *caller) code(nsError id) uintptr {
	if nsError == 0 {
		return 0
	}
	return c.send(nsError, errorCode)
}

// errorPlace is where a method may put an NSError, cleared.
func (c *caller) errorPlace() uintptr {
	c.err = 0
	return uintptr(unsafe.Pointer(&c.err))
}

// cString is a copy of a text with a zero after it, on the heap.
//
//go:noinline
func cString(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}

// pointer turns an address of C's into a pointer, unseen by vet: such memory is not Go's and does not move.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

func goString(address uintptr) string {
	if address == 0 {
		return ""
	}
	p := pointer(address)
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
