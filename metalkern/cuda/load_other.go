//go:build !windows && !(linux && (amd64 || arm64))

package cuda

import (
	"fmt"
	"runtime"
)

func load() (api, error) {
	return nil, fmt.Errorf("NVIDIA has no driver for %s/%s", runtime.GOOS, runtime.GOARCH)
}
