package cpukern

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// BenchmarkPack is the loading of one feed-forward weight of the small model; the whole model has 86 times as many
// numbers. Bytes are those of the file.
func BenchmarkPack(b *testing.B) {
	k := open(b, 0)
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, 4096*1024)
	for i := range values {
		values[i] = float32(random.NormFloat64()) / 32
	}
	wide := weights.FromFloats("w", values, 4096, 1024)
	half := &weights.Tensor{Name: "w", DType: weights.F16, Shape: wide.Shape, Data: make([]byte, 2*len(values))}
	for i, v := range values {
		halvesOf(half.Data)[i] = weights.F32ToF16(v)
	}
	for _, t := range []*weights.Tensor{wide, half} {
		for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8, kern.Q4} {
			b.Run(fmt.Sprintf("%s/%s", t.DType, p), func(b *testing.B) {
				b.SetBytes(int64(len(t.Data)))
				for b.Loop() {
					m, err := k.Matrix(p, t)
					if err != nil {
						b.Fatal(err)
					}
					m.Free()
				}
			})
		}
	}
}
