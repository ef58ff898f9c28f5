package cpukern

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// newMemory is n zeroed bytes outside Go's heap, from a page boundary on.
func newMemory(n int) ([]byte, error) {
	address, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_COMMIT|windows.MEM_RESERVE, windows.PAGE_READWRITE)
	if err != nil {
		return nil, err
	}
	// Through a pointer to the address: memory outside Go's heap, which vet cannot know.
	start := *(*unsafe.Pointer)(unsafe.Pointer(&address))
	return unsafe.Slice((*byte)(start), n), nil
}

func freeMemory(memory []byte) { // fails only for what newMemory did not make
	_ = windows.VirtualFree(uintptr(unsafe.Pointer(&memory[0])), 0, windows.MEM_RELEASE)
}
