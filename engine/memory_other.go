//go:build !linux

package engine

import "runtime"

// residentMemory is the memory that the Go runtime has from the system; mapped files are not in it.
func residentMemory() int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys)
}
