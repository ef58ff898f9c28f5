//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"unsafe"

	_ "github.com/ebitengine/purego" // prepares the runtime for calls into C without cgo
)

// Calls into C. A step of a decoder sends thousands of messages, so a call must cost next to nothing: one frame that is
// used again and again, and 15 instructions that load it into registers. purego's own calls take 5 to 20 times as long
// and allocate (SPEED.md).

// frame is one call: words go to the integer registers; stack only exists on amd64, where structs of more than 16 bytes
// are passed there. The assembly knows the offsets.
type frame struct {
	function uintptr
	result   uintptr
	float    float64
	words    [8]uintptr
	stack    [6]uintptr
}

//go:linkname runtimeCgocall runtime.cgocall
func runtimeCgocall(function uintptr, argument unsafe.Pointer) int32

// callC is the address of the assembly that takes a *frame by C's convention.
var callC uintptr

// call runs on the goroutine's own thread. A frame lives on the heap, because cgocall may move the stack.
func (f *frame) call() uintptr {
	runtimeCgocall(callC, unsafe.Pointer(f))
	return f.result
}
