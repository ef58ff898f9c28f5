package cpukern

// Attention: Dst[q] = Σ_j softmax_j(Scale·q·k[j] + bias)·v[j], once per row and head, which threads share out. Keys and
// values are few here, a text's; causal.go has the many of a cache.

import "segue/engine/kern"

// strided is how many times longer than its multiplications a head takes: keys and values lie far apart, and each is waited
// for.
const strided = 8

type attentionTask struct {
	span // over row·Heads + head
	kern.Attention
	stream             *stream
	dst, q, k, v, bias []float32
}

func (s *stream) Attention(a kern.Attention) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	width := kern.Product(a.Heads, a.HeadDim)
	t := &s.attention
	*t = attentionTask{Attention: a, stream: s}
	t.dst = s.floats("attention", "Dst", a.Dst, kern.Product(a.Rows, width))
	t.q = s.floats("attention", "Q", a.Q, kern.Product(a.Rows-1, a.QStride)+width)
	t.k = s.floats("attention", "K", a.K, kern.Product(a.Keys-1, a.KVStride)+width)
	t.v = s.floats("attention", "V", a.V, kern.Product(a.Keys-1, a.KVStride)+width)
	t.bias = s.optional("attention", "Bias", a.Bias, kern.Product(a.Heads, a.Rows+a.Keys-1))
	s.apart("attention", "Q", t.dst, t.q)
	s.apart("attention", "K", t.dst, t.k)
	s.apart("attention", "V", t.dst, t.v)
	if s.err != nil {
		return
	}
	t.span = s.pool.cut(a.Rows*a.Heads, strided*2*a.Keys*a.HeadDim)
	s.growPrivate(a.Keys)
	s.run(t, t.chunks())
}

func (t *attentionTask) run(thread, chunk int) {
	k := t.stream.kernels
	scores := t.stream.private[thread][:t.Keys]
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		row, head := n/t.Heads, n%t.Heads
		at := head * t.HeadDim
		k.Dots(scores, t.q[row*t.QStride+at:][:t.HeadDim], t.k[at:], t.KVStride)
		k.Scale(scores, t.Scale)
		if t.bias != nil {
			k.Add(scores, t.bias[head*(t.Rows+t.Keys-1)+t.Rows-1-row:][:t.Keys])
		}
		k.Softmax(scores)
		dst := t.dst[n*t.HeadDim:][:t.HeadDim]
		clear(dst)
		k.Weigh(dst, scores, t.v[at:], t.KVStride)
	}
}
