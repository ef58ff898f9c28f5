//go:build !linux && !darwin

package main

// physicalMemory is the machine's, in bytes; 0 where it is not told: then models have no budget unless --memory gives one.
func physicalMemory() int64 { return 0 }
