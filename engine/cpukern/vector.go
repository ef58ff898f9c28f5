package cpukern

// Element-wise kernels on plain slices. Transcendental functions go through float64, so that float32 results are
// correct to the last bit but one.

import (
	"math"
	"unsafe"
)

// add: dst[i] += src[i]. An empty src adds nothing.
func add(dst, src []float32) {
	for i, v := range src {
		dst[i] += v
	}
}

// weigh: dst[d] += Σ_j p[j]·v[j·stride + d], added in order of j.
func weigh(dst, p, v []float32, stride int) {
	j := 0
	for ; j+4 <= len(p); j += 4 {
		p0, p1, p2, p3 := p[j], p[j+1], p[j+2], p[j+3]
		v0, v1 := v[j*stride:][:len(dst)], v[(j+1)*stride:][:len(dst)]
		v2, v3 := v[(j+2)*stride:][:len(dst)], v[(j+3)*stride:][:len(dst)]
		for d, sum := range dst {
			sum += float32(p0 * v0[d])
			sum += float32(p1 * v1[d])
			sum += float32(p2 * v2[d])
			sum += float32(p3 * v3[d])
			dst[d] = sum
		}
	}
	for ; j < len(p); j++ {
		for d, v := range v[j*stride:][:len(dst)] {
			dst[d] += float32(p[j] * v)
		}
	}
}

// gelu: x/2·(1+erf(x/√2)).
func gelu(x []float32) {
	for i, v := range x {
		x[i] = float32(float64(v) / 2 * (1 + math.Erf(float64(v)/math.Sqrt2)))
	}
}

func relu(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// elu: dst = x>0 ? x : eˣ-1.
func elu(dst, x []float32) {
	for i, v := range x {
		if v <= 0 {
			v = float32(math.Expm1(float64(v)))
		}
		dst[i] = v
	}
}

func sigmoid(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// softmax turns scores into probabilities, the maximum subtracted first.
func softmax(x []float32) {
	top := x[0]
	for _, v := range x {
		top = max(top, v)
	}
	sum := 0.0
	for i, v := range x {
		e := math.Exp(float64(v - top))
		x[i] = float32(e)
		sum += e
	}
	scale := float32(1 / sum)
	for i := range x {
		x[i] *= scale
	}
}

// overlap reports whether two slices share an element.
func overlap(a, b []float32) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	from, to := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return from < to+4*uintptr(len(b)) && to < from+4*uintptr(len(a))
}
