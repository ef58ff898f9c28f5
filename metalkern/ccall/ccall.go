// Package ccall calls C functions of a library that was opened at run time, without cgo and without allocating. A GPU
// driver is called hundreds of times in a millisecond, and purego's general call costs an allocation and three times the
// time (BenchmarkCall). Only integers and pointers can be passed, six at most, and one integer comes back.
package ccall

// Call is one call's frame: it may be used again and again, by one goroutine at a time, and must live on the heap, because
// C sees its arguments by address.
type Call struct {
	fn     uintptr
	result uintptr
	Args   [MaxArgs]uintptr
}

// MaxArgs is the largest number of arguments on every system that this package knows.
const MaxArgs = 6
