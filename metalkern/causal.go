package metalkern

// CausalAttention over a cache, in one of two ways, by the shape of columns and heads alone: one column of heads of 64 is a
// split over blocks of columns and a join, all else is stored first and then goes through all blocks, eight queries at a
// time. See causal.metal.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

const (
	// stepColumns is STEP_BLOCK of causal.metal, stepHead the elements of a head that a step's kernels take.
	stepColumns, stepHead = 32, 64
	// stepRows is how many rows that share a prefix are a threadgroup at most.
	stepRows = 8
	// joinThreads: one for every four elements of eight slices of a head.
	joinThreads = 128
	// fillQueries is how many queries a simdgroup of a fill takes.
	fillQueries = 8
)

type causalNames struct{ split, store, fill kernelName }

var (
	causalPad     = kernelName{"causal", "causal_pad"}
	stepJoin      = kernelName{"causal", "step_join"}
	causalKernels = [...]causalNames{kern.F32: newCausalNames("f32"), kern.F16: newCausalNames("f16"), kern.Q8: newCausalNames("q8")}
)

func newCausalNames(precision string) causalNames {
	return causalNames{
		split: kernelName{"causal", "step_split_" + precision},
		store: kernelName{"causal", "causal_store_" + precision}, fill: kernelName{"causal", "causal_fill_" + precision},
	}
}

// causalArgs is CausalArgs of causal.metal.
type causalArgs struct {
	rows, columns, heads, depth   uint32
	chunks, lanes                 uint32
	column, capacity              uint32
	prefixColumns, prefixCapacity uint32
	variations                    uint32
	prefixBlocks, ownBlocks       uint32
	abreast                       uint32
	late                          uint32
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
	split, ok := s.pipeline(causalKernels[o.cache.precision].split)
	join, too := s.pipeline(stepJoin)
	if !ok || !too {
		return
	}
	o.prefixBlocks = uint32(ceilDiv(int(o.prefixColumns), stepColumns))
	o.ownBlocks = uint32(ceilDiv(int(o.column)+1, stepColumns))
	blocks := int(o.prefixBlocks + o.ownBlocks)
	most := ceilDiv(int(o.prefixCapacity), stepColumns) + ceilDiv(int(o.capacity), stepColumns) // room for later steps too
	tops := roundUp(8*int(o.rows*o.heads)*most, 16)
	scratch := s.grow(scratchParts, int64(tops)+4*int64(o.rows*o.heads)*int64(most)*stepHead)
	if s.err != nil {
		return
	}
	sums := scratch.at(int64(tops))
	scratch.to = int64(tops)
	threads := split.threads(simdWidth * min(stepRows, int(o.variations)))
	o.abreast = uint32(threads / simdWidth)
	groups := driver.Size{X: blocks, Y: int(o.heads),
		Z: ceilDiv(int(o.rows), int(o.variations)) * ceilDiv(int(o.variations), int(o.abreast))}
	args := constants(s, o.causalArgs)
	s.dispatch(split, groups, threads, args,
		o.qkv, o.own.written(), o.ownScales.written(), o.prefixNumbers, o.prefixScale, scratch.written(), sums.written())
	s.dispatch(join, driver.Size{X: int(o.rows * o.heads), Y: 1, Z: 1}, join.threads(joinThreads), args, scratch, sums, o.dst.written())
}

func (s *stream) causalFill(o *causalOperands) {
	store, ok := s.pipeline(causalKernels[o.cache.precision].store)
	fill, too := s.pipeline(causalKernels[o.cache.precision].fill)
	if !ok || !too {
		return
	}
	args := constants(s, o.causalArgs)
	threads := store.threads(128)
	items := int(o.rows * o.columns * o.heads)
	s.dispatch(store, driver.Size{X: ceilDiv(items, threads/simdWidth), Y: 1, Z: 1}, threads, args,
		o.qkv, o.own.written(), o.ownScales.written())
	threads = fill.threads(128)
	items = int(o.rows*o.heads) * ceilDiv(int(o.columns), fillQueries)
	s.dispatch(fill, driver.Size{X: ceilDiv(items, threads/simdWidth), Y: 1, Z: 1}, threads, args,
		o.qkv, o.own, o.ownScales, o.prefixNumbers, o.prefixScale, o.dst.written())
}
