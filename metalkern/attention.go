package metalkern

// Attention: Dst[r] = Σ_j softmax_j(Scale·q[r]·k[j] + bias)·v[j], a simdgroup per row and head. causal.go has the many keys
// of a cache.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

// maxHeadDim is the widest head that the attention kernels hold in registers; MusicGen's and T5's have 64.
const maxHeadDim = 256

var (
	attention64  = kernelName{"attention", "attention_64"} // heads of that, read four elements at a time
	attentionAny = kernelName{"attention", "attention_any"}
)

// attentionArgs is AttentionArgs of attention.metal.
type attentionArgs struct {
	rows, keys, heads, depth uint32
	qStride, kvStride        uint32
	scale                    float32
	bias, vector             uint32
	late                     uint32
}

func (s *stream) Attention(a kern.Attention) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	if a.HeadDim > maxHeadDim {
		s.shapef("attention", "got heads of %d, want at most %d on a GPU", a.HeadDim, maxHeadDim)
		return
	}
	width := kern.Product(a.Heads, a.HeadDim)
	dst := s.floats("attention", "Dst", a.Dst, kern.Product(a.Rows, width))
	q := s.floats("attention", "Q", a.Q, kern.Product(a.Rows-1, a.QStride)+width)
	k := s.floats("attention", "K", a.K, kern.Product(a.Keys-1, a.KVStride)+width)
	v := s.floats("attention", "V", a.V, kern.Product(a.Keys-1, a.KVStride)+width)
	bias := s.optional("attention", "Bias", a.Bias, kern.Product(a.Heads, a.Rows+a.Keys-1))
	s.apart("attention", "Q", dst, q)
	s.apart("attention", "K", dst, k)
	s.apart("attention", "V", dst, v)
	args := attentionArgs{
		rows: uint32(a.Rows), keys: uint32(a.Keys), heads: uint32(a.Heads), depth: uint32(a.HeadDim),
		qStride: uint32(a.QStride), kvStride: uint32(a.KVStride), scale: a.Scale, bias: present(bias),
		vector: fours(a.HeadDim, q, k, v) & fours(a.QStride) & fours(a.KVStride), late: flag(s.fresh.has(k) || s.fresh.has(v)),
	}
	name, groups := attentionAny, driver.Size{X: a.Rows * a.Heads, Y: 1, Z: 1}
	if a.HeadDim == 64 && args.vector != 0 {
		name, groups = attention64, driver.Size{X: a.Heads, Y: a.Rows, Z: 1}
	}
	p, ok := s.pipeline(name)
	if s.err != nil || !ok {
		return
	}
	s.dispatch(p, groups, simdWidth, constants(s, args), q, k, v, bias, dst.written())
}
