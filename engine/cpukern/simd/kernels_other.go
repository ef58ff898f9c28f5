//go:build noasm || !(amd64 || arm64)

package simd

// A build without assembly, by tag or for another processor.

func native() []ISA { return nil }

func (k *Kernels) specialise() {}
