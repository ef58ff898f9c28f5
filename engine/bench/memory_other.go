//go:build !linux

package bench

import "runtime"

func resetPeakMemory() {}

// peakMemory is what the Go runtime has from the system and what the device holds beside it.
func peakMemory(allocated int64) int64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.Sys) + allocated
}
