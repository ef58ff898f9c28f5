package metalkern

import (
	"math/rand/v2"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// BenchmarkPack is what a first start does with each matrix: rounding it to 4 bits, here one of the small model's.
func BenchmarkPack(b *testing.B) {
	k, err := New(&blank{})
	if err != nil {
		b.Fatal(err)
	}
	values, random := make([]float32, 1024*1024), rand.New(rand.NewPCG(1, 2))
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	t := weights.FromFloats("random", values, 1024, 1024)
	b.SetBytes(4 * 1024 * 1024)
	for b.Loop() {
		m, err := k.Matrix(kern.Q4, t)
		if err != nil {
			b.Fatal(err)
		}
		m.Free()
	}
}
