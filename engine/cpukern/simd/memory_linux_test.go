package simd

import "golang.org/x/sys/unix"

// hugePages is anonymous memory in pages of 2 MB where the system gives them: weights are kept so, and it decides how
// fast they are read. It is not freed: benchmarks end soon.
func hugePages(n int) []byte {
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Madvise(m, unix.MADV_HUGEPAGE) // without them, slower
	return m
}
