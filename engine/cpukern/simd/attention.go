package simd

// Attention of one query over many keys and values, which are float32, float16, or int8 with one float32 scale each. Key
// or value j begins at j·stride. Widths that are no multiple of 8 are computed by plain Go.

// attendItems bounds the numbers that one call of a kernel reads.
const attendItems = 1 << 17

// Dots: scores[j] = Σ_d q[d]·keys[j·stride + d].
func (k *Kernels) Dots(scores, q, keys []float32, stride int) {
	kernel := k.dotsF32
	if len(q)%8 != 0 {
		kernel = dotsF32Generic
	}
	forKeys(len(scores), len(q), func(from, n int) {
		at := keys[from*stride:][:(n-1)*stride+len(q)]
		kernel(&scores[from], &q[0], &at[0], stride, len(q), n)
	})
}

// DotsF16 is Dots for float16 keys.
func (k *Kernels) DotsF16(scores, q []float32, keys []uint16, stride int) {
	kernel := k.dotsF16
	if len(q)%8 != 0 {
		kernel = dotsF16Generic
	}
	forKeys(len(scores), len(q), func(from, n int) {
		at := keys[from*stride:][:(n-1)*stride+len(q)]
		kernel(&scores[from], &q[0], &at[0], stride, len(q), n)
	})
}

// byteWidth is the width that kernels of bytes are written for: that of a head of all published models.
const byteWidth = 64

// DotsI8: scores[j] = scales[j]·Σ_d q[d]·keys[j·stride + d]. With VNNI and a width of 64, q is rounded to 16 bits: steps of
// max|q|/32639.
func (k *Kernels) DotsI8(scores, q []float32, keys []int8, scales []float32, stride int) {
	kernel := k.dotsI8
	if len(q)%8 != 0 {
		kernel = dotsI8Generic
	}
	scales = scales[:len(scores)]
	forKeys(len(scores), len(q), func(from, n int) {
		at := keys[from*stride:][:(n-1)*stride+len(q)]
		if len(q) == byteWidth && k.dotsI8x64 != nil {
			k.dotsI8x64(&scores[from], &q[0], &at[0], &scales[from], stride, n)
			return
		}
		kernel(&scores[from], &q[0], &at[0], &scales[from], stride, len(q), n)
	})
}

// Weigh: dst[d] += Σ_j p[j]·values[j·stride + d], from what dst holds, in order of j.
func (k *Kernels) Weigh(dst, p, values []float32, stride int) {
	kernel := k.weighF32
	if len(dst)%8 != 0 {
		kernel = weighF32Generic
	}
	forKeys(len(p), len(dst), func(from, n int) {
		at := values[from*stride:][:(n-1)*stride+len(dst)]
		kernel(&dst[0], &p[from], &at[0], stride, len(dst), n)
	})
}

// WeighF16 is Weigh for float16 values.
func (k *Kernels) WeighF16(dst, p []float32, values []uint16, stride int) {
	kernel := k.weighF16
	if len(dst)%8 != 0 {
		kernel = weighF16Generic
	}
	forKeys(len(p), len(dst), func(from, n int) {
		at := values[from*stride:][:(n-1)*stride+len(dst)]
		kernel(&dst[0], &p[from], &at[0], stride, len(dst), n)
	})
}

// WeighI8: dst[d] += Σ_j (p[j]·scales[j])·values[j·stride + d], p not negative. With VNNI and a width of 64, p·scales is rounded
// to 16 bits: steps of its maximum/65535, of 2048 keys at a time, whose sums are exact.
func (k *Kernels) WeighI8(dst, p []float32, values []int8, scales []float32, stride int) {
	kernel := k.weighI8
	if len(dst)%8 != 0 {
		kernel = weighI8Generic
	}
	scales = scales[:len(p)]
	forKeys(len(p), len(dst), func(from, n int) {
		at := values[from*stride:][:(n-1)*stride+len(dst)]
		if len(dst) == byteWidth && k.weighI8x64 != nil {
			k.weighI8x64(&dst[0], &p[from], &at[0], &scales[from], stride, n)
			return
		}
		kernel(&dst[0], &p[from], &at[0], &scales[from], stride, len(dst), n)
	})
}

// forKeys cuts n keys of the given width into runs. Widths of zero have nothing to do.
func forKeys(n, width int, do func(from, n int)) {
	if width == 0 {
		return
	}
	most := max(1, attendItems/width)
	for from := 0; from < n; from += most {
		do(from, min(most, n-from))
	}
}

// QuantizeVector rounds a key or value to int8, ties to even, and returns its scale, max|x|/127.
func (k *Kernels) QuantizeVector(dst []int8, x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	dst = dst[:len(x)]
	if len(x)%8 != 0 {
		return quantizeVectorGeneric(&dst[0], &x[0], len(x))
	}
	return k.quantizeVector(&dst[0], &x[0], len(x))
}
