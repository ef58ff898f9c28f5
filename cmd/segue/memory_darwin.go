package main

import "golang.org/x/sys/unix"

// physicalMemory is the machine's, in bytes; 0 where it is not told.
func physicalMemory() int64 {
	bytes, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(bytes)
}
