package kerntest

// Rows of Attention and CausalAttention.

import (
	"fmt"
	"math"

	"segue/engine/kern"
)

func attentionRows() []row {
	var rows []row
	for i, keys := range []int{1, 3, 17, 33, 65, 5, 34} {
		for _, heads := range []int{1, 3} {
			dim := []int{1, 8, 17, 64, 16, 256, 129}[i]
			rows = append(rows,
				attentionRow(kern.Attention{Rows: []int{1, 2, 13}[i%3], Keys: keys, Heads: heads, HeadDim: dim}, 1, false),
				attentionRow(kern.Attention{Rows: keys, Keys: keys, Heads: heads, HeadDim: dim}, 1, true))
		}
	}
	for _, keys := range []int{1, 3, 5, 16, 17, 31, 32, 33, 66} { // as models have them: what is next to each other is at fours
		for _, biased := range []bool{false, true} {
			rows = append(rows, attentionRow(kern.Attention{Rows: 3, Keys: keys, Heads: 2, HeadDim: 64}, 4, biased))
		}
		rows = append(rows, attentionRow(kern.Attention{Rows: 66, Keys: keys, Heads: 1, HeadDim: 64}, 4, true))
	}
	return rows
}

// attentionRow reads q, k and v out of wider rows, as they come from one stacked weight, with a gap between rows.
func attentionRow(a kern.Attention, gap int, biased bool) row {
	name := fmt.Sprintf("attention/%dx%d/%dx%d/gap%d/bias%v", a.Rows, a.Keys, a.Heads, a.HeadDim, gap, biased)
	return row{name: name, build: func(f *fixture) call {
		a := a
		width := a.Heads * a.HeadDim
		a.Scale = float32(1 / math.Sqrt(float64(a.HeadDim)))
		a.QStride, a.KVStride = width+3*gap, 2*width+gap
		q, kv := f.normal(a.Rows*a.QStride), f.normal(a.Keys*a.KVStride)
		a.Q, a.K = f.floats(q), f.floats(kv)
		a.V = a.K.At(width, a.K.N-width)
		var bias []float64
		if biased {
			a.Bias, bias = f.vector(a.Heads * (a.Rows + a.Keys - 1))
		}
		a.Dst = f.room(a.Rows * width)
		return call{
			record: func(s kern.Stream) { s.Attention(a) },
			results: []result{{window: a.Dst, floats: func() []float64 {
				return naiveAttention(a, wide(q), wide(kv), wide(kv)[width:], bias)
			}}},
		}
	}}
}

// cacheQ8Tolerance: a number that lies between two steps of 1/127 may be rounded either way.
const cacheQ8Tolerance = 1e-5

// history is a decoder's: a prefix that rows share, then appends of several columns each.
type history struct {
	precision                 kern.Precision // of the caches; 0: F32
	layers, rows, heads, dim  int
	prefix, variations, spare int // prefix columns (0: none); rows per prefix row; columns of the prefix not read
	appends                   []int
}

func causalRows() []row {
	var rows []row
	for _, h := range []history{
		{layers: 1, rows: 1, heads: 1, dim: 1, appends: []int{1}},
		{layers: 2, rows: 1, heads: 2, dim: 8, appends: []int{1, 1, 1}},
		{layers: 1, rows: 2, heads: 3, dim: 17, appends: []int{33, 1, 2}},
		{layers: 2, rows: 3, heads: 2, dim: 64, appends: []int{5, 1}},
		{layers: 1, rows: 4, heads: 2, dim: 16, prefix: 3, variations: 2, appends: []int{1, 1}},
		{layers: 2, rows: 6, heads: 1, dim: 33, prefix: 65, variations: 3, spare: 4, appends: []int{2, 3, 1}},
		{layers: 1, rows: 2, heads: 4, dim: 64, prefix: 17, variations: 1, appends: []int{31, 1}},
		{layers: 1, rows: 1, heads: 1, dim: 8, appends: []int{509, 1, 4, 5}},
		{layers: 1, rows: 2, heads: 1, dim: 16, prefix: 513, variations: 2, spare: 3, appends: []int{1, 4, 13}},
		{layers: 1, rows: 18, heads: 1, dim: 64, prefix: 95, variations: 9, appends: []int{1, 1}},
		{layers: 1, rows: 2, heads: 1, dim: 129, prefix: 40, variations: 1, appends: []int{32, 1}},
		{layers: 1, rows: 1, heads: 1, dim: 8, prefix: 2049, variations: 1, appends: []int{1}},
		{layers: 1, rows: 2, heads: 2, dim: 64, appends: []int{32, 1, 1}},
		{layers: 1, rows: 2, heads: 1, dim: 64, prefix: 1100, variations: 2, spare: 2, appends: []int{1, 1}},
		{layers: 1, rows: 3, heads: 1, dim: 64, prefix: 67, variations: 2, appends: []int{15, 17, 66, 1}},
		{layers: 1, rows: 7, heads: 1, dim: 64, prefix: 480, variations: 7, spare: 1, appends: []int{1, 1}},
		{layers: 1, rows: 14, heads: 1, dim: 64, prefix: 512, variations: 7, spare: 1, appends: []int{1, 1}},
		{layers: 1, rows: 3, heads: 1, dim: 64, prefix: 450, variations: 3, appends: []int{70, 1}},
		{layers: 1, rows: 1, heads: 1, dim: 64, appends: []int{64, 64, 1}},
	} {
		for _, h.precision = range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
			rows = append(rows, causalRow(h))
		}
	}
	return rows
}

func causalRow(h history) row {
	name := fmt.Sprintf("causal/%v/%d-layers/%d-rows/%dx%d/prefix%d/%v", h.precision, h.layers, h.rows, h.heads, h.dim, h.prefix, h.appends)
	tolerance := 0.0
	if h.precision == kern.Q8 {
		tolerance = cacheQ8Tolerance
	}
	return row{name: name, tolerance: tolerance, build: func(f *fixture) call {
		columns := 1 // more room than needed
		for _, n := range h.appends {
			columns += n
		}
		shape := kern.CacheShape{Layers: h.layers, Rows: h.rows, Columns: columns, Heads: h.heads, HeadDim: h.dim}
		own, ownNaive := f.cacheOf(h.precision, shape), newNaiveCache(h.precision)
		prefix, prefixNaive := f.prefix(h, shape)
		var calls []kern.CausalAttention
		var c call
		for column, i := 0, 0; i < len(h.appends); i++ {
			for layer := range h.layers {
				a := kern.CausalAttention{Cache: own, Layer: layer, Rows: h.rows, Columns: h.appends[i], Column: column, Scale: 0.3}
				if prefix != nil {
					a.Prefix, a.PrefixColumns, a.Variations = prefix, h.prefix, h.variations
				}
				qkv := f.causalOperands(&a, h)
				want := naiveCausal(a, ownNaive, prefixNaive, wide(qkv), h.heads, h.dim)
				calls = append(calls, a)
				c.results = append(c.results, result{window: a.Dst, floats: func() []float64 { return want }})
			}
			column += h.appends[i]
		}
		c.record = func(s kern.Stream) {
			for _, a := range calls {
				s.CausalAttention(a)
			}
		}
		return c
	}}
}

// prefix fills a shared cache with h.prefix columns and h.spare more that are not to be read.
func (f *fixture) prefix(h history, shape kern.CacheShape) (kern.Cache, *naiveCache) {
	if h.prefix == 0 {
		return nil, nil
	}
	shape.Rows = (h.rows + h.variations - 1) / h.variations
	shape.Columns = h.prefix + h.spare
	made, naive := f.cacheOf(h.precision, shape), newNaiveCache(h.precision)
	for layer := range h.layers {
		a := kern.CausalAttention{Cache: made, Layer: layer, Rows: shape.Rows, Columns: shape.Columns, Scale: 0.3}
		qkv := f.causalOperands(&a, h)
		f.stream.CausalAttention(a)
		naiveStore(a, naive, wide(qkv), h.heads*h.dim, h.dim)
	}
	return made, naive
}

func (f *fixture) cacheOf(p kern.Precision, shape kern.CacheShape) kern.Cache {
	f.t.Helper()
	c, err := f.kern.Cache(p, shape)
	f.keep(c, err)
	return c
}

func (f *fixture) causalOperands(a *kern.CausalAttention, h history) []float32 {
	n := a.Rows * a.Columns * h.heads * h.dim
	qkv := f.normal(3 * n)
	a.QKV, a.Dst = f.floats(qkv), f.room(n)
	return qkv
}
