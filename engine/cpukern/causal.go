package cpukern

// CausalAttention over a cache, in one of two ways, by the number of new columns alone:
//
//	few (a step)     keys in blocks ──► each (block, head): new columns stored, scores, Σe^(s-max), Σe^(s-max)·v
//	                 ──► joined in order of blocks by whoever ends the last one of a head
//	many (a prefill) each (row, head): keys and values packed once, then strips of queries as two matrix products
//
// A block of a prefix is computed for all the rows that share it at once, so that memory gives it only once. The blocks do
// not depend on the number of threads or rows, so neither do the bits of a result.

import (
	"math"
	"sync/atomic"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

const (
	// blockColumns: long enough that a new stream from memory is a rare thing; a block's keys and values of 64 numbers each
	// take 256 KiB in float16, at home in a second-level cache for the rows that share them.
	blockColumns = 1024
	// stripRows is how many queries of a prefill make up one matrix product: whole tiles.
	stripRows = 4 * simd.TileRows
	// fetchBytes of the next keys or values are asked for while something else is computed, so that a stream is under way when
	// it is read: about what memory gives in the time that a softmax of a block takes.
	fetchBytes = 4096
)

type causalTask struct {
	span // over the items of a phase
	kern.CausalAttention
	stream        *stream
	phase         func(t *causalTask, thread, item int, more bool)
	cache, prefix *cache
	dst, qkv      []float32
	heads, depth  int // depth = HeadDim
	keys          int // prefix and own columns, the new ones included

	// Of a step. A part is the largest score of a block, Σe^(s-largest) and Σe^(s-largest)·v.
	prefixBlocks, ownBlocks int            // of a head
	sharing                 int            // rows per prefix row, 1 without a prefix
	parts                   []float32      // [query][head][block][2+depth], prefix blocks first
	unfinished              []atomic.Int32 // [row][head]: blocks
}

func (s *stream) CausalAttention(a kern.CausalAttention) {
	if !s.alive() {
		return
	}
	t := &s.causal
	*t = causalTask{CausalAttention: a, stream: s}
	if t.cache = s.cacheOf("Cache", a.Cache); t.cache == nil {
		return
	}
	if a.Prefix != nil {
		if t.prefix = s.cacheOf("Prefix", a.Prefix); t.prefix == nil {
			return
		}
	}
	if !s.passes(a.Check()) {
		return
	}
	t.heads, t.depth = t.cache.shape.Heads, t.cache.shape.HeadDim
	width := t.heads * t.depth
	t.dst = s.floats("causal attention", "Dst", a.Dst, kern.Product(a.Rows, a.Columns, width))
	t.qkv = s.floats("causal attention", "QKV", a.QKV, kern.Product(a.Rows, a.Columns, 3, width))
	s.apart("causal attention", "QKV", t.dst, t.qkv)
	if s.err != nil {
		return
	}
	t.keys = a.PrefixColumns + a.Column + a.Columns
	if a.Columns < simd.TileRows {
		t.step()
	} else {
		t.prefill()
	}
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

// each runs a phase over n items of cost multiplications. A phase is told whether the same thread goes on with the next item.
func (t *causalTask) each(n, cost int, phase func(t *causalTask, thread, item int, more bool)) {
	t.span = span{n: n, block: min(n, ceilDiv(leastWork, cost))} // items are large, and a claim costs next to nothing
	t.phase = phase
	t.stream.run(t, t.chunks())
}

func (t *causalTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		t.phase(t, thread, n, n+1 < to)
	}
}

// store puts those of the new keys and values of one head of a row into the cache that belong to columns [from, to).
func (t *causalTask) store(row, head, from, to int) (keys, values vectors) {
	keys, values = t.cache.head(t.Layer, row, head)
	width := t.heads * t.depth
	for column := max(from, t.Column); column < min(to, t.Column+t.Columns); column++ {
		qkv := t.qkv[3*(row*t.Columns+column-t.Column)*width+head*t.depth:]
		keys.put(t.stream.kernels, column, qkv[width:][:t.depth])
		values.put(t.stream.kernels, column, qkv[2*width:][:t.depth])
	}
	return keys, values
}

// query returns the query of a head; n counts the new columns of all rows.
func (t *causalTask) query(n, head int) []float32 {
	return t.qkv[(3*n*t.heads+head)*t.depth:][:t.depth]
}

func (t *causalTask) step() {
	s := t.stream
	t.prefixBlocks = ceilDiv(t.PrefixColumns, blockColumns)
	t.ownBlocks = ceilDiv(t.Column+t.Columns, blockColumns)
	most := ceilDiv(t.cache.shape.Columns, blockColumns) // room for later steps too
	t.sharing = 1
	if t.prefixBlocks > 0 {
		most += ceilDiv(t.prefix.shape.Columns, blockColumns)
		t.sharing = t.Variations
	}
	queries := t.Rows * t.Columns
	t.parts = s.grow(queries * t.heads * most * (2 + t.depth))
	s.growPrivate(t.depth + max(blockColumns, most))
	t.unfinished = s.growCounters(t.Rows * t.heads)
	for i := range t.unfinished {
		t.unfinished[i].Store(int32(t.prefixBlocks + t.ownBlocks))
	}
	cost := 2 * min(blockColumns, t.keys) * t.depth * t.Columns
	t.each(ceilDiv(t.Rows, t.sharing)*t.heads*t.unit(), cost, (*causalTask).block)
}

// unit counts the items of one head of the rows that share a prefix row: the prefix's blocks, then each row's own. Items are in
// the order of such units, so that ranges of them cost alike.
func (t *causalTask) unit() int { return t.prefixBlocks + t.sharing*t.ownBlocks }

// itemAt is what an item stands for: a block of a prefix row, or of a row's own columns.
func (t *causalTask) itemAt(item int) (shared bool, row, head, block int) {
	at, unit := item%t.unit(), item/t.unit()
	group, head := unit/t.heads, unit%t.heads
	if at < t.prefixBlocks {
		return true, group, head, at
	}
	at -= t.prefixBlocks
	return false, group*t.sharing + at/t.ownBlocks, head, at % t.ownBlocks
}

// growCounters returns n counters of the stream's, with stale contents.
func (s *stream) growCounters(n int) []atomic.Int32 {
	if len(s.counters) < n {
		s.counters = make([]atomic.Int32, n)
	}
	return s.counters[:n]
}

// block computes the parts of a block.
func (t *causalTask) block(thread, item int, more bool) {
	next := -1
	if more {
		next = item + 1
	}
	shared, row, head, block := t.itemAt(item)
	switch {
	case shared:
		t.prefixBlock(thread, row, head, block, next)
	case row < t.Rows: // the last prefix row may have fewer
		t.ownBlock(thread, row, head, block, next)
	}
}

// prefixBlock computes the parts of all rows that share a block.
func (t *causalTask) prefixBlock(thread, group, head, block, next int) {
	keys, values := t.prefix.head(t.Layer, group, head)
	first := block * blockColumns
	count := min(blockColumns, t.PrefixColumns-first)
	for row := group * t.sharing; row < min((group+1)*t.sharing, t.Rows); row++ {
		for i := range t.Columns {
			t.attend(thread, row*t.Columns+i, head, block, next, &keys, &values, first, count)
		}
		t.finish(thread, row, head)
	}
}

// ownBlock computes the parts of one row's new columns.
func (t *causalTask) ownBlock(thread, row, head, block, next int) {
	first := block * blockColumns
	keys, values := t.store(row, head, first, first+blockColumns)
	for i := range t.Columns {
		count := max(0, min(blockColumns, t.Column+i+1-first))
		t.attend(thread, row*t.Columns+i, head, t.prefixBlocks+block, next, &keys, &values, first, count)
	}
	t.finish(thread, row, head)
}

// fetchKeys asks for those that an item begins with.
func (t *causalTask) fetchKeys(item int) {
	shared, row, head, block := t.itemAt(item)
	of := t.cache
	if shared {
		of = t.prefix
	} else if row >= t.Rows {
		return
	}
	keys, _ := of.head(t.Layer, row, head)
	keys.fetch(t.stream.kernels, block*blockColumns)
}

// attend computes one part, of count columns. next is the item that follows, or -1.
func (t *causalTask) attend(thread, n, head, block, next int, keys, values *vectors, first, count int) {
	part := t.part(n*t.heads+head, block)
	clear(part)
	if count == 0 {
		part[0] = float32(math.Inf(-1))
		return
	}
	k, scratch := t.stream.kernels, t.stream.private[thread]
	q, scores := scratch[:t.depth], scratch[t.depth:][:count]
	copy(q, t.query(n, head))
	k.Scale(q, t.Scale)
	keys.dots(k, scores, q, first)
	values.fetch(k, first)
	part[0] = k.Max(scores)
	part[1] = k.ExpSum(scores, part[0])
	if next >= 0 {
		t.fetchKeys(next)
	}
	values.weigh(k, part[2:], scores, first)
}

// finish counts a block of a row's head; whoever counts the last one joins them all.
func (t *causalTask) finish(thread, row, head int) {
	if t.unfinished[row*t.heads+head].Add(-1) == 0 {
		for i := range t.Columns {
			t.join(thread, (row*t.Columns+i)*t.heads+head)
		}
	}
}

// part is that of a block for query n and a head, as item = n·heads + head.
func (t *causalTask) part(item, block int) []float32 {
	blocks, size := t.prefixBlocks+t.ownBlocks, 2+t.depth
	return t.parts[(item*blocks+block)*size:][:size]
}

// join adds the parts of one query and head up, in order of blocks:
//
//	Dst = Σ_b e^(max_b-max)·values_b / Σ_b e^(max_b-max)·sum_b
func (t *causalTask) join(thread, item int) {
	k, blocks := t.stream.kernels, t.prefixBlocks+t.ownBlocks
	shares := t.stream.private[thread][:blocks]
	for b := range shares {
		shares[b] = t.part(item, b)[0]
	}
	k.ExpSum(shares, k.Max(shares))
	sum := float32(0)
	for b, share := range shares {
		sum += float32(share * t.part(item, b)[1])
	}
	k.Scale(shares, 1/sum)
	dst := t.dst[item*t.depth:][:t.depth]
	clear(dst)
	k.Weigh(dst, shares, t.parts[item*blocks*(2+t.depth)+2:], 2+t.depth)
}
