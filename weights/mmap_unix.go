//go:build unix

package weights

import (
	"os"

	"golang.org/x/sys/unix"
)

func mmap(file *os.File, size int) ([]byte, error) {
	return unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
}

func munmap(data []byte) error { return unix.Munmap(data) }

// forget gives back the memory of a mapping; its pages come from the file again when they are touched.
func forget(data []byte) { _ = unix.Madvise(data, unix.MADV_DONTNEED) } // a wish
