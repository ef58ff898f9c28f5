package kerntest

// A step is the same whether its ops are submitted together or one by one. A GPU runs the first kind as it runs a model: as
// one piece, of which an op may begin while the one before still ends.

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

func testSteps(t *testing.T, k kern.Backend) {
	for _, c := range []struct {
		variations int
		precision  kern.Precision // of the cache
	}{{1, kern.F16}, {3, kern.F16}, {1, kern.Q8}, {3, kern.F32}} {
		t.Run(fmt.Sprintf("%d variations, %v", c.variations, c.precision), func(t *testing.T) {
			f := newFixture(t, k, "steps")
			f.margin = alignedMargin
			defer f.close()
			d := newDecoder(f, c.precision, c.variations)
			together := d.run(func() {})
			apart := d.run(f.wait)
			if !slices.Equal(together, apart) {
				t.Error("steps submitted whole give other bits than op by op")
			}
			if slices.ContainsFunc(f.read(d.x), func(v float32) bool { return v-v != 0 }) {
				t.Error("got numbers that are not finite, want all finite")
			}
		})
	}
}

const (
	decoderWidth, decoderHeads, decoderLayers = 128, 2, 2
	decoderKeys, decoderEntries               = 5, 33
	decoderPrefix, decoderSteps               = 70, 9
)

// decoder is a small one of the shape of MusicGen's: all that follows from a column is fed back as the next.
type decoder struct {
	f                                *fixture
	precision                        kern.Precision
	rows, variations                 int
	prefix                           kern.Cache
	layers                           [decoderLayers]decoderLayer
	norm                             kern.NormWeights
	heads                            kern.Matrix
	tables                           []kern.Matrix
	positions, logits, seeds         kern.Slice
	x, qkv, attention, hidden, codes kern.Slice
}

type decoderLayer struct {
	qkv, out, query, up, down kern.Matrix
	keys                      kern.Slice // and values
}

func newDecoder(f *fixture, p kern.Precision, variations int) *decoder {
	const width = decoderWidth
	d := &decoder{f: f, precision: p, variations: variations, rows: 2 * variations}
	matrix := func(n, k int) kern.Matrix {
		m, _ := f.matrix(weights.F32, n, k)
		return m
	}
	for i := range d.layers {
		d.layers[i] = decoderLayer{matrix(3*width, width), matrix(width, width), matrix(width, width), matrix(4*width, width),
			matrix(width, 4*width), f.floats(f.normal(decoderKeys * 2 * width))}
	}
	for range 2 {
		table, _ := f.table(weightKind{weights.F32, kern.F16}, decoderEntries+1, width)
		d.tables = append(d.tables, table)
	}
	d.norm, _, _ = f.norm(kern.LayerNorm, width)
	d.heads = matrix(2*decoderEntries, width)
	d.positions, _ = f.vector((decoderSteps + 1) * width)
	d.seeds = f.ints(f.seeds(variations))
	d.prefix, _ = f.prefix(history{precision: p, layers: decoderLayers, rows: d.rows, heads: decoderHeads, dim: width / decoderHeads,
		prefix: decoderPrefix, variations: variations}, kern.CacheShape{Layers: decoderLayers, Heads: decoderHeads, HeadDim: width / decoderHeads})
	d.x, d.qkv = f.room(d.rows*width), f.room(d.rows*3*width)
	d.attention, d.hidden = f.room(d.rows*width), f.room(d.rows*4*width)
	d.logits = f.room(d.rows * 2 * decoderEntries)
	d.codes = f.ints(make([]int32, variations*2*(decoderSteps+1)))
	return d
}

// run draws all columns, with a word after each op and a submission after each step, and returns the codes and the last x.
func (d *decoder) run(afterOp func()) []uint32 {
	f := d.f
	f.stream.UploadInts(d.codes, make([]int32, d.codes.N))
	own := f.cacheOf(d.precision, kern.CacheShape{Layers: decoderLayers, Rows: d.rows, Columns: decoderSteps, Heads: decoderHeads,
		HeadDim: decoderWidth / decoderHeads})
	for column := range decoderSteps {
		d.step(own, column, afterOp)
		_, err := f.stream.Submit()
		f.must(err)
	}
	bits := floatBits(f.read(d.x))
	for _, code := range f.readInts(d.codes) {
		bits = append(bits, uint32(code))
	}
	return bits
}

func (d *decoder) step(own kern.Cache, column int, afterOp func()) {
	const width, dim = decoderWidth, decoderWidth / decoderHeads
	s := d.f.stream
	scale := float32(1 / math.Sqrt(dim))
	linear := func(a kern.Linear) { s.Linear(a); afterOp() }
	s.Embed(kern.Embed{Dst: d.x, Tables: d.tables, Codes: d.codes, Stride: decoderSteps + 1, Rows: d.rows, Variations: d.variations,
		First: column, Columns: 1, Positions: d.positions})
	afterOp()
	half := d.x.At(0, d.variations*width)
	query, taken := d.qkv.At(0, half.N), d.attention.At(0, half.N)
	for i, l := range d.layers {
		linear(kern.Linear{Dst: d.qkv, X: d.x, W: l.qkv, Rows: d.rows, Norm: d.norm})
		s.CausalAttention(kern.CausalAttention{Dst: d.attention, QKV: d.qkv, Cache: own, Prefix: d.prefix, PrefixColumns: decoderPrefix,
			Variations: d.variations, Layer: i, Rows: d.rows, Columns: 1, Column: column, Scale: scale})
		afterOp()
		linear(kern.Linear{Dst: d.x, X: d.attention, W: l.out, Rows: d.rows, Residual: d.x})
		linear(kern.Linear{Dst: query, X: half, W: l.query, Rows: d.variations, Norm: d.norm})
		s.Attention(kern.Attention{Dst: taken, Q: query, QStride: width, K: l.keys, V: l.keys.At(width, l.keys.N-width), KVStride: 2 * width,
			Rows: d.variations, Keys: decoderKeys, Heads: decoderHeads, HeadDim: dim, Scale: scale})
		afterOp()
		linear(kern.Linear{Dst: half, X: taken, W: l.out, Rows: d.variations, Residual: half})
		linear(kern.Linear{Dst: d.hidden, X: d.x, W: l.up, Rows: d.rows, Norm: d.norm, Act: kern.GELU})
		linear(kern.Linear{Dst: d.x, X: d.hidden, W: l.down, Rows: d.rows, Residual: d.x})
	}
	linear(kern.Linear{Dst: d.logits, X: d.x, W: d.heads, Rows: d.rows, Norm: d.norm})
	s.Sample(kern.Sample{Codes: d.codes, Logits: d.logits, Seeds: d.seeds, Delays: []int{0, 1}, Q: 2, Entries: decoderEntries,
		Stride: decoderSteps + 1, Variations: d.variations, Group: d.variations, Column: column + 1, Frames: decoderSteps,
		Guidance: 3, Temperature: 1, TopK: 20, TopP: 1})
	afterOp()
}
