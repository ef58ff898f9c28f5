//go:build !darwin

package cpukern

import (
	"os"
	"runtime"
	"strings"
)

// processorName is the brand where the system tells it, else the architecture.
func processorName() string {
	if name := os.Getenv("PROCESSOR_IDENTIFIER"); name != "" { // set by Windows
		return name
	}
	info, _ := os.ReadFile("/proc/cpuinfo") // absent outside Linux; without "model name" on most ARM
	for line := range strings.Lines(string(info)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
