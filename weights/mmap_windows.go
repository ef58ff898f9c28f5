package weights

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func mmap(file *os.File, size int) ([]byte, error) {
	section, err := windows.CreateFileMapping(windows.Handle(file.Fd()), nil, windows.PAGE_READONLY,
		uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, err
	}
	defer windows.CloseHandle(section) // the view keeps the section alive
	address, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, err
	}
	// Through a pointer to the address: memory outside Go's heap, which vet cannot know.
	start := *(*unsafe.Pointer)(unsafe.Pointer(&address))
	return unsafe.Slice((*byte)(start), size), nil
}

// prefetch does nothing: the system reads ahead by itself.
func prefetch([]byte) {}

// forget does nothing: the system takes the pages of mapped files back when it needs them.
func forget([]byte) {}

func munmap(data []byte) error {
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(&data[0])))
}
