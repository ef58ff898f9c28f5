//go:build (linux || darwin) && (amd64 || arm64)

package ccall

import (
	"unsafe"

	_ "github.com/ebitengine/purego" // prepares the runtime for threads that C code may use
)

//go:linkname runtimeCgocall runtime.cgocall
func runtimeCgocall(fn uintptr, frame unsafe.Pointer) int32

// trampolineABI0 is the address of trampoline in the assembly.
var trampolineABI0 uintptr

// Call calls the C function at fn with c.Args. The garbage collector does not see pointers in Args: what they point to must
// be kept alive, and on the heap, by the caller.
func (c *Call) Call(fn uintptr) uintptr {
	c.fn = fn
	runtimeCgocall(trampolineABI0, unsafe.Pointer(c))
	return c.result
}
