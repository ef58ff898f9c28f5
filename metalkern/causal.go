package metalkern

// CausalAttention over a cache, in one of three ways, by the shape of columns and heads alone: one column of heads of 64 is a
// step over blocks of columns, perhaps with a join; many are stored first and then go through all blocks in tiles of queries;
// heads of other sizes are stored, and go through eight queries at a time. See causal_common.metal.

import (
	"math/bits"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

const (
	// stepColumns is STEP_BLOCK of causal.metal, stepHead the elements of a head that a step's kernels and tiles take.
	stepColumns, stepHead = 32, 64
	// stepWhole is how many blocks one threadgroup of a step adds up where they are all, stepSpan where there are more. Longer
	// spans leave cores without work, shorter ones more to join.
	stepWhole, stepSpan = 16, 8
	// stepRows and stepSlots are STEP_ROWS and STEP_SLOTS of causal.metal, stepWhole its STEP_WHOLE.
	stepRows, stepSlots = 8, 64
	// joinThreads: a simdgroup for each half of a row and head.
	joinThreads = 64
	// fillQueries is how many queries a simdgroup of a fill takes, tileQueries of one in tiles; both have fillThreads, stores too.
	fillQueries, tileQueries = 8, 16
	fillThreads              = 128
)

type causalNames struct{ split, store, fill, tile kernelName }

var (
	causalPad     = kernelName{"causal_fill", "causal_pad"}
	stepJoin      = kernelName{"causal", "step_join"}
	causalKernels = [...]causalNames{kern.F32: newCausalNames("f32"), kern.F16: newCausalNames("f16"), kern.Q8: newCausalNames("q8")}
)

func newCausalNames(precision string) causalNames {
	return causalNames{
		split: kernelName{"causal", "step_split_" + precision},
		store: kernelName{"causal_fill", "causal_store_" + precision}, fill: kernelName{"causal_fill", "causal_fill_" + precision},
		tile: kernelName{"causal_fill", "causal_tile_" + precision},
	}
}

// causalArgs is CausalArgs of causal_common.metal.
type causalArgs struct {
	rows, columns, heads, depth   uint32
	chunks, lanes                 uint32
	column, capacity              uint32
	prefixColumns, prefixCapacity uint32
	variations                    uint32
	prefixBlocks, ownBlocks       uint32
	span, pieces, sharedPieces    uint32
	abreastBits, ownBits          uint32
	turnBits                      uint32
	groupBits, rowBits            uint32
	late, once                    uint32
	scale                         float32
}

// causalOperands are those of one op, checked.
type causalOperands struct {
	causalArgs
	cache, prefix              *cache // prefix may be nil
	dst, qkv                   region
	own, ownScales             region
	prefixNumbers, prefixScale region
}

func (s *stream) CausalAttention(a kern.CausalAttention) {
	if !s.alive() {
		return
	}
	var o causalOperands
	if o.cache = s.cacheOf("Cache", a.Cache); o.cache == nil {
		return
	}
	if a.Prefix != nil {
		if o.prefix = s.cacheOf("Prefix", a.Prefix); o.prefix == nil {
			return
		}
	}
	if !s.passes(a.Check()) {
		return
	}
	if o.prefix != nil && o.prefix.precision != o.cache.precision {
		s.shapef("causal attention", "Prefix: got %s, want %s as the cache", o.prefix.precision, o.cache.precision)
		return
	}
	width := o.cache.shape.Heads * o.cache.shape.HeadDim
	o.dst = s.floats("causal attention", "Dst", a.Dst, kern.Product(a.Rows, a.Columns, width))
	o.qkv = s.floats("causal attention", "QKV", a.QKV, kern.Product(a.Rows, a.Columns, 3, width))
	s.apart("causal attention", "QKV", o.dst, o.qkv)
	if s.err != nil {
		return
	}
	s.causalArguments(&a, &o)
	if o.cache.shape.HeadDim%chunkElements != 0 || !o.qkv.aligned() {
		s.causalPadded(&o)
	}
	if a.Columns == 1 && o.chunks*chunkElements == stepHead {
		s.causalStep(&o)
	} else {
		s.causalFill(&o)
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

// causalArguments fills in what both ways need.
func (s *stream) causalArguments(a *kern.CausalAttention, o *causalOperands) {
	shape := o.cache.shape
	o.own, o.ownScales = o.cache.layer(a.Layer)
	o.causalArgs = causalArgs{
		rows: uint32(a.Rows), columns: uint32(a.Columns), heads: uint32(shape.Heads), depth: uint32(shape.HeadDim),
		chunks: uint32(o.cache.chunks()), lanes: 1, column: uint32(a.Column), capacity: uint32(shape.Columns), variations: 1,
		scale: a.Scale,
	}
	for o.lanes < o.chunks {
		o.lanes *= 2
	}
	if a.PrefixColumns > 0 {
		o.prefixNumbers, o.prefixScale = o.prefix.layer(a.Layer)
		o.prefixColumns, o.prefixCapacity = uint32(a.PrefixColumns), uint32(o.prefix.shape.Columns)
		o.variations = uint32(min(a.Variations, a.Rows))
		o.late = flag(!o.prefix.settled(s.turn, a.PrefixColumns))
	}
	o.late |= flag(!o.cache.settled(s.turn, a.Column))
	o.cache.writes(s.turn, a.Column)
}

// causalPadded copies queries, keys and values that kernels cannot read eight at a time. No model has such.
func (s *stream) causalPadded(o *causalOperands) {
	p, ok := s.pipeline(causalPad)
	if !ok {
		return
	}
	n := 3 * int(o.rows*o.columns*o.heads*o.chunks) * chunkElements
	padded := s.grow(scratchQKV, 4*int64(n))
	threads := p.threads(256)
	s.dispatch(p, driver.Size{X: ceilDiv(n, threads), Y: 1, Z: 1}, threads, constants(s, o.causalArgs), o.qkv, padded.written())
	o.qkv = padded
}

func (s *stream) causalStep(o *causalOperands) {
	// The most threads that a step wants: so that its registers let two threadgroups of half as many run on a core.
	split, ok := s.pipelineOf(causalKernels[o.cache.precision].split, stepWhole*simdWidth)
	join, too := s.pipeline(stepJoin)
	if !ok || !too {
		return
	}
	threads := s.causalPieces(o)
	pieces, heads := int(o.pieces), int(o.rows*o.heads)
	var tops, sums region
	if pieces > 1 {
		most := ceilDiv(int(o.prefixCapacity), stepColumns*stepSpan) + ceilDiv(int(o.capacity), stepColumns*stepSpan) // room for later steps too
		part := roundUp(8*heads*most, 16)
		tops = s.grow(scratchParts, int64(part)+4*int64(heads)*int64(most)*stepHead)
		if s.err != nil {
			return
		}
		sums = tops.at(int64(part))
		tops.to = int64(part)
	}
	o.once = flag(threads <= split.most)
	args := constants(s, o.causalArgs)
	groups := driver.Size{X: int(o.sharedPieces<<o.groupBits + (o.pieces-o.sharedPieces)<<o.rowBits), Y: int(o.heads), Z: 1}
	dst := o.dst
	if pieces > 1 {
		dst = region{}
	}
	s.dispatch(split, groups, split.threads(threads), args,
		o.qkv, o.own.written(), o.ownScales.written(), o.prefixNumbers, o.prefixScale, tops.written(), sums.written(), dst.written())
	if pieces > 1 {
		threads := join.threads(joinThreads)
		s.dispatch(join, driver.Size{X: ceilDiv(2*heads, threads/simdWidth), Y: 1, Z: 1}, threads, args, tops, sums, o.dst.written())
	}
}

// causalPieces decides, by the number of blocks alone, which of them a threadgroup of a step adds up, and how many rows it
// takes; the threads that it wants. Up to stepWhole blocks are one piece. More are pieces of stepSpan, of the prefix's and of
// the own ones, of which a threadgroup takes as many rows' as are stepSpan blocks.
func (s *stream) causalPieces(o *causalOperands) (threads int) {
	o.prefixBlocks, o.ownBlocks = uint32(ceilDiv(int(o.prefixColumns), stepColumns)), uint32(ceilDiv(int(o.column)+1, stepColumns))
	own := int(o.ownBlocks) // that a threadgroup takes of each row
	o.span, o.sharedPieces, o.pieces = o.prefixBlocks+o.ownBlocks, 1, 1
	if int(o.span) > stepWhole {
		own, o.span = 0, stepSpan
		o.sharedPieces = uint32(ceilDiv(int(o.prefixBlocks), stepSpan))
		o.pieces = o.sharedPieces + uint32(ceilDiv(int(o.ownBlocks), stepSpan))
	}
	tasks := func(bits uint32) int { return min(int(o.span), int(o.prefixBlocks)) + own<<bits }
	o.abreastBits = 0
	for 1<<o.abreastBits < min(o.variations, stepRows) && int(o.span)<<(o.abreastBits+1) <= stepSlots && tasks(o.abreastBits+1) <= stepWhole {
		o.abreastBits++
	}
	o.ownBits = 0
	each := min(int(o.span), int(o.ownBlocks))
	for o.pieces > 1 && 1<<o.ownBits < min(o.rows, stepRows) && each<<(o.ownBits+1) <= stepSpan {
		o.ownBits++
	}
	o.turnBits = log2(ceilDiv(int(o.variations), 1<<o.abreastBits))
	o.groupBits = log2(ceilDiv(int(o.rows), int(o.variations)) << o.turnBits)
	o.rowBits = log2(ceilDiv(int(o.rows), 1<<o.ownBits))
	return simdWidth * max(tasks(o.abreastBits), each<<o.ownBits)
}

// log2 of the power of two from n on.
func log2(n int) uint32 { return uint32(bits.Len(uint(n - 1))) }

func (s *stream) causalFill(o *causalOperands) {
	names := &causalKernels[o.cache.precision]
	store, ok := s.pipeline(names.store)
	if !ok {
		return
	}
	args := constants(s, o.causalArgs)
	threads := store.threads(fillThreads)
	heads := int(o.rows * o.heads)
	s.dispatch(store, driver.Size{X: 2 * heads, Y: ceilDiv(int(o.columns*o.lanes), threads), Z: 1}, threads, args,
		o.qkv, o.own.written(), o.ownScales.written())
	name := names.fill
	if o.chunks*chunkElements == stepHead {
		name = names.tile
	}
	fill, ok := s.pipeline(name)
	if !ok {
		return
	}
	threads = fill.threads(fillThreads)
	groups := driver.Size{X: ceilDiv(heads*ceilDiv(int(o.columns), fillQueries), threads/simdWidth), Y: 1, Z: 1}
	if name == names.tile {
		groups = driver.Size{X: heads, Y: ceilDiv(int(o.columns), tileQueries*threads/simdWidth), Z: 1}
	}
	s.dispatch(fill, groups, threads, args, o.qkv, o.own, o.ownScales, o.prefixNumbers, o.prefixScale, o.dst.written())
}
