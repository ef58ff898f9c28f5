package cuda

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// load opens NVIDIA's driver library. It stays open: a driver is not made to be unloaded.
func load() (api, error) {
	// From the system's folder only: a file of this name beside an audio file must not be loaded.
	handle, err := windows.LoadLibraryEx("nvcuda.dll", 0, windows.LOAD_LIBRARY_SEARCH_SYSTEM32)
	if err != nil {
		return nil, fmt.Errorf("no NVIDIA driver: nvcuda.dll: %w", err)
	}
	addresses, err := resolve(func(name string) (uintptr, error) { return windows.GetProcAddress(handle, name) })
	if err != nil {
		return nil, err
	}
	return newNative(addresses), nil
}
