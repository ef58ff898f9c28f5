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
					c, q, p := newCache(k, 1, n, stride, width), random(2, width), shares(n)
					testDots(t, k, what, c, q, n, stride)
					testWeigh(t, k, what, c, p, width, stride)
				}
			}
		}
	})
}

// shares are numbers from 0 to 1.
func shares(n int) []float32 {
	p := random(3, n)
	for i, v := range p {
		p[i] = max(v, -v)
	}
	return p
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
		near(t, fmt.Sprint("dots ", i, ": ", what), got, [][]float32{want, want, rounded}[i], []float64{3e-5, 3e-5, 3e-3}[i]) // q of 16 bits
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
		bound := []float64{2e-5, 2e-5, 1e-4}[i] * math.Sqrt(float64(len(p)+24)) // shares of 16 bits
		near(t, fmt.Sprint("weigh ", i, ": ", what), got, [][]float32{want, want, rounded}[i], bound)
		weigh(parts, 0, len(p)/2)
		weigh(parts, len(p)/2, len(p))
		if i == 2 && width == byteWidth && k.weighI8x64 != nil {
			near(t, "weigh in two parts: "+what, parts, got, bound)
			continue // shares are rounded by the largest of a call
		}
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

// TestByteProducts holds the kernels of bytes to the same sums in plain Go, bit by bit.
func TestByteProducts(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		if k.dotsI8x64 == nil {
			t.Skip("this instruction set has no products of bytes")
		}
		for _, n := range []int{1, 3, 4, 15, 16, 17, 19, 48, 301, 2048} {
			for _, size := range []float32{0, 1e-20, 1, 1e6} {
				c, q, p := newCache(k, uint64(n), n, byteWidth+5, byteWidth), random(2, byteWidth), shares(n)
				k.Scale(q, size)
				k.Scale(p, size)
				got, want := make([]float32, n), make([]float32, n)
				k.DotsI8(got, q, c.ints, c.scales, byteWidth+5)
				dotBytes(want, q, c.ints, c.scales, byteWidth+5)
				sameBits(t, fmt.Sprint("dots of ", n, " keys, size ", size), got, want)
				sum, wanted := random(4, byteWidth), random(4, byteWidth)
				k.WeighI8(sum, p, c.ints, c.scales, byteWidth+5)
				weighBytes(wanted, p, c.ints, c.scales, byteWidth+5)
				sameBits(t, fmt.Sprint("sum of ", n, " values, size ", size), sum, wanted)
			}
		}
	})
}

// steps returns top/most and most/top, or zeros where top is next to nothing.
func steps(x []float32, most float32) (factor, inverse float32) {
	top := float32(0)
	for _, v := range x {
		top = max(top, v, -v)
	}
	if top < leastActivation {
		return 0, 0
	}
	return top / most, most / top
}

func dotBytes(scores, q []float32, keys []int8, scales []float32, stride int) {
	factor, inverse := steps(q, 127*256+127)
	for j := range scores {
		sum := int32(0)
		for d, v := range q {
			sum += int32(math.RoundToEven(float64(v*inverse))) * int32(keys[j*stride+d])
		}
		scores[j] = float32(float32(sum)*factor) * scales[j]
	}
}

func weighBytes(dst, p []float32, values []int8, scales []float32, stride int) {
	products := make([]float32, len(p))
	for j, share := range p {
		products[j] = share * scales[j]
	}
	factor, inverse := steps(products, 65535)
	for d := range dst {
		high, low := int32(0), int32(0)
		for j, product := range products {
			share := int32(math.RoundToEven(float64(product * inverse)))
			high += share >> 8 * int32(values[j*stride+d])
			low += share & 255 * int32(values[j*stride+d])
		}
		dst[d] += fusedAdd(256*factor, float32(high), float32(low)*factor)
	}
}
