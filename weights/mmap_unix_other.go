//go:build unix && !linux

package weights

import "golang.org/x/sys/unix"

func prefetch(data []byte) { _ = unix.Madvise(data, unix.MADV_WILLNEED) } // a wish
