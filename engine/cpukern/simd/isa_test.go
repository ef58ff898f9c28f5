package simd

import "testing"

func TestISA(t *testing.T) {
	if all := Available(); all[0] != Generic || all[len(all)-1] != Detect() {
		t.Errorf("got %v, detected %v; want plain Go first and the best last", all, Detect())
	}
	for _, isa := range []ISA{Generic, NEON, AVX2, AVX512} {
		if got, err := ParseISA(isa.String()); err != nil || got != isa {
			t.Errorf("%v: parsed as %v, %v", isa, got, err)
		}
	}
	if _, err := ParseISA("mmx"); err == nil {
		t.Error("mmx: got no error")
	}
	if _, err := New(ISA(99)); err == nil {
		t.Error("instruction set 99: got no error")
	}
}

// TestAllocations: a step of decoding calls these thousands of times.
func TestAllocations(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		const n, depth, rows = 40, 100, 3
		w, _ := packed(t, 8, n, depth)
		x, dst, tiles := random(1, rows*depth), make([]float32, rows*n), make([]byte, QuantizedBytes(rows, depth))
		half, wide := make([]uint16, packedBytes(16, n, depth)/2), make([]float32, GemmFloats(n, depth))
		c := newCache(k, 1, 9, 64, 64)
		q, scores := random(2, 64), make([]float32, 9)
		got := testing.AllocsPerRun(5, func() {
			k.Quantize(tiles, 8, x, depth, rows, depth)
			k.Linear(Linear{dst, n, w, 8, n, depth, tiles, rows})
			k.LinearF16(LinearF16{dst, n, half, n, depth, x, depth, rows})
			k.Gemm(Gemm{dst, n, wide, GemmPanelRows * depth, n, depth, x, depth, rows})
			k.DotsF16(scores, q, c.halves, 64)
			k.Softmax(scores)
			k.WeighI8(q, scores, c.ints, c.scales, 64)
			k.GELU(x)
		})
		if got != 0 {
			t.Errorf("got %g allocations, want 0", got)
		}
	})
}
