//go:build unix

package main

import (
	"errors"

	"golang.org/x/sys/unix"
)

// processAlive says whether a process of that id exists, whoever owns it.
func processAlive(pid int64) bool {
	err := unix.Kill(int(pid), 0)
	return err == nil || errors.Is(err, unix.EPERM)
}
