package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"unsafe"
)

// ErrFault is met by who reads a mapped file that another program has cut short.
var ErrFault = errors.New("a mapped file became shorter while it was read")

// Fault is the error for what recover has returned after such a read, on a goroutine with debug.SetPanicOnFault. With any other
// bug it panics again.
func Fault(bug any) error {
	if _, ok := bug.(interface{ Addr() uintptr }); !ok {
		panic(bug)
	}
	return fmt.Errorf("weights: %w: %v", ErrFault, bug)
}

// A mapping is the bytes of a whole file, read-only. On disk they are mapped, so that opening a model costs no memory
// and pages are shared between workers; bytes that are in memory already need no release. A file that another program
// shortens while it is mapped faults on access: weights are replaced by renaming, never by writing in place.
type mapping struct {
	data    []byte
	release func([]byte) error // nil: nothing to release
	info    fs.FileInfo        // of the file when it was opened; nil: not on disk
}

// mapFile maps a regular file that is not empty.
func mapFile(path string) (*mapping, error) {
	info, err := os.Stat(path) // before Open, which would wait for ever on a fifo
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	switch size := info.Size(); {
	case info.IsDir():
		return nil, formatErrorf(path, "is a folder, want a file")
	case !info.Mode().IsRegular():
		return nil, formatErrorf(path, "is a device or pipe (%s), want a file", info.Mode().Type())
	case size == 0:
		return nil, formatErrorf(path, "is empty; copy or download it again")
	case int64(int(size)) != size:
		return nil, formatErrorf(path, "%d bytes do not fit in this processor's address space", size)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer file.Close()                       // a mapping outlives its file handle
	if info, err = file.Stat(); err != nil { // of this very file, whatever has the name by now
		return nil, fmt.Errorf("weights: %w", err)
	}
	data, err := mmap(file, int(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("weights: %s: map %d bytes: %w", path, info.Size(), err)
	}
	return &mapping{data: data, release: munmap, info: info}, nil
}

// holds says whether data is a window of the mapping.
func (m *mapping) holds(data []byte) bool {
	if len(data) == 0 || len(m.data) == 0 {
		return false
	}
	offset := uintptr(unsafe.Pointer(&data[0])) - uintptr(unsafe.Pointer(&m.data[0]))
	return offset < uintptr(len(m.data))
}

// Close is harmless when repeated.
func (m *mapping) Close() error {
	if m.release == nil {
		return nil
	}
	data, release := m.data, m.release
	m.data, m.release = nil, nil
	return release(data)
}

// checkPointer refuses the small text file that git leaves in place of a big one when LFS is not installed.
func checkPointer(path string, data []byte) error {
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return formatErrorf(path, "is a Git LFS pointer, not the weights; run git lfs pull in its folder")
	}
	return nil
}
