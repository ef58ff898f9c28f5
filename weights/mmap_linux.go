package weights

import "golang.org/x/sys/unix"

// prefetch: with the first advice, what is not in memory yet is read in pages of 2 MB where the file system has such.
func prefetch(data []byte) {
	_ = unix.Madvise(data, unix.MADV_HUGEPAGE) // wishes, both
	_ = unix.Madvise(data, unix.MADV_WILLNEED)
}
