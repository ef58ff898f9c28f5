//go:build !linux

package packed

// Elsewhere pages are all of one size, or large ones cannot be had without privileges: the mapped file is as good as
// memory.
func moveToLargePages([]byte, func() bool) {}
