//go:build !linux

package simd

func hugePages(n int) []byte { return make([]byte, n) }
