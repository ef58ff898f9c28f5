//go:build unix && !linux

package cpukern

import "golang.org/x/sys/unix"

// newMemory is n zeroed bytes outside Go's heap, from a page boundary on.
func newMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func freeMemory(memory []byte) { _ = unix.Munmap(memory) } // fails only for what newMemory did not make
