package simd

// Plain Go twins of the attention and element-wise kernels. The transcendental functions are the same polynomials as in
// assembly, so that a fallback is not much slower than it must be.

import (
	"math"
	"unsafe"

	"segue/weights"
)

type number interface{ float32 | uint16 | int8 }

func dots[T number](dst, q *float32, keys *T, stride, width, n int, widen func(T) float32) {
	query, out := unsafe.Slice(q, width), unsafe.Slice(dst, n)
	all := unsafe.Slice(keys, (n-1)*stride+width)
	for j := range out {
		sum := float32(0)
		for d, v := range all[j*stride:][:width] {
			sum += float32(query[d] * widen(v))
		}
		out[j] = sum
	}
}

func weigh[T number](dst, p *float32, values *T, stride, width, n int, widen func(T) float32, factor func(j int) float32) {
	out, shares := unsafe.Slice(dst, width), unsafe.Slice(p, n)
	all := unsafe.Slice(values, (n-1)*stride+width)
	for j, share := range shares {
		share *= factor(j)
		for d, v := range all[j*stride:][:width] {
			out[d] += float32(share * widen(v))
		}
	}
}

func same(v float32) float32 { return v }
func whole(v int8) float32   { return float32(v) }
func unscaled(int) float32   { return 1 }

func dotsF32Generic(dst, q, keys *float32, stride, width, n int) {
	dots(dst, q, keys, stride, width, n, same)
}

func dotsF16Generic(dst, q *float32, keys *uint16, stride, width, n int) {
	dots(dst, q, keys, stride, width, n, weights.F16ToF32)
}

func dotsI8Generic(dst, q *float32, keys *int8, scales *float32, stride, width, n int) {
	dots(dst, q, keys, stride, width, n, whole)
	out := unsafe.Slice(dst, n)
	for j, s := range unsafe.Slice(scales, n) {
		out[j] *= s
	}
}

func weighF32Generic(dst, p, values *float32, stride, width, n int) {
	weigh(dst, p, values, stride, width, n, same, unscaled)
}

func weighF16Generic(dst, p *float32, values *uint16, stride, width, n int) {
	weigh(dst, p, values, stride, width, n, weights.F16ToF32, unscaled)
}

func weighI8Generic(dst, p *float32, values *int8, scales *float32, stride, width, n int) {
	all := unsafe.Slice(scales, n)
	weigh(dst, p, values, stride, width, n, whole, func(j int) float32 { return all[j] })
}

// Constants of eˣ: x = n·ln2 + f, |f| ≤ ln2/2; eᶠ = 1 + f + f²·P(f). ln2 comes in two parts, so that n·ln2High is exact.
// P is Cephes' expf.
const (
	log2E    = 1.44269504088896341
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	expLeast = -60.0 // e⁻⁶⁰ is nothing beside 1, and far from the denormal numbers that processors are slow with
	expMost  = 88.0  // 2ⁿ is finite
)

var expP = [6]float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// expParts returns q and p with eˣ = p·(1+q), p a power of two: what both eˣ and eˣ-1 are made of without loss.
func expParts(x float32) (q, p float32) {
	if x < expLeast {
		x = expLeast
	}
	if x > expMost {
		x = expMost
	}
	n := roundEven(x * log2E)
	f := float32(x-n*ln2High) - float32(n*ln2Low)
	poly := expP[0]
	for _, c := range expP[1:] {
		poly = float32(poly*f) + c
	}
	return f + float32(float32(poly*f)*f), math.Float32frombits(uint32(int32(n)+127) << 23)
}

func exp(x float32) float32 {
	q, p := expParts(x)
	return p + float32(p*q)
}

func expm1(x float32) float32 {
	q, p := expParts(x)
	return float32(p*q) + (p - 1)
}

// Constants of erfc(z) = t·E(t)·e^(-z²), t = 1/(1+erfcT·z), z ≥ 0: Abramowitz and Stegun 7.1.26, error 1.5e-7. In GELU it
// is multiplied by x/2 and falls off as fast as the exact result, so that large x have no error at all.
const erfcT = 0.3275911

var erfcE = [5]float32{1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592}

func geluGeneric(x *float32, n int) {
	values := unsafe.Slice(x, n)
	for i, v := range values {
		magnitude := max(v, -v)
		z := magnitude * (1 / math.Sqrt2)
		t := 1 / (1 + float32(erfcT*z))
		poly := erfcE[0]
		for _, c := range erfcE[1:] {
			poly = float32(poly*t) + c
		}
		half := 0.5 * magnitude
		values[i] = max(v, 0) - float32(half*float32(poly*t))*exp(-float32(z*z))
	}
}

func sigmoidGeneric(x *float32, n int) {
	values := unsafe.Slice(x, n)
	for i, v := range values {
		values[i] = 1 / (1 + exp(-v))
	}
}

func tanhGeneric(x *float32, n int) {
	values := unsafe.Slice(x, n)
	for i, v := range values {
		e := expm1(-2 * max(v, -v))
		values[i] = float32(math.Copysign(float64(-e/(e+2)), float64(v)))
	}
}

func eluGeneric(dst, x *float32, n int) {
	out := unsafe.Slice(dst, n)
	for i, v := range unsafe.Slice(x, n) {
		if v < 0 {
			v = expm1(v)
		}
		out[i] = v
	}
}

func addGeneric(dst, x *float32, n int) {
	out := unsafe.Slice(dst, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] += v
	}
}

func scaleGeneric(x *float32, factor float32, n int) {
	values := unsafe.Slice(x, n)
	for i := range values {
		values[i] *= factor
	}
}

func maxGeneric(x *float32, n int) float32 {
	values := unsafe.Slice(x, n)
	top := values[0]
	for _, v := range values {
		if v > top {
			top = v
		}
	}
	return top
}

func sumGeneric(x *float32, n int) float32 {
	total := 0.0
	for _, v := range unsafe.Slice(x, n) {
		total += float64(v)
	}
	return float32(total)
}

func expSumGeneric(x *float32, top float32, n int) float32 {
	values, total := unsafe.Slice(x, n), 0.0
	for i, v := range values {
		values[i] = exp(v - top)
		total += float64(values[i])
	}
	return float32(total)
}

func squaresGeneric(x *float32, mean float32, n int) float32 {
	total := 0.0
	for _, v := range unsafe.Slice(x, n) {
		d := float64(v - mean)
		total += float64(d * d)
	}
	return float32(total)
}

func layerNormGeneric(dst, x, weight, bias *float32, mean, scale float32, n int) {
	out, w, b := unsafe.Slice(dst, n), unsafe.Slice(weight, n), unsafe.Slice(bias, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] = float32(float32((v-mean)*scale)*w[i]) + b[i]
	}
}

func rmsNormGeneric(dst, x, weight *float32, scale float32, n int) {
	out, w := unsafe.Slice(dst, n), unsafe.Slice(weight, n)
	for i, v := range unsafe.Slice(x, n) {
		out[i] = float32(v*scale) * w[i]
	}
}

func widenGeneric(dst *float32, src *uint16, n int) {
	out := unsafe.Slice(dst, n)
	for i, h := range unsafe.Slice(src, n) {
		out[i] = weights.F16ToF32(h)
	}
}

func narrowGeneric(dst *uint16, src *float32, n int) {
	out := unsafe.Slice(dst, n)
	for i, v := range unsafe.Slice(src, n) {
		out[i] = weights.F32ToF16(v)
	}
}

// readSumGeneric adds 64-bit words. p need not be aligned: the processors of all ports of Go read any address.
func readSumGeneric(p *byte, n int) uint64 {
	a, b := uint64(0), uint64(0)
	words := unsafe.Slice((*[2]uint64)(unsafe.Pointer(p)), n/16)
	for i := range words {
		a += words[i][0]
		b += words[i][1]
	}
	return a + b
}

// fetchGeneric does without.
func fetchGeneric(*byte, int) {}

// pauseGeneric has no instruction to give the other half of a core its turn; it only passes time.
//
//go:noinline
func pauseGeneric(n int) {
	for range n {
	}
}
