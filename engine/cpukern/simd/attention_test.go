package simd

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"segue/weights"
)

// cacheOf is n vectors at a stride in all three forms, each the exact value of the others but for int8's own rounding.
type cacheOf struct {
	floats, rounded []float32 // rounded: what the int8 form stands for
	halves          []uint16
	ints            []int8
	scales          []float32
}

func newCache(k *Kernels, seed uint64, n, stride, width int) *cacheOf {
	size := (n-1)*stride + width
	c := &cacheOf{floats: random(seed, size), rounded: make([]float32, size), halves: make([]uint16, size),
		ints: make([]int8, size), scales: make([]float32, n)}
	for i, v := range c.floats {
		c.halves[i] = weights.F32ToF16(v)
		c.floats[i] = weights.F16ToF32(c.halves[i])
	}
	for j := range n {
		at := j * stride
		c.scales[j] = k.QuantizeVector(c.ints[at:][:width], c.floats[at:][:width])
		for d := range width {
			c.rounded[at+d] = float32(c.ints[at+d]) * c.scales[j]
		}
	}
	return c
}

func TestAttention(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, width := range []int{1, 8, 12, 24, 64, 72, 128} {
			for _, n := range []int{1, 2, 3, 4, 5, 8, 50, 301, attendItems/64 + 2} {
				for _, stride := range []int{width, width + 3} {
					what := fmt.Sprintf("width %d, %d keys, stride %d", width, n, stride)
					c, q, p := newCache(k, 1, n, stride, width), random(2, width), random(3, n)
					testDots(t, k, what, c, q, n, stride)
					testWeigh(t, k, what, c, p, width, stride)
				}
			}
		}
	})
}

func testDots(t *testing.T, k *Kernels, what string, c *cacheOf, q []float32, n, stride int) {
	t.Helper()
	want, rounded := make([]float32, n), make([]float32, n)
	for j := range n {
		exact, exact8 := 0.0, 0.0
		for d, v := range q {
			exact += float64(v) * float64(c.floats[j*stride+d])
			exact8 += float64(v) * float64(c.rounded[j*stride+d])
		}
		want[j], rounded[j] = float32(exact), float32(exact8)
	}
	for i, dots := range []func(scores []float32, from int){
		func(scores []float32, from int) { k.Dots(scores, q, c.floats[from*stride:], stride) },
		func(scores []float32, from int) { k.DotsF16(scores, q, c.halves[from*stride:], stride) },
		func(scores []float32, from int) { k.DotsI8(scores, q, c.ints[from*stride:], c.scales[from:], stride) },
	} {
		got, alone := make([]float32, n), make([]float32, n)
		dots(got, 0)
		near(t, fmt.Sprint("dots ", i, ": ", what), got, [][]float32{want, want, rounded}[i], 3e-5)
		for j := range n {
			dots(alone[j:j+1], j)
		}
		sameBits(t, fmt.Sprint("dots one by one ", i, ": ", what), alone, got)
	}
}

func testWeigh(t *testing.T, k *Kernels, what string, c *cacheOf, p []float32, width, stride int) {
	t.Helper()
	want, rounded := random(4, width), random(4, width)
	for d := range width {
		exact, exact8 := float64(want[d]), float64(want[d])
		for j, share := range p {
			exact += float64(share) * float64(c.floats[j*stride+d])
			exact8 += float64(share) * float64(c.rounded[j*stride+d])
		}
		want[d], rounded[d] = float32(exact), float32(exact8)
	}
	for i, weigh := range []func(dst []float32, from, to int){
		func(dst []float32, from, to int) { k.Weigh(dst, p[from:to], c.floats[from*stride:], stride) },
		func(dst []float32, from, to int) { k.WeighF16(dst, p[from:to], c.halves[from*stride:], stride) },
		func(dst []float32, from, to int) {
			k.WeighI8(dst, p[from:to], c.ints[from*stride:], c.scales[from:], stride)
		},
	} {
		got, parts := random(4, width), random(4, width)
		weigh(got, 0, len(p))
		near(t, fmt.Sprint("weigh ", i, ": ", what), got, [][]float32{want, want, rounded}[i], 2e-5*math.Sqrt(float64(len(p)+24)))
		weigh(parts, 0, len(p)/2)
		weigh(parts, len(p)/2, len(p))
		sameBits(t, fmt.Sprint("weigh in two parts ", i, ": ", what), parts, got)
	}
}

func TestQuantizeVector(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, n := range []int{1, 8, 12, 64, 120} {
			for _, size := range []float32{0, 1e-35, 1e-20, 1, 1e30} {
				x := random(5, n)
				k.Scale(x, size)
				got, want := make([]int8, n), make([]int8, n)
				scale := k.QuantizeVector(got, x)
				if wanted := quantizeVectorGeneric(&want[0], &x[0], n); scale != wanted || !slices.Equal(got, want) {
					t.Errorf("%d of size %g: got %v, scale %g, want %v, scale %g", n, size, got, scale, want, wanted)
				}
			}
		}
	})
}
