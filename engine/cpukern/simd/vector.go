package simd

// Element-wise kernels and sums over plain slices. Errors given are absolute, against exact arithmetic.

import (
	"math"
)

// vectorRun bounds the elements that one call of a kernel takes.
const vectorRun = 1 << 15

// GELU: x = x/2·(1+erf(x/√2)). Error below 5e-7 and below 1e-7·|x|+3e-7.
func (k *Kernels) GELU(x []float32) { inRuns(x, k.gelu) }

// Sigmoid: x = 1/(1+e⁻ˣ). Error below 2e-7.
func (k *Kernels) Sigmoid(x []float32) { inRuns(x, k.sigmoid) }

// Tanh: x = tanh x. Error below 2e-7.
func (k *Kernels) Tanh(x []float32) { inRuns(x, k.tanh) }

func inRuns(x []float32, kernel func(x *float32, n int)) {
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		kernel(&x[0], n)
		x = x[n:]
	}
}

// ELU: dst = x>0 ? x : eˣ-1. Error below 1e-7. dst may be x.
func (k *Kernels) ELU(dst, x []float32) { inPairs(dst, x, k.elu) }

// Add: dst += x.
func (k *Kernels) Add(dst, x []float32) { inPairs(dst, x, k.add) }

func inPairs(dst, x []float32, kernel func(dst, x *float32, n int)) {
	dst = dst[:len(x)]
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		kernel(&dst[0], &x[0], n)
		dst, x = dst[n:], x[n:]
	}
}

// Scale: x = x·factor.
func (k *Kernels) Scale(x []float32, factor float32) {
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		k.scale(&x[0], factor, n)
		x = x[n:]
	}
}

// Max is the largest of x, which is not empty and holds no NaN.
func (k *Kernels) Max(x []float32) float32 {
	top := x[0]
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		top = max(top, k.max(&x[0], n))
		x = x[n:]
	}
	return top
}

// ExpSum: x = e^(x-top), for x ≤ top; the sum is returned. Below x-top = -60 the result stays 9e-27, not zero.
func (k *Kernels) ExpSum(x []float32, top float32) float32 {
	total := float32(0)
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		total += k.expSum(&x[0], top, n)
		x = x[n:]
	}
	return total
}

// Softmax turns scores into probabilities.
func (k *Kernels) Softmax(x []float32) {
	if len(x) > 0 {
		k.Scale(x, 1/k.ExpSum(x, k.Max(x)))
	}
}

// Sum adds x up.
func (k *Kernels) Sum(x []float32) float32 {
	total := float32(0)
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		total += k.sum(&x[0], n)
		x = x[n:]
	}
	return total
}

// Squares is Σ(x-mean)².
func (k *Kernels) Squares(x []float32, mean float32) float32 {
	total := float32(0)
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		total += k.squares(&x[0], mean, n)
		x = x[n:]
	}
	return total
}

// LayerNorm: dst = (x-mean)/√(var+ε)·weight + bias, biased variance. dst may be x.
func (k *Kernels) LayerNorm(dst, x, weight, bias []float32, epsilon float32) {
	if len(x) == 0 {
		return
	}
	n := float32(len(x))
	mean := k.Sum(x) / n
	scale := inverseRoot(k.Squares(x, mean)/n + epsilon)
	dst, weight, bias = dst[:len(x)], weight[:len(x)], bias[:len(x)]
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		k.layerNorm(&dst[0], &x[0], &weight[0], &bias[0], mean, scale, n)
		dst, x, weight, bias = dst[n:], x[n:], weight[n:], bias[n:]
	}
}

// RMSNorm: dst = x/√(mean(x²)+ε)·weight. dst may be x.
func (k *Kernels) RMSNorm(dst, x, weight []float32, epsilon float32) {
	if len(x) == 0 {
		return
	}
	scale := inverseRoot(k.Squares(x, 0)/float32(len(x)) + epsilon)
	dst, weight = dst[:len(x)], weight[:len(x)]
	for len(x) > 0 {
		n := min(len(x), vectorRun)
		k.rmsNorm(&dst[0], &x[0], &weight[0], scale, n)
		dst, x, weight = dst[n:], x[n:], weight[n:]
	}
}

func inverseRoot(x float32) float32 { return float32(1 / math.Sqrt(float64(x))) }

// Widen converts halves to float32, exactly.
func (k *Kernels) Widen(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	for len(src) > 0 {
		n := min(len(src), vectorRun)
		k.widen(&dst[0], &src[0], n)
		dst, src = dst[n:], src[n:]
	}
}

// Narrow rounds float32 to halves, ties to even.
func (k *Kernels) Narrow(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for len(src) > 0 {
		n := min(len(src), vectorRun)
		k.narrow(&dst[0], &src[0], n)
		dst, src = dst[n:], src[n:]
	}
}

// ReadSum reads whole lines of 256 bytes and returns a sum of them: the fastest that memory can be read, to compare with.
func (k *Kernels) ReadSum(p []byte) uint64 {
	total := uint64(0)
	for len(p) >= 256 {
		n := min(len(p)&^255, runBytes)
		total += k.readSum(&p[0], n)
		p = p[n:]
	}
	return total
}

// Fetch asks for p to come into the core's second-level cache while something else is computed; a hint, which some
// instruction sets ignore.
func (k *Kernels) Fetch(p []byte) {
	if len(p) > 0 {
		k.fetch(&p[0], len(p))
	}
}

// Pause spends n short waits, of the kind that a spinning thread owes its neighbour.
func (k *Kernels) Pause(n int) {
	if n > 0 {
		k.pause(n)
	}
}
