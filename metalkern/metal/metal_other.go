//go:build !((darwin || linux) && (amd64 || arm64))

package metal

import (
	"fmt"
	"runtime"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// Open fails: there is no Metal on this system.
func Open(func(name string) (string, error)) (driver.Device, error) {
	return nil, fmt.Errorf("metal: there is none on %s/%s: %w", runtime.GOOS, runtime.GOARCH, kern.ErrUnavailable)
}
