package cpukern

// Prefill is CausalAttention of many new columns at once. A thread takes one head of one row:
//
//	keys, values ── pack ──► weights of Gemm;  per strip of queries:  Q·keysᵀ ──► softmax, masked ──► ·values ──► Dst

import "segue/engine/cpukern/simd"

// headScratch is the memory of a thread for one head.
type headScratch struct {
	vector       []float32 // [depth]
	queries      []float32 // [stripRows, depth], scaled
	scores       []float32 // [stripRows, keys]
	keys, values []float32 // packed for Gemm: [keys, depth] and [depth, keys]
}

func (t *causalTask) headScratch(memory []float32) headScratch {
	take := func(n int) []float32 {
		taken := memory[:n]
		memory = memory[n:]
		return taken
	}
	return headScratch{
		vector: take(t.depth), queries: take(stripRows * t.depth), scores: take(stripRows * t.keys),
		keys: take(simd.GemmFloats(t.keys, t.depth)), values: take(simd.GemmFloats(t.depth, t.keys)),
	}
}

func (t *causalTask) prefill() {
	size := t.depth + stripRows*(t.depth+t.keys) + simd.GemmFloats(t.keys, t.depth) + simd.GemmFloats(t.depth, t.keys)
	t.stream.growPrivate(size)
	t.each(t.Rows*t.heads, 2*t.Columns*t.keys*t.depth, (*causalTask).prefillHead)
}

// prefillHead computes all new columns of one head; items are row·heads + head.
func (t *causalTask) prefillHead(thread, item int, _ bool) {
	row, head := item/t.heads, item%t.heads
	m := t.headScratch(t.stream.private[thread])
	if t.PrefixColumns > 0 {
		keys, values := t.prefix.head(t.Layer, row/t.Variations, head)
		t.pack(&m, &keys, &values, 0, t.PrefixColumns)
	}
	keys, values := t.store(row, head, t.Column, t.Column+t.Columns)
	t.pack(&m, &keys, &values, t.PrefixColumns, t.keys-t.PrefixColumns)
	for first := 0; first < t.Columns; first += stripRows {
		t.strip(&m, row, head, first, min(stripRows, t.Columns-first))
	}
}

// pack makes count keys and values the ones from at on of the two weights.
func (t *causalTask) pack(m *headScratch, keys, values *vectors, at, count int) {
	const panel = simd.GemmPanelRows
	k := t.stream.kernels
	for j := range count {
		c := at + j
		keys.widen(k, m.vector, j)
		column := m.keys[c/panel*panel*t.depth+c%panel:]
		for d, x := range m.vector {
			column[d*panel] = x
		}
		values.widen(k, m.vector, j)
		for d := 0; d < t.depth; d += panel {
			copy(m.values[d*t.keys+c*panel:], m.vector[d:min(d+panel, t.depth)])
		}
	}
}

// strip computes rows queries, from new column first on.
func (t *causalTask) strip(m *headScratch, row, head, first, rows int) {
	k := t.stream.kernels
	seen := t.keys - t.Columns + first + rows // by the last of them
	scores := m.scores[:rows*seen]
	clear(scores)
	for i := range rows {
		copy(m.queries[i*t.depth:], t.query(row*t.Columns+first+i, head))
	}
	k.Scale(m.queries[:rows*t.depth], t.Scale)
	k.Gemm(simd.Gemm{
		Dst: scores, Stride: seen, W: m.keys, PanelStride: simd.GemmPanelRows * t.depth,
		N: seen, K: t.depth, X: m.queries, XStride: t.depth, Rows: rows,
	})
	width := t.heads * t.depth
	dst := t.dst[(row*t.Columns+first)*width+head*t.depth:]
	for i := range rows {
		visible := seen - rows + i + 1
		k.Softmax(scores[i*seen:][:visible])
		clear(scores[i*seen+visible : (i+1)*seen])
		clear(dst[i*width:][:t.depth])
	}
	k.Gemm(simd.Gemm{
		Dst: dst, Stride: width, W: m.values, PanelStride: simd.GemmPanelRows * t.keys,
		N: t.depth, K: seen, X: scores, XStride: seen, Rows: rows,
	})
}
