package packed

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	largePage  = 2 << 20
	pieceBytes = 16 << 20 // moved at once: so much memory is there twice for a moment
)

// moveToLargePages replaces a mapped file by a copy in anonymous memory of large pages, piece by piece, where that is of use.
// The kernel swaps a piece in one step: who reads it meanwhile waits and then reads the same bytes. stop ends it early, which
// leaves what is moved moved. Whatever fails leaves things as they are.
func moveToLargePages(data []byte, stop func() bool) {
	page := os.Getpagesize()
	length := (len(data) + page - 1) &^ (page - 1)
	if !worthMoving(data, length) {
		return
	}
	size := uintptr(length + largePage)
	area, err := unix.MmapPtr(-1, 0, nil, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return
	}
	// Pages stay large when they move by whole ones.
	from := unsafe.Pointer(&data[0])
	head := (uintptr(from) - uintptr(area)) & (largePage - 1)
	to, at := unsafe.Add(area, head), 0
	defer func() { // what has not moved; a place that was left may be another's by now
		_ = unix.MunmapPtr(area, head)
		_ = unix.MunmapPtr(unsafe.Add(to, at), size-head-uintptr(at))
	}()
	if unix.Madvise(unsafe.Slice((*byte)(area), size), unix.MADV_HUGEPAGE) != nil {
		return
	}
	for at < length && !stop() {
		n := min(pieceBytes-int((uintptr(from)+uintptr(at))&(largePage-1)), length-at)
		piece := unsafe.Slice((*byte)(unsafe.Add(to, at)), n)
		copy(piece, data[at:min(at+n, len(data))])
		if unix.Mprotect(piece, unix.PROT_READ) != nil {
			return
		}
		_, err := unix.MremapPtr(unsafe.Add(to, at), uintptr(n), unsafe.Add(from, at), uintptr(n), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED)
		if err != nil {
			return
		}
		at += n
	}
}

// worthMoving: the kernel gives large pages, has not used them for nearly all of the file (which ext4 does since 6.16, XFS
// since 5.18, as far as memory is not in pieces), and memory is plentiful.
func worthMoving(data []byte, length int) bool {
	mode, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || bytes.Contains(mode, []byte("[never]")) {
		return false
	}
	if available := meminfo("MemAvailable:"); available < 2*length {
		return false
	}
	return inLargePages(data) < length/100*98
}

// inLargePages is how many bytes of the mapped file that data lies in are mapped in large pages, as the kernel tells.
func inLargePages(data []byte) (total int) {
	at := uint64(uintptr(unsafe.Pointer(&data[0])))
	inside := false
	eachLine("/proc/self/smaps", func(line []byte) bool {
		var from, to uint64
		switch {
		case inside && bytes.HasPrefix(line, []byte("FilePmdMapped:")):
			total = kilobytes(line)
			return false
		case len(line) > 0 && line[0] <= 'f': // of the names only addresses begin so low
			if n, _ := fmt.Sscanf(string(line), "%x-%x ", &from, &to); n == 2 {
				inside = from <= at && at < to
			}
		}
		return true
	})
	return total
}

// meminfo is a line of the kernel's account of memory, in bytes; 0 if it has none.
func meminfo(name string) (total int) {
	eachLine("/proc/meminfo", func(line []byte) bool {
		if bytes.HasPrefix(line, []byte(name)) {
			total = kilobytes(line)
		}
		return total == 0
	})
	return total
}

func eachLine(path string, fn func(line []byte) (more bool)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan() && fn(lines.Bytes()); {
	}
}

// kilobytes reads what follows a name, in bytes.
func kilobytes(line []byte) (kb int) {
	_, value, _ := bytes.Cut(line, []byte(":"))
	fmt.Sscan(string(value), &kb) // stays 0 where it is no number
	return kb << 10
}
