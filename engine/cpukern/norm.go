package cpukern

// Norm: Dst[r] = norm(X[r]), alone or as the prologue of Linear. Means are taken in float64.

import (
	"math"

	"segue/engine/kern"
)

type normTask struct {
	span                 // over rows
	kind                 kern.NormKind
	dst, x, weight, bias []float32
	width                int
	epsilon              float64
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
	x := s.floats("norm", "X", a.X, product(a.Rows, width))
	dst := s.floats("norm", "Dst", a.Dst, product(a.Rows, width))
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
	*t = normTask{kind: w.Kind, dst: dst, x: x, width: width, epsilon: float64(w.Epsilon)}
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
	t.span = s.pool.cut(rows, 8*width)
	s.pool.run(t, t.chunks())
}

func (t *normTask) run(_, chunk int) {
	from, to := t.at(chunk)
	for r := from; r < to; r++ {
		dst, x := t.dst[r*t.width:][:t.width], t.x[r*t.width:][:t.width]
		if t.kind == kern.LayerNorm {
			layerNorm(dst, x, t.weight, t.bias, t.epsilon)
		} else {
			rmsNorm(dst, x, t.weight, t.epsilon)
		}
	}
}

// layerNorm: (x-mean)/√(var+ε)·weight + bias, biased variance.
func layerNorm(dst, x, weight, bias []float32, epsilon float64) {
	sum := 0.0
	for _, v := range x {
		sum += float64(v)
	}
	mean := sum / float64(len(x))
	squares := 0.0
	for _, v := range x {
		d := float64(v) - mean
		squares += float64(d * d)
	}
	scale := 1 / math.Sqrt(squares/float64(len(x))+epsilon)
	for i, v := range x {
		dst[i] = float32(float32((float64(v)-mean)*scale)*weight[i]) + bias[i]
	}
}

// rmsNorm: x/√(mean(x²)+ε)·weight.
func rmsNorm(dst, x, weight []float32, epsilon float64) {
	squares := 0.0
	for _, v := range x {
		squares += float64(float64(v) * float64(v))
	}
	scale := 1 / math.Sqrt(squares/float64(len(x))+epsilon)
	for i, v := range x {
		dst[i] = float32(float64(v)*scale) * weight[i]
	}
}
