package metalkern

// ConvTranspose. Output frame u·Stride + s - TrimLeft hears input frames u, u-1, … through taps s, s+Stride, …: for all
// phases s together, that is a convolution whose row u has Stride frames of output.

import "segue/engine/kern"

func (s *stream) ConvTranspose(a kern.ConvTranspose) {
	const op = "conv transpose"
	if !s.alive() {
		return
	}
	w := s.filter(op, a.W, true)
	if w == nil || !s.passes(a.Check(maxLength)) {
		return
	}
	outT := a.OutT()
	if !s.indexable(op, a.T, w.in) || !s.indexable(op, outT, w.out) {
		return
	}
	x := s.floats(op, "X", a.X, kern.Product(a.T, w.in))
	bias := s.floats(op, "Bias", a.Bias, w.out)
	dst := s.floats(op, "Dst", a.Dst, kern.Product(outT, w.out))
	s.apart(op, "X", dst, x)
	taps := ceilDiv(w.kernel, a.Stride)                           // of one phase
	u, end := a.TrimLeft/a.Stride, (a.TrimLeft+outT-1)/a.Stride+1 // rows that are not trimmed away whole
	if !s.indexable(op, end-u, a.Stride, w.pitch()) {
		return
	}
	s.convolve(convArgs{
		rows: uint32(end - u), phases: uint32(a.Stride), outputs: uint32(w.out), pitch: uint32(w.pitch()),
		kernelTaps: uint32(w.kernel), taps: uint32(taps), tapFirst: int32((taps - 1) * a.Stride), tapStep: int32(-a.Stride),
		channels: uint32(w.in), frames: uint32(a.T), first: int32(u - (taps - 1)), stride: 1, dilation: 1, elu: flag(a.ELU),
		trim: uint32((a.TrimLeft - u*a.Stride) * w.out), limit: uint32(outT * w.out),
	}, w, x, bias, region{}, dst)
}
