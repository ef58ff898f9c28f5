package cpukern

// ConvTranspose. Output frame f = u·Stride + s - TrimLeft hears input frames u, u-1, … through taps s, s+Stride, …; so one
// phase s of all outputs is a matrix product for each of its taps, with a step of Stride frames between results:
//
//	Dst[u·Stride + s - TrimLeft] = Bias + Σ_m X[u-m]·W[tap s+m·Stride]

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type transposeTask struct {
	grid    // rows are the u of all phases, from first on
	kernels *simd.Kernels
	kern.ConvTranspose
	w            *filter
	dst, x, bias []float32
	first, outT  int
}

func (s *stream) ConvTranspose(a kern.ConvTranspose) {
	if !s.alive() {
		return
	}
	w := s.filter("conv transpose", a.W, true)
	if w == nil || !s.passes(a.Check(kern.MaxElements)) {
		return
	}
	t := &s.transpose
	*t = transposeTask{ConvTranspose: a, kernels: s.kernels, w: w, first: a.TrimLeft / a.Stride, outT: a.OutT()}
	t.dst = s.floats("conv transpose", "Dst", a.Dst, kern.Product(t.outT, w.out))
	t.bias = s.floats("conv transpose", "Bias", a.Bias, w.out)
	x := s.floats("conv transpose", "X", a.X, kern.Product(a.T, w.in))
	s.apart("conv transpose", "X", t.dst, x)
	if s.err != nil {
		return
	}
	t.x = s.padded(padTask{x: x, t: a.T, in: w.in, elu: a.ELU}, 0)
	end := (a.TrimLeft+t.outT-1)/a.Stride + 1
	t.grid = s.pool.grid(end-t.first, w.out, w.kernel*w.in)
	s.run(t, t.chunks())
}

func (t *transposeTask) run(_, chunk int) {
	r0, r1, p0, p1 := t.at(chunk)
	c0, c1 := p0*simd.GemmPanelRows, min(p1*simd.GemmPanelRows, t.w.out)
	for phase := range min(t.Stride, t.TrimLeft+t.outT) {
		// Of these u, those whose output is not trimmed away.
		u0, u1 := t.first+r0, t.first+r1
		for u0 < u1 && t.frame(u0, phase) < 0 {
			u0++
		}
		for u0 < u1 && t.frame(u1-1, phase) >= t.outT {
			u1--
		}
		for u := u0; u < u1; u++ {
			copy(t.dst[t.frame(u, phase)*t.w.out+c0:][:c1-c0], t.bias[c0:c1])
		}
		for m := 0; phase+m*t.Stride < t.w.kernel; m++ {
			t.addTap(phase, m, max(u0, m), min(u1, t.T+m), c0, c1)
		}
	}
}

// frame is the output frame of u and a phase.
func (t *transposeTask) frame(u, phase int) int { return u*t.Stride + phase - t.TrimLeft }

// addTap adds what output frames of a phase, u in [u0, u1), hear of input frames u-m.
func (t *transposeTask) addTap(phase, m, u0, u1, c0, c1 int) {
	if u0 >= u1 {
		return
	}
	t.kernels.Gemm(simd.Gemm{
		Dst: t.dst[t.frame(u0, phase)*t.w.out+c0:], Stride: t.Stride * t.w.out,
		W:           t.w.packed[(phase+m*t.Stride)*t.w.tapFloats()+c0*t.w.in:],
		PanelStride: simd.GemmPanelRows * t.w.in, N: c1 - c0, K: t.w.in,
		X: t.x[(u0-m)*t.w.in:], XStride: t.w.in, Rows: u1 - u0,
	})
}
