package simd

import (
	"fmt"
	"math"
	"testing"

	"segue/weights"
)

var lengths = []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 1000, vectorRun + 3}

// sweep is n numbers from -limit to limit.
func sweep(n int, limit float64) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(limit * (2*float64(i)/float64(max(n-1, 1)) - 1))
	}
	return x
}

func TestFunctions(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, c := range []struct {
			name  string
			of    func(x []float32)
			exact func(x float64) float64
			bound float64
		}{
			{"GELU", k.GELU, func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }, 5e-7},
			{"sigmoid", k.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 2e-7},
			{"tanh", k.Tanh, math.Tanh, 2e-7},
			{"ELU", func(x []float32) { k.ELU(x, x) }, func(x float64) float64 { return max(x, math.Expm1(min(x, 0))) }, 1e-7},
		} {
			for _, n := range lengths {
				for _, limit := range []float64{1e-3, 0.5, 8, 200} {
					x := sweep(n, limit)
					got := append([]float32(nil), x...)
					c.of(got)
					for i, v := range x {
						want := c.exact(float64(v))
						if miss := math.Abs(float64(got[i]) - want); !(miss <= c.bound+6e-8*math.Abs(want)) {
							t.Fatalf("%s(%g) = %g, want %g, %.3g away", c.name, v, got[i], want, miss)
						}
					}
				}
			}
		}
	})
}

// TestFunctionsRelative: near zero, functions that pass through it keep their digits.
func TestFunctionsRelative(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, v := range []float32{-1e-2, -1e-4, -1e-6, -1e-20, 1e-5, 1e-12} {
			x := []float32{v}
			k.Tanh(x)
			if want := math.Tanh(float64(v)); math.Abs(float64(x[0])-want) > 3e-7*math.Abs(want) {
				t.Errorf("tanh(%g) = %g, want %g", v, x[0], want)
			}
			x[0] = v
			k.ELU(x, x)
			if want := max(float64(v), math.Expm1(min(float64(v), 0))); math.Abs(float64(x[0])-want) > 3e-7*math.Abs(want) {
				t.Errorf("ELU(%g) = %g, want %g", v, x[0], want)
			}
		}
	})
}

func TestSums(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			x := random(uint64(n), n)
			for i := range x {
				x[i] -= 10 // no positive number: a zero in a lane would show
			}
			sum, squares, top := 0.0, 0.0, math.Inf(-1)
			for _, v := range x {
				sum += float64(v)
				squares += (float64(v) - 1.5) * (float64(v) - 1.5)
				top = max(top, float64(v))
			}
			scale := float64(n) * 1e-5
			near(t, fmt.Sprint("sum of ", n), []float32{k.Sum(x), k.Squares(x, 1.5)}, []float32{float32(sum), float32(squares)}, scale*200)
			if got := k.Max(x); got != float32(top) {
				t.Errorf("largest of %d: got %g, want %g", n, got, top)
			}
			total := 0.0
			for _, v := range x {
				total += math.Exp(float64(v) - top)
			}
			got := append([]float32(nil), x...)
			k.Softmax(got)
			for i, v := range x {
				if want := math.Exp(float64(v)-top) / total; math.Abs(float64(got[i])-want) > 3e-6*want+1e-26 {
					t.Fatalf("softmax of %d: element %d: got %g, want %g", n, i, got[i], want)
				}
			}
		}
	})
}

func TestNorms(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			x, w, b := random(1, n), random(2, n), random(3, n)
			mean, square, variance := 0.0, 0.0, 0.0
			for _, v := range x {
				mean += float64(v) / float64(n)
				square += float64(v) * float64(v) / float64(n)
			}
			for _, v := range x {
				variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
			}
			layer, rms, dst := make([]float32, n), make([]float32, n), make([]float32, n)
			for i, v := range x {
				layer[i] = float32((float64(v)-mean)/math.Sqrt(variance+1e-5)*float64(w[i]) + float64(b[i]))
				rms[i] = float32(float64(v) / math.Sqrt(square+1e-6) * float64(w[i]))
			}
			k.LayerNorm(dst, x, w, b, 1e-5)
			near(t, fmt.Sprint("layer norm of ", n), dst, layer, 2e-5)
			k.RMSNorm(dst, x, w, 1e-6)
			near(t, fmt.Sprint("RMS norm of ", n), dst, rms, 2e-5)
		}
	})
}

func TestAddScale(t *testing.T) {
	reference := plainGo(t)
	each(t, func(t *testing.T, k *Kernels) {
		for _, n := range lengths {
			got, want := random(1, n), random(1, n)
			k.Add(got, random(2, n))
			k.Scale(got, 0.3)
			reference.Add(want, random(2, n))
			reference.Scale(want, 0.3)
			sameBits(t, fmt.Sprint("add and scale ", n), got, want)
		}
	})
}

func TestHalves(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	each(t, func(t *testing.T, k *Kernels) {
		wide, back := make([]float32, len(all)), make([]uint16, len(all))
		k.Widen(wide, all)
		k.Narrow(back, wide)
		for i, h := range all {
			if want := weights.F16ToF32(h); want == want && (wide[i] != want || back[i] != h) {
				t.Fatalf("half %#04x: got %g and back %#04x, want %g", h, wide[i], back[i], want)
			}
		}
		for _, n := range []int{1, 7, 9, 1001} {
			x := sweep(n, 70000)
			half, one := make([]uint16, n), make([]float32, 1)
			k.Narrow(half, x)
			for i, v := range x {
				k.Widen(one, half[i:][:1])
				if half[i] != weights.F32ToF16(v) || one[0] != weights.F16ToF32(half[i]) {
					t.Fatalf("narrow(%g) = %#04x, widened %g", v, half[i], one[0])
				}
			}
		}
	})
}

func TestReadSum(t *testing.T) {
	data := make([]byte, runBytes+1000)
	for i := range data {
		data[i] = byte(i * i >> 3)
	}
	want := plainGo(t).ReadSum(data)
	each(t, func(t *testing.T, k *Kernels) {
		if got := k.ReadSum(data); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
		k.Pause(3)
	})
}
