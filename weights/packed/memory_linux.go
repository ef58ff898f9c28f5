package packed

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inLargePages says whether the mapped file that data lies in is mostly mapped in pages of 2 MB, as far as the kernel tells;
// which file systems have them depends on its version (ext4: 6.16, XFS: 5.18 and later).
func inLargePages(data []byte) bool {
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return false
	}
	defer maps.Close()
	at := uint64(uintptr(unsafe.Pointer(&data[0])))
	var inside bool
	var size, large int
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		line := lines.Bytes()
		var from, to uint64
		switch {
		case bytes.HasPrefix(line, []byte("Size:")):
			scanKB(line, &size)
		case bytes.HasPrefix(line, []byte("FilePmdMapped:")):
			scanKB(line, &large)
			if inside {
				return 2*large >= size
			}
		case len(line) > 0 && line[0] <= 'f': // of the names only addresses begin so low
			if n, _ := fmt.Sscanf(string(line), "%x-%x ", &from, &to); n == 2 {
				inside = from <= at && at < to
			}
		}
	}
	return false
}

func scanKB(line []byte, kb *int) {
	_, value, _ := bytes.Cut(line, []byte(":"))
	fmt.Sscan(string(value), kb) // stays 0 where it is no number
}

// newLarge is n zeroed bytes outside Go's heap, in pages of 2 MB where the system gives them.
func newLarge(n int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // a wish
	return memory, nil
}

func freeLarge(memory []byte) {
	if memory != nil {
		_ = unix.Munmap(memory) // fails only for what newLarge did not make
	}
}

// forgetPages lets go of the whole pages within a window of a mapped file.
func forgetPages(data []byte) {
	page := os.Getpagesize()
	skip := int(-uintptr(unsafe.Pointer(&data[0])) & uintptr(page-1))
	if n := (len(data) - skip) &^ (page - 1); n > 0 {
		_ = unix.Madvise(data[skip:skip+n], unix.MADV_DONTNEED) // a wish
	}
}
