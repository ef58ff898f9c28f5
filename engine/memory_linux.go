package engine

import (
	"bytes"
	"os"
	"strconv"
)

// residentMemory is the bytes of physical memory that the process holds.
func residentMemory() int64 {
	fields := [][]byte{}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		fields = bytes.Fields(statm)
	}
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}
