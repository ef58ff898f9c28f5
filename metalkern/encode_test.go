package metalkern

import (
	"errors"
	"testing"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// blank is a device whose work costs nothing: what remains is the cost of recording it.
type blank struct{ dispatches, barriers int }

func (d *blank) Info() driver.Info                      { return driver.Info{Backend: "blank", Cores: 132} }
func (d *blank) Buffer(n int64) (driver.Buffer, error)  { return blankBuffer(n), nil }
func (d *blank) Wrap([]byte) (driver.Buffer, error)     { return nil, errors.New("blank") }
func (d *blank) Library(string) (driver.Library, error) { return d, nil }
func (d *blank) Pipeline(string, int) (driver.Pipeline, error) {
	return d, nil
}
func (d *blank) MaxThreads() int              { return 1024 }
func (d *blank) Queue() (driver.Queue, error) { return &blankQueue{device: d}, nil }
func (d *blank) Allocated() int64             { return 0 }
func (d *blank) Close() error                 { return nil }

// blankMemory is another for every buffer, by its address.
type blankMemory struct{ bytes int64 }

func blankBuffer(n int64) driver.Buffer { return &blankMemory{n} }
func (m *blankMemory) Bytes() int64     { return m.bytes }
func (m *blankMemory) Contents() []byte { return nil }
func (m *blankMemory) Free()            {}

type blankQueue struct {
	device *blank
	fence  driver.Fence
}

func (q *blankQueue) Dispatch(driver.Pipeline, driver.Size, int, []byte, []driver.Binding) {
	q.device.dispatches++
}
func (q *blankQueue) Barrier()                           { q.device.barriers++ }
func (q *blankQueue) Commit() (driver.Fence, error)      { q.fence++; return q.fence, nil }
func (q *blankQueue) Wait(driver.Fence) error            { return nil }
func (q *blankQueue) Write(driver.Binding, []byte) error { return nil }
func (q *blankQueue) Read([]byte, driver.Binding) error  { return nil }
func (q *blankQueue) Reset() error                       { return nil }
func (q *blankQueue) Close() error                       { return nil }

// layer is one of MusicGen small's: the ops of a step with guidance, the conditional row attending to a text.
type layer struct {
	x, qkv, attention, hidden, kv kern.Slice
	wqkv, out, q, fc1, fc2        kern.Matrix
	norm                          kern.NormWeights
	cache                         kern.Cache
}

func newLayer(t testing.TB, k kern.Backend) *layer {
	const width, rows, keys = 1024, 2, 16
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	floats := func(n int) kern.Slice {
		b, err := k.Floats(n)
		must(err)
		return kern.All(b)
	}
	matrix := func(n, in int) kern.Matrix {
		m, err := k.Matrix(kern.Q8, weights.FromFloats("zeros", make([]float32, n*in), n, in))
		must(err)
		return m
	}
	cache, err := k.Cache(kern.F16, kern.CacheShape{Layers: 1, Rows: rows, Columns: 1504, Heads: 16, HeadDim: 64})
	must(err)
	return &layer{
		x: floats(rows * width), qkv: floats(rows * 3 * width), attention: floats(rows * width), hidden: floats(rows * 4 * width),
		kv: floats(keys * 2 * width), wqkv: matrix(3*width, width), out: matrix(width, width), q: matrix(width, width),
		fc1: matrix(4*width, width), fc2: matrix(width, 4*width), cache: cache,
		norm: kern.NormWeights{Kind: kern.LayerNorm, Weight: floats(width), Bias: floats(width), Epsilon: 1e-5},
	}
}

func (l *layer) step(s kern.Stream, column int) {
	const width = 1024
	one := l.x.At(0, width)
	s.Linear(kern.Linear{Dst: l.qkv, X: l.x, W: l.wqkv, Rows: 2, Norm: l.norm})
	s.CausalAttention(kern.CausalAttention{Dst: l.attention, QKV: l.qkv, Cache: l.cache, Rows: 2, Columns: 1, Column: column, Scale: 0.125})
	s.Linear(kern.Linear{Dst: l.x, X: l.attention, W: l.out, Rows: 2, Residual: l.x})
	s.Linear(kern.Linear{Dst: l.qkv.At(0, width), X: one, W: l.q, Rows: 1, Norm: l.norm})
	s.Attention(kern.Attention{
		Dst: l.attention.At(0, width), Q: l.qkv.At(0, width), QStride: width, K: l.kv, V: l.kv.At(width, l.kv.N-width), KVStride: 2 * width,
		Rows: 1, Keys: 16, Heads: 16, HeadDim: 64, Scale: 0.125,
	})
	s.Linear(kern.Linear{Dst: one, X: l.attention.At(0, width), W: l.out, Rows: 1, Residual: one})
	s.Linear(kern.Linear{Dst: l.hidden, X: l.x, W: l.fc1, Rows: 2, Norm: l.norm, Act: kern.GELU})
	s.Linear(kern.Linear{Dst: l.x, X: l.hidden, W: l.fc2, Rows: 2, Residual: l.x})
}

// newBlank is a blank device, a stream on it and a layer.
func newBlank(t testing.TB) (*blank, kern.Stream, *layer) {
	t.Helper()
	device := &blank{}
	k, err := New(device)
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Stream()
	if err != nil {
		t.Fatal(err)
	}
	return device, s, newLayer(t, k)
}

// TestLayerDispatches: a layer's step is eight dispatches, one more after many columns, each waiting for the one before, and
// nothing else.
func TestLayerDispatches(t *testing.T) {
	device, s, l := newBlank(t)
	l.step(s, 0)
	for _, at := range []struct{ column, dispatches int }{{1, 8}, {stepWhole*stepColumns - 1, 8}, {stepWhole * stepColumns, 9}} {
		*device = blank{}
		l.step(s, at.column)
		if s.Err() != nil || device.dispatches != at.dispatches || device.barriers != at.dispatches {
			t.Errorf("column %d: got %d dispatches and %d barriers, %v, want %d of both", at.column, device.dispatches, device.barriers, s.Err(), at.dispatches)
		}
		if n := testing.AllocsPerRun(10, func() { l.step(s, at.column) }); n != 0 {
			t.Errorf("column %d: recording a step allocates %v times, want 0", at.column, n)
		}
	}
}

// TestFreshNorm: a product does not read a norm's weights before kernels that write them have ended.
func TestFreshNorm(t *testing.T) {
	device, s, l := newBlank(t)
	product := func() int {
		before := device.dispatches
		s.Linear(kern.Linear{Dst: l.qkv, X: l.x, W: l.wqkv, Rows: 2, Norm: l.norm})
		return device.dispatches - before
	}
	for _, written := range []kern.Slice{l.norm.Weight, l.norm.Bias} {
		plain := product()
		s.Copy(written, l.hidden.At(0, written.N))
		fresh := product()
		if _, err := s.Submit(); err != nil {
			t.Fatal(err)
		}
		if after := product(); plain != 1 || fresh != 2 || after != 1 {
			t.Errorf("got %d dispatches, with weights just written %d, in the next submission %d, want 1, 2, 1", plain, fresh, after)
		}
	}
}

// BenchmarkRecordLayer is what recording costs before a driver sees it; a step of the small model has 24 such layers.
func BenchmarkRecordLayer(b *testing.B) {
	_, s, l := newBlank(b)
	b.ReportAllocs()
	for b.Loop() {
		l.step(s, 1000)
		if _, err := s.Submit(); err != nil {
			b.Fatal(err)
		}
	}
}
