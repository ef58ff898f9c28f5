package cpukern

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// processorName is the brand, such as "Apple M3 Pro".
func processorName() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil || name == "" {
		return runtime.GOARCH
	}
	return name
}
