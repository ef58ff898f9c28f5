//go:build amd64 || arm64

package cuda

import (
	"fmt"

	"github.com/ebitengine/purego"
)

// load opens NVIDIA's driver library. It stays open: a driver is not made to be unloaded.
func load() (api, error) {
	library, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("no NVIDIA driver: %w", err)
	}
	addresses, err := resolve(func(name string) (uintptr, error) { return purego.Dlsym(library, name) })
	if err != nil {
		return nil, err
	}
	return newNative(addresses), nil
}
