package cpukern

import "golang.org/x/sys/unix"

// newMemory is n zeroed bytes outside Go's heap, from a page boundary on, in pages of 2 MB where the system gives them:
// with 4 KB pages a weight is read a third slower.
func newMemory(n int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // a wish: without it everything works, slower
	return memory, nil
}

func freeMemory(memory []byte) { _ = unix.Munmap(memory) } // fails only for what newMemory did not make
