package cpukern

// Attention: Dst[q] = Σ_j softmax_j(Scale·q·k[j] + bias)·v[j], once per row and head. Rows and heads are shared out
// among the threads; one of them is computed as two products with the scores between them:
//
//	q [1, HeadDim] · keysᵀ ──► scores [keys] ──► softmax ──► · values ──► [HeadDim]

import (
	"fmt"

	"segue/engine/kern"
)

// cache is [layer][row][head][keys, values][column][HeadDim]: what one head reads is contiguous.
type cache struct {
	holding
	shape kern.CacheShape
	data  []float32
}

func (b *backend) Cache(p kern.Precision, shape kern.CacheShape) (kern.Cache, error) {
	if p != kern.F32 {
		return nil, fmt.Errorf("cpukern: cache: got precision %s, want %s", p, kern.F32)
	}
	n := product(shape.Layers, shape.Rows, shape.Columns, shape.Heads, shape.HeadDim, 2)
	if err := b.checkLength("cache", n); err != nil {
		return nil, err
	}
	c := &cache{shape: shape, data: make([]float32, n)}
	c.hold(b, 4*int64(n))
	return c, nil
}

func (c *cache) Shape() kern.CacheShape { return c.shape }

func (c *cache) Free() {
	if c.release() {
		c.data = nil
	}
}

// head returns the keys and the values of one head, [Columns, HeadDim] each.
func (c *cache) head(layer, row, head int) (keys, values []float32) {
	n := c.shape.Columns * c.shape.HeadDim
	at := ((layer*c.shape.Rows+row)*c.shape.Heads + head) * 2 * n
	return c.data[at:][:n], c.data[at+n:][:n]
}

// score: scores[j] = scale·(q·keys[j·stride:]).
func score(scores, q, keys []float32, stride int, scale float32) {
	clear(scores)
	product := gemm{
		out: scores, outStride: len(scores),
		x: q, xStride: len(q),
		w: keys, wStride: stride,
		rows: 1, cols: len(scores), depth: len(q),
	}
	product.add()
	for j := range scores {
		scores[j] *= scale
	}
}

type attentionTask struct {
	span // over row·Heads + head
	kern.Attention
	private            [][]float32
	dst, q, k, v, bias []float32
}

func (s *stream) Attention(a kern.Attention) {
	if !s.alive() {
		return
	}
	width := product(a.Heads, a.HeadDim)
	if !positive(a.Rows, a.Keys, a.Heads, a.HeadDim) || a.QStride < width || a.KVStride < width {
		s.shapef("attention", "got %d rows, %d keys, %d heads of %d, strides %d and %d",
			a.Rows, a.Keys, a.Heads, a.HeadDim, a.QStride, a.KVStride)
		return
	}
	t := &s.attention
	*t = attentionTask{Attention: a}
	t.dst = s.floats("attention", "Dst", a.Dst, product(a.Rows, width))
	t.q = s.floats("attention", "Q", a.Q, product(a.Rows-1, a.QStride)+width)
	t.k = s.floats("attention", "K", a.K, product(a.Keys-1, a.KVStride)+width)
	t.v = s.floats("attention", "V", a.V, product(a.Keys-1, a.KVStride)+width)
	t.bias = s.optional("attention", "Bias", a.Bias, product(a.Heads, a.Rows+a.Keys-1))
	s.apart("attention", "Q", t.dst, t.q)
	s.apart("attention", "K", t.dst, t.k)
	s.apart("attention", "V", t.dst, t.v)
	if s.err != nil {
		return
	}
	t.span = s.pool.cut(a.Rows*a.Heads, 2*a.Keys*a.HeadDim)
	s.growPrivate(a.Keys)
	t.private = s.private
	s.pool.run(t, t.chunks())
}

func (t *attentionTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		row, head := n/t.Heads, n%t.Heads
		at := head * t.HeadDim
		scores := t.private[thread][:t.Keys]
		score(scores, t.q[row*t.QStride+at:][:t.HeadDim], t.k[at:], t.KVStride, t.Scale)
		if t.bias != nil {
			add(scores, t.bias[head*(t.Rows+t.Keys-1)+t.Rows-1-row:][:t.Keys])
		}
		softmax(scores)
		dst := t.dst[n*t.HeadDim:][:t.HeadDim]
		clear(dst)
		weigh(dst, scores, t.v[at:], t.KVStride)
	}
}

// causalTask attends from new columns to those of a prefix and of the row's own cache, as if they were one.
type causalTask struct {
	span // over (row·Columns + column)·Heads + head
	kern.CausalAttention
	private      [][]float32
	cache        *cache
	prefix       *cache
	dst, qkv     []float32
	heads, depth int // depth = HeadDim
}

func (s *stream) CausalAttention(a kern.CausalAttention) {
	if !s.alive() {
		return
	}
	t := &s.causal
	*t = causalTask{CausalAttention: a}
	if t.cache = s.cacheOf("Cache", a.Cache); t.cache == nil {
		return
	}
	if a.Prefix != nil {
		if t.prefix = s.cacheOf("Prefix", a.Prefix); t.prefix == nil {
			return
		}
	}
	if !s.causalFits(t) {
		return
	}
	width := t.heads * t.depth
	t.dst = s.floats("causal attention", "Dst", a.Dst, product(a.Rows, a.Columns, width))
	t.qkv = s.floats("causal attention", "QKV", a.QKV, product(a.Rows, a.Columns, 3, width))
	s.apart("causal attention", "QKV", t.dst, t.qkv)
	if s.err != nil {
		return
	}
	t.append()
	keys := a.PrefixColumns + a.Column + a.Columns
	t.span = s.pool.cut(a.Rows*a.Columns*t.heads, 2*keys*t.depth)
	capacity := t.cache.shape.Columns // not keys, which grow with every step
	if t.prefix != nil {
		capacity += t.prefix.shape.Columns
	}
	s.growPrivate(capacity)
	t.private = s.private
	s.pool.run(t, t.chunks())
}

func (s *stream) cacheOf(name string, c kern.Cache) *cache {
	found, ok := c.(*cache)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef("causal attention", "%s: absent, or a cache of another backend", name)
	case found.freed.Load():
		s.shapef("causal attention", "%s: freed cache", name)
	default:
		return found
	}
	return nil
}

func (s *stream) causalFits(t *causalTask) bool {
	own := t.cache.shape
	t.heads, t.depth = own.Heads, own.HeadDim
	switch {
	case !positive(t.Rows, t.Columns) || t.Rows > own.Rows:
		s.shapef("causal attention", "got %d rows of %d columns, want up to %d rows", t.Rows, t.Columns, own.Rows)
	case t.Layer < 0 || t.Layer >= own.Layers:
		s.shapef("causal attention", "Layer: got %d, want 0 to %d", t.Layer, own.Layers-1)
	case t.Column < 0 || t.Column > own.Columns || t.Columns > own.Columns-t.Column:
		s.shapef("causal attention", "got columns %d+%d, want up to %d", t.Column, t.Columns, own.Columns)
	case t.prefix == nil && t.PrefixColumns != 0:
		s.shapef("causal attention", "got %d prefix columns without a prefix", t.PrefixColumns)
	case t.prefix != nil:
		p := t.prefix.shape
		if p.Layers != own.Layers || p.Heads != own.Heads || p.HeadDim != own.HeadDim || t.prefix == t.cache {
			s.shapef("causal attention", "Prefix: got %+v, want the like of %+v, but another", p, own)
		} else if t.PrefixColumns < 0 || t.PrefixColumns > p.Columns || t.Variations < 1 || (t.Rows-1)/t.Variations >= p.Rows {
			s.shapef("causal attention", "Prefix: got %d columns, %d rows, %d variations, want within %+v",
				t.PrefixColumns, t.Rows, t.Variations, p)
		}
	}
	return s.err == nil
}

// append copies the new keys and values into the cache.
func (t *causalTask) append() {
	width := t.heads * t.depth
	for n := range t.Rows * t.Columns {
		row, at := n/t.Columns, (t.Column+n%t.Columns)*t.depth
		qkv := t.qkv[n*3*width:][:3*width]
		for h := range t.heads {
			keys, values := t.cache.head(t.Layer, row, h)
			copy(keys[at:at+t.depth], qkv[width+h*t.depth:])
			copy(values[at:at+t.depth], qkv[2*width+h*t.depth:])
		}
	}
}

func (t *causalTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		column, head := n/t.heads, n%t.heads // column counts within all rows
		q := t.qkv[column*3*t.heads*t.depth+head*t.depth:][:t.depth]
		t.attend(t.dst[n*t.depth:][:t.depth], q, column/t.Columns, column%t.Columns, head, t.private[thread])
	}
}

// attend computes one head of one new column.
func (t *causalTask) attend(dst, q []float32, row, column, head int, scratch []float32) {
	keys, values := t.cache.head(t.Layer, row, head)
	seen := t.Column + column + 1
	prefixed := t.PrefixColumns
	scores := scratch[:prefixed+seen]
	var prefixValues []float32
	if prefixed > 0 {
		var prefixKeys []float32
		prefixKeys, prefixValues = t.prefix.head(t.Layer, row/t.Variations, head)
		score(scores[:prefixed], q, prefixKeys, t.depth, t.Scale)
	}
	score(scores[prefixed:], q, keys, t.depth, t.Scale)
	softmax(scores)
	clear(dst)
	weigh(dst, scores[:prefixed], prefixValues, t.depth)
	weigh(dst, scores[prefixed:], values, t.depth)
}
