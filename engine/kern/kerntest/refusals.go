package kerntest

// Wrong arguments end in a stream error, never in a panic, and change nothing; ops after the error are skipped until
// Reset.

import (
	"errors"
	"math"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// stranger is every kind of object, of no backend.
type stranger struct{}

func (stranger) Len() int               { return 1 << 20 }
func (stranger) Rows() int              { return 4 }
func (stranger) Cols() int              { return 4 }
func (stranger) Bytes() int64           { return 64 }
func (stranger) In() int                { return 4 }
func (stranger) Out() int               { return 4 }
func (stranger) Kernel() int            { return 3 }
func (stranger) Transposed() bool       { return false }
func (stranger) Shape() kern.CacheShape { return kern.CacheShape{} }
func (stranger) Free()                  {}

// operands are right for every call of refusals: widths are 4, lengths generous, contents valid.
type operands struct {
	a, b, c, norm, books  kern.Slice // floats
	codes, seeds          kern.Slice // ints
	freed, short          kern.Slice
	w, lstm               kern.Matrix // [4, 4] and [16, 4]
	filter, transposed    kern.Filter // 4 → 4, three taps
	cache, prefix, narrow kern.Cache  // two layers, two rows, eight columns; narrow has another head width
}

func newOperands(f *fixture) operands {
	var o operands
	o.a, o.b, o.c = f.floats(f.normal(512)), f.floats(f.normal(512)), f.floats(f.normal(512))
	o.books = f.floats(f.normal(512))
	o.codes, o.seeds = f.ints(make([]int32, 512)), f.ints(make([]int32, 64))
	o.norm, _ = f.vector(4)
	o.w, _ = f.matrix(weights.F32, 4, 4)
	o.lstm, _ = f.matrix(weights.F32, 16, 4)
	o.filter, _ = f.filter(false, 4, 4, 3)
	o.transposed, _ = f.filter(true, 4, 4, 3)
	shape := kern.CacheShape{Layers: 2, Rows: 2, Columns: 8, Heads: 2, HeadDim: 2}
	o.cache, o.prefix = f.cache(shape), f.cache(shape)
	shape.HeadDim = 1
	o.narrow = f.cache(shape)
	freed, err := f.kern.Floats(512)
	f.must(err)
	freed.Free()
	o.freed = kern.Slice{Buffer: freed, N: 512}
	o.short = o.a.At(0, 3)
	return o
}

// A refusal breaks one thing of a call that is right.
type refusal struct {
	name   string
	record func(s kern.Stream)
}

func testRefusals(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "refusals")
	defer f.close()
	o := newOperands(f)
	f.must(f.stream.Err())
	for _, r := range allRefusals(o, k.Device().Backend == "cpu") {
		t.Run(r.name, func(t *testing.T) {
			f := *f
			f.t = t
			before := floatBits(f.read(o.a))
			r.record(f.stream)
			f.stream.Copy(o.a.At(0, 8), o.b.At(0, 8)) // skipped
			_, submitted := f.stream.Submit()
			downloaded := f.stream.Download(make([]float32, 1), o.a.At(0, 1))
			if f.stream.Err() == nil || submitted == nil || downloaded == nil {
				t.Fatalf("got errors %v, %v, %v, want one and the same", f.stream.Err(), submitted, downloaded)
			}
			if !errors.Is(downloaded, f.stream.Err()) {
				t.Errorf("Download returned %v, want the first error %v", downloaded, f.stream.Err())
			}
			f.must(f.stream.Reset())
			for i, bits := range floatBits(f.read(o.a)) {
				if bits != before[i] {
					t.Fatalf("element %d of the result changed", i)
				}
			}
		})
	}
	o.a.Buffer.Free()
	o.a.Buffer.Free() // harmless
}

func allRefusals(o operands, cpu bool) []refusal {
	var all []refusal
	all = append(all, linearRefusals(o)...)
	all = append(all, attentionRefusals(o)...)
	all = append(all, convRefusals(o)...)
	all = append(all, lstmRefusals(o)...)
	all = append(all, rvqRefusals(o)...)
	if cpu {
		all = append(all, codeRefusals(o)...)
	}
	all = append(all, sampleRefusals(o)...)
	return append(all, copyRefusals(o)...)
}

func linearRefusals(o operands) []refusal {
	linear := func(name string, change func(*kern.Linear)) refusal {
		return refusal{"linear/" + name, func(s kern.Stream) {
			a := kern.Linear{Dst: o.a, X: o.b, W: o.w, Rows: 3}
			change(&a)
			s.Linear(a)
		}}
	}
	norm := func(name string, change func(*kern.Norm)) refusal {
		return refusal{"norm/" + name, func(s kern.Stream) {
			a := kern.Norm{Dst: o.a, X: o.b, Rows: 3, Norm: kern.NormWeights{Kind: kern.LayerNorm, Weight: o.norm, Bias: o.norm}}
			change(&a)
			s.Norm(a)
		}}
	}
	embed := func(name string, change func(*kern.Embed)) refusal {
		return refusal{"embed/" + name, func(s kern.Stream) {
			a := kern.Embed{Dst: o.a, Tables: []kern.Matrix{o.w, o.w}, Codes: o.codes, Stride: 8, Rows: 2, Variations: 1, Columns: 3}
			change(&a)
			s.Embed(a)
		}}
	}
	return []refusal{
		linear("no destination", func(a *kern.Linear) { a.Dst = kern.Slice{} }),
		linear("strange destination", func(a *kern.Linear) { a.Dst.Buffer = stranger{} }),
		linear("freed destination", func(a *kern.Linear) { a.Dst = o.freed }),
		linear("freed input", func(a *kern.Linear) { a.X = o.freed }),
		linear("integer input", func(a *kern.Linear) { a.X = o.codes }),
		linear("short destination", func(a *kern.Linear) { a.Dst = o.short }),
		linear("short input", func(a *kern.Linear) { a.X = o.b.At(0, 11) }),
		linear("short bias", func(a *kern.Linear) { a.Bias = o.norm.At(0, 3) }),
		linear("short residual", func(a *kern.Linear) { a.Residual = o.c.At(0, 11) }),
		linear("window past the end", func(a *kern.Linear) { a.X = o.b.At(500, 512) }),
		linear("negative window", func(a *kern.Linear) { a.X = o.b.At(-100, 64) }),
		linear("huge window", func(a *kern.Linear) { a.X = o.b.At(0, math.MaxInt) }),
		linear("huge offset", func(a *kern.Linear) { a.X.Off = math.MaxInt }),
		linear("no weight", func(a *kern.Linear) { a.W = nil }),
		linear("strange weight", func(a *kern.Linear) { a.W = stranger{} }),
		linear("no rows", func(a *kern.Linear) { a.Rows = 0 }),
		linear("negative rows", func(a *kern.Linear) { a.Rows = -1 }),
		linear("huge rows", func(a *kern.Linear) { a.Rows = math.MaxInt/4 + 1 }),
		linear("destination is input", func(a *kern.Linear) { a.X = a.Dst }),
		linear("residual shifted", func(a *kern.Linear) { a.Residual = a.Dst.At(1, 12) }),
		linear("unknown activation", func(a *kern.Linear) { a.Act = 9 }),
		linear("unknown norm", func(a *kern.Linear) { a.Norm = kern.NormWeights{Kind: 9, Weight: o.norm} }),
		linear("norm without weight", func(a *kern.Linear) { a.Norm.Kind = kern.RMSNorm }),
		linear("norm without bias", func(a *kern.Linear) { a.Norm = kern.NormWeights{Kind: kern.LayerNorm, Weight: o.norm} }),
		norm("no norm", func(a *kern.Norm) { a.Norm.Kind = kern.NoNorm }),
		norm("no weight", func(a *kern.Norm) { a.Norm.Weight = kern.Slice{} }),
		norm("short input", func(a *kern.Norm) { a.X = o.b.At(0, 11) }),
		norm("no rows", func(a *kern.Norm) { a.Rows = 0 }),
		embed("no tables", func(a *kern.Embed) { a.Tables = nil }),
		embed("missing table", func(a *kern.Embed) { a.Tables = []kern.Matrix{o.w, nil} }),
		embed("float codes", func(a *kern.Embed) { a.Codes = o.b }),
		embed("column past the stride", func(a *kern.Embed) { a.First = 6 }),
		embed("negative column", func(a *kern.Embed) { a.First = -1 }),
		embed("no variations", func(a *kern.Embed) { a.Variations = 0 }),
		embed("huge stride", func(a *kern.Embed) { a.Stride = math.MaxInt }),
		embed("short positions", func(a *kern.Embed) { a.Positions = o.b.At(0, 11) }),
	}
}

func attentionRefusals(o operands) []refusal {
	attention := func(name string, change func(*kern.Attention)) refusal {
		return refusal{"attention/" + name, func(s kern.Stream) {
			a := kern.Attention{Dst: o.a, Q: o.b, K: o.c, V: o.c, QStride: 4, KVStride: 4, Rows: 3, Keys: 5, Heads: 2, HeadDim: 2, Scale: 1}
			change(&a)
			s.Attention(a)
		}}
	}
	causal := func(name string, change func(*kern.CausalAttention)) refusal {
		return refusal{"causal/" + name, func(s kern.Stream) {
			a := kern.CausalAttention{Dst: o.a, QKV: o.b, Cache: o.cache, Prefix: o.prefix, PrefixColumns: 3,
				Rows: 2, Columns: 2, Variations: 1, Column: 1, Scale: 1}
			change(&a)
			s.CausalAttention(a)
		}}
	}
	return []refusal{
		attention("no keys", func(a *kern.Attention) { a.Keys = 0 }),
		attention("no heads", func(a *kern.Attention) { a.Heads = 0 }),
		attention("narrow stride", func(a *kern.Attention) { a.QStride = 3 }),
		attention("huge stride", func(a *kern.Attention) { a.KVStride = math.MaxInt }),
		attention("short values", func(a *kern.Attention) { a.V = o.c.At(0, 19) }),
		attention("short bias", func(a *kern.Attention) { a.Bias = o.c.At(0, 13) }),
		attention("destination is query", func(a *kern.Attention) { a.Q = a.Dst }),
		causal("no cache", func(a *kern.CausalAttention) { a.Cache = nil }),
		causal("strange cache", func(a *kern.CausalAttention) { a.Cache = stranger{} }),
		causal("strange prefix", func(a *kern.CausalAttention) { a.Prefix = stranger{} }),
		causal("prefix of another shape", func(a *kern.CausalAttention) { a.Prefix = o.narrow }),
		causal("prefix columns without a prefix", func(a *kern.CausalAttention) { a.Prefix = nil }),
		causal("too many prefix columns", func(a *kern.CausalAttention) { a.PrefixColumns = 9 }),
		causal("too many rows", func(a *kern.CausalAttention) { a.Rows = 3 }),
		causal("no variations", func(a *kern.CausalAttention) { a.Variations = 0 }),
		causal("layer", func(a *kern.CausalAttention) { a.Layer = 2 }),
		causal("cache is full", func(a *kern.CausalAttention) { a.Column = 7 }),
		causal("negative column", func(a *kern.CausalAttention) { a.Column = -1 }),
		causal("huge column", func(a *kern.CausalAttention) { a.Column = math.MaxInt }),
		causal("short input", func(a *kern.CausalAttention) { a.QKV = o.b.At(0, 47) }),
	}
}

func convRefusals(o operands) []refusal {
	conv := func(name string, change func(*kern.Conv)) refusal {
		return refusal{"conv/" + name, func(s kern.Stream) {
			a := kern.Conv{Dst: o.a, X: o.b, W: o.filter, Bias: o.norm, T: 9, Stride: 1, Dilation: 1, Left: 1, Right: 1}
			change(&a)
			s.Conv(a)
		}}
	}
	transpose := func(name string, change func(*kern.ConvTranspose)) refusal {
		return refusal{"transpose/" + name, func(s kern.Stream) {
			a := kern.ConvTranspose{Dst: o.a, X: o.b, W: o.transposed, Bias: o.norm, T: 9, Stride: 2}
			change(&a)
			s.ConvTranspose(a)
		}}
	}
	return []refusal{
		conv("no filter", func(a *kern.Conv) { a.W = nil }),
		conv("strange filter", func(a *kern.Conv) { a.W = stranger{} }),
		conv("transposed filter", func(a *kern.Conv) { a.W = o.transposed }),
		conv("no stride", func(a *kern.Conv) { a.Stride = 0 }),
		conv("no dilation", func(a *kern.Conv) { a.Dilation = 0 }),
		conv("huge dilation", func(a *kern.Conv) { a.Dilation = math.MaxInt }),
		conv("negative padding", func(a *kern.Conv) { a.Left = -1 }),
		conv("huge padding", func(a *kern.Conv) { a.Right = math.MaxInt }),
		conv("nothing in", func(a *kern.Conv) { a.T = 0 }),
		conv("nothing out", func(a *kern.Conv) { a.T, a.Left, a.Right = 1, 1, 0 }),
		conv("nothing out of a stride", func(a *kern.Conv) { a.T, a.Left, a.Right, a.Stride = 1, 1, 0, 4 }),
		conv("no bias", func(a *kern.Conv) { a.Bias = kern.Slice{} }),
		conv("unknown padding", func(a *kern.Conv) { a.Pad = 9 }),
		conv("short destination", func(a *kern.Conv) { a.Dst = o.a.At(0, 35) }),
		transpose("plain filter", func(a *kern.ConvTranspose) { a.W = o.filter }),
		transpose("no stride", func(a *kern.ConvTranspose) { a.Stride = 0 }),
		transpose("huge stride", func(a *kern.ConvTranspose) { a.Stride = math.MaxInt }),
		transpose("all trimmed", func(a *kern.ConvTranspose) { a.TrimLeft = 19 }),
		transpose("negative trim", func(a *kern.ConvTranspose) { a.TrimRight = -1 }),
		transpose("short destination", func(a *kern.ConvTranspose) { a.Dst = o.a.At(0, 75) }),
	}
}

func lstmRefusals(o operands) []refusal {
	lstm := func(name string, change func(*kern.LSTM)) refusal {
		return refusal{"lstm/" + name, func(s kern.Stream) {
			a := kern.LSTM{Dst: o.a, Gates: o.b, Hidden: o.lstm, T: 3}
			change(&a)
			s.LSTM(a)
		}}
	}
	return []refusal{
		lstm("square weight", func(a *kern.LSTM) { a.Hidden = o.w }),
		lstm("no steps", func(a *kern.LSTM) { a.T = 0 }),
		lstm("short gates", func(a *kern.LSTM) { a.Gates = o.b.At(0, 47) }),
	}
}

func rvqRefusals(o operands) []refusal {
	encode := func(name string, change func(*kern.RVQEncode)) refusal {
		return refusal{"rvqencode/" + name, func(s kern.Stream) {
			a := kern.RVQEncode{Codes: o.codes, Z: o.a, Books: o.books, Q: 2, Entries: 5, T: 3, D: 4, Stride: 3}
			change(&a)
			s.RVQEncode(a)
		}}
	}
	return []refusal{
		encode("short stride", func(a *kern.RVQEncode) { a.Stride = 2 }),
		encode("short books", func(a *kern.RVQEncode) { a.Books = o.books.At(0, 39) }),
		encode("no codebooks", func(a *kern.RVQEncode) { a.Q = 0 }),
		{"rvqdecode/float codes", func(s kern.Stream) {
			s.RVQDecode(kern.RVQDecode{Dst: o.a, Codes: o.b, Books: o.books, Q: 2, Entries: 5, T: 3, D: 4, Stride: 3})
		}},
	}
}

// codeRefusals: a GPU reads row 0 for a code outside its table.
func codeRefusals(o operands) []refusal {
	return []refusal{
		{"rvqdecode/code outside", func(s kern.Stream) {
			s.UploadInts(o.codes.At(4, 1), []int32{5})
			s.RVQDecode(kern.RVQDecode{Dst: o.a, Codes: o.codes, Books: o.books, Q: 2, Entries: 5, T: 3, D: 4, Stride: 3})
		}},
		{"embed/code outside", func(s kern.Stream) {
			s.UploadInts(o.codes.At(4, 1), []int32{-1})
			s.Embed(kern.Embed{Dst: o.a, Tables: []kern.Matrix{o.w}, Codes: o.codes, Stride: 8, Rows: 1, Variations: 1, Columns: 5})
		}},
	}
}

func sampleRefusals(o operands) []refusal {
	sample := func(name string, change func(*kern.Sample)) refusal {
		return refusal{"sample/" + name, func(s kern.Stream) {
			a := kern.Sample{Codes: o.codes, Logits: o.b, Seeds: o.seeds, Probs: o.a, Delays: []int{0, 1}, Q: 2, Entries: 5, Stride: 8,
				Variations: 2, Group: 2, Column: 3, Frames: 6, Guidance: 3, Temperature: 1, TopP: 1}
			change(&a)
			s.Sample(a)
		}}
	}
	return []refusal{
		sample("group", func(a *kern.Sample) { a.Group = 3 }),
		sample("delays", func(a *kern.Sample) { a.Delays = []int{0} }),
		sample("column", func(a *kern.Sample) { a.Column = 8 }),
		sample("temperature", func(a *kern.Sample) { a.Temperature = 0 }),
		sample("top-k", func(a *kern.Sample) { a.TopK = -1 }),
		sample("top-p", func(a *kern.Sample) { a.TopP = 0 }),
		sample("top-p is not a number", func(a *kern.Sample) { a.TopP = float32(math.NaN()) }),
		sample("guidance", func(a *kern.Sample) { a.Guidance = float32(math.Inf(1)) }),
		sample("no entries", func(a *kern.Sample) { a.Entries = 0 }),
		sample("short logits", func(a *kern.Sample) { a.Logits = o.b.At(0, 39) }),
		sample("short seeds", func(a *kern.Sample) { a.Seeds = o.seeds.At(0, 3) }),
		sample("float seeds", func(a *kern.Sample) { a.Seeds = o.b }),
	}
}

func copyRefusals(o operands) []refusal {
	return []refusal{
		{"copy/overlap", func(s kern.Stream) { s.Copy(o.a.At(0, 8), o.a.At(4, 8)) }},
		{"copy/lengths", func(s kern.Stream) { s.Copy(o.a.At(0, 8), o.b.At(0, 7)) }},
		{"copy/kinds", func(s kern.Stream) { s.Copy(o.a.At(0, 8), o.codes.At(0, 8)) }},
		{"upload/lengths", func(s kern.Stream) { s.Upload(o.a.At(0, 8), make([]float32, 9)) }},
		{"upload/kinds", func(s kern.Stream) { s.UploadInts(o.a.At(0, 8), make([]int32, 8)) }},
		{"download/window", func(s kern.Stream) { s.Download(make([]float32, 8), o.a.At(510, 8)) }},
	}
}

// ShelvedRefuses: a shelved backend refuses the tensors that a plain one does.
func ShelvedRefuses(t *testing.T, k kern.Shelved) {
	t.Helper()
	wrong := weights.Derive("wrong", func() []float32 { return nil }, 0, 3)
	if _, err := k.Vector(wrong); err == nil {
		t.Error("Vector took a tensor without elements")
	}
	if _, err := k.Filter(wrong, false); err == nil {
		t.Error("Filter took a tensor of two dimensions")
	}
	if _, err := k.Vector(nil); err == nil {
		t.Error("Vector took no tensor")
	}
}
