package kerntest

// Timing, from the rows of the table at the shapes that models have. Bytes are those that memory must move at least: the
// weights, and for convolutions the frames.

import (
	"fmt"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// Bench times one backend. The names small, medium and large are those of MusicGen's models.
func Bench(b *testing.B, k kern.Backend) { BenchBatches(b, k, 1) }

// BenchBatches times ops of which batch are recorded before one wait, as ops of a model are; waiting for a GPU takes longer
// than most of them.
func BenchBatches(b *testing.B, k kern.Backend, batch int) {
	for _, r := range benchRows() {
		b.Run(r.name, func(b *testing.B) {
			f := newFixture(b, k, r.name)
			defer f.close()
			c := r.build(f)
			c.record(f.stream)
			f.wait()
			b.SetBytes(int64(batch) * c.bytes)
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					c.record(f.stream)
				}
				f.wait()
			}
			if batch > 1 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch)/1e3, "µs/one")
			}
		})
	}
}

func benchRows() []row {
	var rows []row
	for _, model := range []struct {
		name  string
		width int
	}{{"small", 1024}, {"medium", 1536}, {"large", 2048}} {
		for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8, kern.Q4} {
			for _, count := range []int{1, 2, 8, 300} {
				r := linearRow(linearShape{count, 4 * model.width, model.width}, weightKind{weights.F32, p}, 4) // the shape of fc1, with norm and GELU
				r.name = fmt.Sprintf("%s/linear/%s/%d", model.name, p, count)
				rows = append(rows, r)
			}
		}
	}
	for _, columns := range []int{302, 1504} {
		for _, variations := range []int{1, 8} {
			rows = append(rows, named(fmt.Sprintf("small/step/%d/%d", columns, 2*variations), stepBench(columns, variations)))
		}
	}
	return append(rows,
		named("small/causal", causalBench()),
		named("small/prefill", prefillBench()),
		named("small/text", textBench()),
		named("codec/first", convRow(convShape{128, 1024, 7}, kern.Conv{T: 50, Left: 3, Right: 3}, 0)),
		named("codec/residual", convRow(convShape{64, 32, 3}, kern.Conv{T: 32000, Left: 1, Right: 1}, 1)),
		named("codec/last", convRow(convShape{64, 1, 7}, kern.Conv{T: 32000, Left: 3, Right: 3}, 1)),
		named("codec/up", transposeRow(convShape{1024, 512, 16}, kern.ConvTranspose{T: 50, Stride: 8, TrimLeft: 4, TrimRight: 4}, true)),
		named("codec/lstm", lstmRow(weightKind{weights.F32, kern.Stored}, 50, 1024, 0)),
		named("codec/quantise", encodeRow(4, 2048, 50, 128)),
		named("small/sample", sampleBench()))
}

func named(name string, r row) row {
	r.name = name
	return r
}

// causalBench is a step of the small model in one layer with half its columns behind it.
func causalBench() row {
	return row{build: func(f *fixture) call {
		const rows, columns, heads, dim = 2, 750, 16, 64
		f.margin = alignedMargin // as a model's are
		cache := f.cache(kern.CacheShape{Layers: 1, Rows: rows, Columns: columns + 1, Heads: heads, HeadDim: dim})
		a := kern.CausalAttention{Cache: cache, Rows: rows, Columns: 1, Column: columns, Scale: 0.125}
		a.QKV, a.Dst = f.floats(f.normal(rows*3*heads*dim)), f.room(rows*heads*dim)
		return call{record: func(s kern.Stream) { s.CausalAttention(a) }, bytes: cache.Bytes()}
	}}
}

// smallLayers of the small model take turns, so that none finds its cache where the one before left its own.
const smallLayers, smallHeads, smallDim = 24, 16, 64

// stepBench is a step of the small model after so many columns, which variations share, in halves.
func stepBench(columns, variations int) row {
	return row{build: func(f *fixture) call {
		f.margin = alignedMargin
		h := history{rows: 2 * variations, heads: smallHeads, dim: smallDim}
		shape := kern.CacheShape{Layers: smallLayers, Rows: h.rows, Columns: 32, Heads: smallHeads, HeadDim: smallDim}
		shared := shape
		shared.Rows, shared.Columns = 2, columns
		prefix := f.cacheOf(kern.F16, shared)
		fill := kern.CausalAttention{Cache: prefix, Rows: 2, Columns: columns, Scale: 0.125}
		f.causalOperands(&fill, h)
		for fill.Layer = range smallLayers {
			f.stream.CausalAttention(fill)
		}
		a := kern.CausalAttention{Cache: f.cacheOf(kern.F16, shape), Prefix: prefix, PrefixColumns: columns, Variations: variations,
			Rows: h.rows, Columns: 1, Scale: 0.125}
		f.causalOperands(&a, h)
		return call{record: takingTurns(a), bytes: prefix.Bytes() / smallLayers}
	}}
}

// prefillBench is six seconds of a prompt.
func prefillBench() row {
	return row{build: func(f *fixture) call {
		f.margin = alignedMargin
		h := history{rows: 2, heads: smallHeads, dim: smallDim}
		shape := kern.CacheShape{Layers: smallLayers, Rows: h.rows, Columns: 301, Heads: smallHeads, HeadDim: smallDim}
		a := kern.CausalAttention{Cache: f.cacheOf(kern.F16, shape), Rows: h.rows, Columns: shape.Columns, Scale: 0.125}
		f.causalOperands(&a, h)
		return call{record: takingTurns(a), bytes: a.Cache.Bytes() / smallLayers}
	}}
}

func takingTurns(a kern.CausalAttention) func(kern.Stream) {
	return func(s kern.Stream) {
		s.CausalAttention(a)
		a.Layer = (a.Layer + 1) % smallLayers
	}
}

// textBench is what a row of the small model takes from a text of sixteen tokens.
func textBench() row {
	r := attentionRow(kern.Attention{Rows: 1, Keys: 16, Heads: smallHeads, HeadDim: smallDim}, 4, false)
	build := r.build
	r.build = func(f *fixture) call {
		f.margin = alignedMargin
		return build(f)
	}
	return r
}

// sampleBench draws a step's codes of the small model, without the distribution that only tests ask for.
func sampleBench() row {
	return row{build: func(f *fixture) call {
		a := kern.Sample{Q: 4, Entries: 2048, Stride: 16, Variations: 1, Group: 1, Column: 7, Frames: 12,
			Guidance: 3, Temperature: 1, TopK: 250, TopP: 1, Delays: []int{0, 1, 2, 3}}
		a.Logits, a.Seeds = f.floats(f.normal(2*a.Q*a.Entries)), f.ints(f.seeds(1))
		a.Codes = f.ints(make([]int32, a.Q*a.Stride))
		return call{record: func(s kern.Stream) { s.Sample(a) }}
	}}
}
