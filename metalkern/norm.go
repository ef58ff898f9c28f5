package metalkern

// Norm: Dst[r] = norm(X[r]), a simdgroup per row. The prologue of Linear is the same code.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

var normRows = kernelName{"norm", "norm_rows"}

// normArgs is NormArgs of norm.metal.
type normArgs struct {
	rows, width uint32
	kind        uint32 // kern.NormKind
	epsilon     float32
	vector      uint32
}

func (s *stream) Norm(a kern.Norm) {
	if !s.alive() {
		return
	}
	width := a.Norm.Weight.N
	if a.Rows < 1 || width < 1 || a.Norm.Kind == kern.NoNorm {
		s.shapef("norm", "got %d rows of %d, kind %d", a.Rows, width, a.Norm.Kind)
		return
	}
	x := s.floats("norm", "X", a.X, kern.Product(a.Rows, width))
	dst := s.floats("norm", "Dst", a.Dst, kern.Product(a.Rows, width))
	s.same("norm", "X", dst, x)
	weight, bias := s.normWeights("norm", a.Norm, width)
	if p, ok := s.pipeline(normRows); ok {
		threads := p.threads(128)
		groups := driver.Size{X: ceilDiv(a.Rows, threads/simdWidth), Y: 1, Z: 1}
		args := normArgs{uint32(a.Rows), uint32(width), uint32(a.Norm.Kind), a.Norm.Epsilon, fours(width, x, weight, bias)}
		s.dispatch(p, groups, threads, constants(s, args), x, weight, bias, dst.written())
	}
}

// normWeights are the parameters of a normalisation of rows of width numbers; absent ones of NoNorm.
func (s *stream) normWeights(op string, n kern.NormWeights, width int) (weight, bias region) {
	switch n.Kind {
	case kern.NoNorm:
		return region{}, region{}
	case kern.LayerNorm:
		bias = s.floats(op, "Norm.Bias", n.Bias, width)
	case kern.RMSNorm:
	default:
		s.shapef(op, "Norm.Kind: got %d, want LayerNorm or RMSNorm", n.Kind)
	}
	return s.floats(op, "Norm.Weight", n.Weight, width), bias
}

// fours is 1 where rows of width numbers may be read four at a time.
func fours(width int, operands ...region) uint32 {
	for _, o := range operands {
		if !o.absent() && !o.aligned() {
			return 0
		}
	}
	if width%4 != 0 {
		return 0
	}
	return 1
}
