// Package ccall calls C functions of a library that was opened at run time, without cgo and without allocating. A GPU
// driver is called hundreds of times in a millisecond, and purego's general call costs an allocation and three times the
// time (BenchmarkCall). Integers and pointers are passed, six at most; an integer or a float64 comes back.
package ccall

// Call is one call's frame: it may be used again and again, by one goroutine at a time, and must live on the heap, because
// C sees its arguments by address.
type Call struct {
	fn     uintptr
	result uintptr
	// Float is what a function returned that returns a double. Not on Windows.
	Float float64
	Args  [MaxArgs]uintptr
	// Stack lies where C on amd64 passes structs of more than 16 bytes by value. Elsewhere such structs travel as pointers
	// in Args, and this is not read.
	Stack [6]uintptr
}

// MaxArgs is the largest number of arguments on every system that this package knows.
const MaxArgs = 6
