//go:build !linux

package packed

import "errors"

// Elsewhere pages are all of one size, or large ones cannot be had without privileges: the mapped file is as good as
// memory.

func inLargePages([]byte) bool { return true }

func newLarge(int) ([]byte, error) { return nil, errors.ErrUnsupported }

func freeLarge([]byte) {}

func forgetPages([]byte) {}
