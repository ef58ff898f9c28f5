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
	attention64  = kernelName{"attention", "attention_64"} // heads up to that
	attention256 = kernelName{"attention", "attention_256"}
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
	if !s.alive() {
		return
	}
	width := kern.Product(a.Heads, a.HeadDim)
	if !kern.Positive(a.Rows, a.Keys, a.Heads, a.HeadDim) || a.HeadDim > maxHeadDim || a.QStride < width || a.KVStride < width {
		s.shapef("attention", "got %d rows, %d keys, %d heads of %d (at most %d), strides %d and %d",
			a.Rows, a.Keys, a.Heads, a.HeadDim, maxHeadDim, a.QStride, a.KVStride)
		return
	}
	dst := s.floats("attention", "Dst", a.Dst, kern.Product(a.Rows, width))
	q := s.floats("attention", "Q", a.Q, kern.Product(a.Rows-1, a.QStride)+width)
	k := s.floats("attention", "K", a.K, kern.Product(a.Keys-1, a.KVStride)+width)
	v := s.floats("attention", "V", a.V, kern.Product(a.Keys-1, a.KVStride)+width)
	bias := s.optional("attention", "Bias", a.Bias, kern.Product(a.Heads, a.Rows+a.Keys-1))
	s.apart("attention", "Q", dst, q)
	s.apart("attention", "K", dst, k)
	s.apart("attention", "V", dst, v)
	name := attention64
	if a.HeadDim > 64 {
		name = attention256
	}
	p, ok := s.pipeline(name)
	if s.err != nil || !ok {
		return
	}
	args := attentionArgs{
		rows: uint32(a.Rows), keys: uint32(a.Keys), heads: uint32(a.Heads), depth: uint32(a.HeadDim),
		qStride: uint32(a.QStride), kvStride: uint32(a.KVStride), scale: a.Scale, bias: present(bias),
		vector: fours(a.HeadDim, q, k) & fours(a.QStride) & fours(a.KVStride), late: flag(s.fresh.has(k) || s.fresh.has(v)),
	}
	threads := p.threads(32) // few per threadgroup, so that all cores have some
	groups := driver.Size{X: ceilDiv(a.Rows*a.Heads, threads/simdWidth), Y: 1, Z: 1}
	s.dispatch(p, groups, threads, constants(s, args), q, k, v, bias, dst.written())
}
