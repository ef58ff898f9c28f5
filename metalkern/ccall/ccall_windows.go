package ccall

import "syscall"

// Call calls the C function at fn with c.Args. The garbage collector does not see pointers in Args: what they point to must
// be kept alive, and on the heap, by the caller.
func (c *Call) Call(fn uintptr) uintptr {
	c.fn = fn
	a := &c.Args
	c.result, _, _ = syscall.SyscallN(fn, a[0], a[1], a[2], a[3], a[4], a[5])
	return c.result
}
