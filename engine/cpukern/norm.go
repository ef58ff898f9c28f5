package cpukern

// Norm: Dst[r] = norm(X[r]), alone or as the prologue of Linear.

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type normTask struct {
	span                 // over rows
	kernels              *simd.Kernels
	kind                 kern.NormKind
	dst, x, weight, bias []float32
	width                int
	epsilon              float32
}

func (s *stream) Norm(a kern.Norm) {
	if !s.alive() {
		return
	}
	width := a.Norm.Weight.N
	if a.Rows < 1 || width < 1 {
		s.shapef("norm", "got %d rows of %d", a.Rows, width)
		return
	}
	x := s.floats("norm", "X", a.X, kern.Product(a.Rows, width))
	dst := s.floats("norm", "Dst", a.Dst, kern.Product(a.Rows, width))
	s.same("norm", "X", dst, x)
	s.normalise("norm", a.Norm, dst, x, a.Rows, width)
}

// normalised is x after a Linear's norm, in scratch memory.
func (s *stream) normalised(w kern.NormWeights, x []float32, rows, width int) []float32 {
	if s.err != nil {
		return nil
	}
	dst := s.grow(rows * width)
	s.normalise("linear", w, dst, x, rows, width)
	return dst
}

func (s *stream) normalise(op string, w kern.NormWeights, dst, x []float32, rows, width int) {
	t := &s.norm
	*t = normTask{kernels: s.kernels, kind: w.Kind, dst: dst, x: x, width: width, epsilon: w.Epsilon}
	t.weight = s.floats(op, "Norm.Weight", w.Weight, width)
	switch w.Kind {
	case kern.LayerNorm:
		t.bias = s.floats(op, "Norm.Bias", w.Bias, width)
	case kern.RMSNorm:
	default:
		s.shapef(op, "Norm.Kind: got %d, want LayerNorm or RMSNorm", w.Kind)
	}
	if s.err != nil {
		return
	}
	t.span = s.pool.cut(rows, 2*width)
	s.run(t, t.chunks())
}

func (t *normTask) run(_, chunk int) {
	from, to := t.at(chunk)
	for r := from; r < to; r++ {
		dst, x := t.dst[r*t.width:][:t.width], t.x[r*t.width:][:t.width]
		if t.kind == kern.LayerNorm {
			t.kernels.LayerNorm(dst, x, t.weight, t.bias, t.epsilon)
		} else {
			t.kernels.RMSNorm(dst, x, t.weight, t.epsilon)
		}
	}
}
