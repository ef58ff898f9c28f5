package kerntest

// A fixture makes the operands of one row on a backend: deterministic numbers, windows that lie inside larger buffers,
// and guards around results, so that a kernel that reads or writes beside its window is found.

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// Margins: how many guarded elements lie before and after each window. The usual one is odd, so that windows are not
// aligned; backends read vectors where they are.
const (
	oddMargin     = 5
	alignedMargin = 8
)

// Guards hold numbers that no op computes.
const (
	floatGuard = float32(-12345.75)
	intGuard   = int32(-54321)
)

type fixture struct {
	t      testing.TB
	kern   kern.Backend
	stream kern.Stream
	random *rand.Rand
	margin int
	made   []kern.Object
	rooms  []kern.Slice
}

// newFixture seeds its numbers from name.
func newFixture(t testing.TB, k kern.Backend, name string) *fixture {
	hash := fnv.New64a()
	hash.Write([]byte(name))
	f := &fixture{t: t, kern: k, random: rand.New(rand.NewPCG(hash.Sum64(), 1)), margin: oddMargin}
	var err error
	f.stream, err = k.Stream()
	f.must(err)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wait() {
	f.t.Helper()
	f.must(kern.Finish(f.stream))
}

func (f *fixture) close() {
	f.must(f.stream.Close())
	kern.Free(f.made)
}

// normal returns n numbers of the standard normal distribution.
func (f *fixture) normal(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(f.random.NormFloat64())
	}
	return out
}

// below returns n integers in [0, limit).
func (f *fixture) below(n, limit int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(f.random.IntN(limit))
	}
	return out
}

// tensor returns random numbers stored as dtype, and their values as stored.
func (f *fixture) tensor(dtype weights.DType, shape ...int) (*weights.Tensor, []float64) {
	t := &weights.Tensor{Name: "random", DType: dtype, Shape: shape}
	values := f.normal(t.Len())
	if dtype == weights.I8 {
		integers, scales, err := weights.Group(weights.FromFloats("random", values, shape...))
		f.must(err)
		t.Data, t.Scales = integers.Data, scales.Data
	} else {
		t.Data = encode(dtype, values)
	}
	t.Decode(values, 0)
	return t, wide(values)
}

// unaligned returns the same tensor with its data at an odd address.
func unaligned(t *weights.Tensor) *weights.Tensor {
	data := append([]byte{0}, t.Data...)
	return &weights.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Data: data[1:]}
}

func encode(dtype weights.DType, values []float32) []byte {
	var data []byte
	for _, v := range values {
		bits := math.Float32bits(v)
		switch dtype {
		case weights.F16:
			data = binary.LittleEndian.AppendUint16(data, weights.F32ToF16(v))
		case weights.BF16:
			data = binary.LittleEndian.AppendUint16(data, uint16(bits>>16))
		case weights.F64:
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(float64(v)))
		default:
			data = binary.LittleEndian.AppendUint32(data, bits)
		}
	}
	return data
}

func (f *fixture) keep(made kern.Object, err error) {
	f.t.Helper()
	f.must(err)
	f.made = append(f.made, made)
}

// matrix uploads a random weight [n, k] as stored and returns its values.
func (f *fixture) matrix(dtype weights.DType, n, k int) (kern.Matrix, []float64) {
	f.t.Helper()
	return f.weight(weightKind{dtype, kern.Stored}, n, k)
}

func (f *fixture) weight(kind weightKind, n, k int) (kern.Matrix, []float64) {
	f.t.Helper()
	t, values := f.tensor(kind.dtype, n, k)
	return f.matrixOf(kind.precision, t), f.held(kind.precision, t, values)
}

func (f *fixture) matrixOf(p kern.Precision, parts ...*weights.Tensor) kern.Matrix {
	f.t.Helper()
	m, err := f.kern.Matrix(p, parts...)
	f.keep(m, err)
	return m
}

func (f *fixture) table(kind weightKind, rows, width int) (kern.Matrix, []float64) {
	f.t.Helper()
	t, values := f.tensor(kind.dtype, rows, width)
	m, err := f.kern.Table(kind.precision, t)
	f.keep(m, err)
	return m, f.held(kind.precision, t, values)
}

// held is the values of a tensor [rows, K] as a backend holds them in a precision.
func (f *fixture) held(p kern.Precision, t *weights.Tensor, values []float64) []float64 {
	f.t.Helper()
	rows, cols := t.Floats(), t.Shape[1]
	switch p {
	case kern.F16:
		for i, v := range rows {
			values[i] = float64(weights.F16.Round(v))
		}
	case kern.Q8, kern.Q4:
		q, err := weights.Quantize(rows, cols, p.Bits())
		f.must(err)
		row := make([]float32, cols)
		for r := range q.Rows {
			q.Dequantize(row, r)
			copy(values[r*cols:], wide(row))
		}
	}
	return values
}

func (f *fixture) filter(transposed bool, shape ...int) (kern.Filter, []float64) {
	f.t.Helper()
	t, values := f.tensor(weights.F32, shape...)
	w, err := f.kern.Filter(t, transposed)
	f.keep(w, err)
	return w, values
}

func (f *fixture) cache(shape kern.CacheShape) kern.Cache {
	f.t.Helper()
	return f.cacheOf(kern.F32, shape)
}

// vector uploads n random numbers as a parameter.
func (f *fixture) vector(n int) (kern.Slice, []float64) {
	f.t.Helper()
	t, values := f.tensor(weights.F32, n)
	b, err := f.kern.Vector(t)
	f.keep(b, err)
	return kern.All(b), values
}

// window is a fresh guarded buffer of n floats or ints.
func (f *fixture) window(n int, floats bool) kern.Slice {
	f.t.Helper()
	total := n + 2*f.margin
	var b kern.Buffer
	var err error
	if floats {
		b, err = f.kern.Floats(total)
		f.keep(b, err)
		f.stream.Upload(kern.All(b), repeat(floatGuard, total))
	} else {
		b, err = f.kern.Ints(total)
		f.keep(b, err)
		f.stream.UploadInts(kern.All(b), repeat(intGuard, total))
	}
	return kern.All(b).At(f.margin, n)
}

func (f *fixture) floats(values []float32) kern.Slice {
	f.t.Helper()
	w := f.window(len(values), true)
	f.stream.Upload(w, values)
	return w
}

func (f *fixture) ints(values []int32) kern.Slice {
	f.t.Helper()
	w := f.window(len(values), false)
	f.stream.UploadInts(w, values)
	return w
}

// room is where a result of n floats goes. It begins as NaN: what an op does not write fails the comparison.
func (f *fixture) room(n int) kern.Slice {
	f.t.Helper()
	return f.guarded(f.floats(repeat(float32(math.NaN()), n)))
}

func (f *fixture) intRoom(n int) kern.Slice {
	f.t.Helper()
	return f.guarded(f.ints(repeat(int32(-1), n)))
}

// guarded marks a window whose surroundings must not change.
func (f *fixture) guarded(w kern.Slice) kern.Slice {
	f.rooms = append(f.rooms, w)
	return w
}

func (f *fixture) checkGuards() {
	f.t.Helper()
	for _, w := range f.rooms {
		for _, side := range []kern.Slice{w.At(-f.margin, f.margin), w.At(w.N, f.margin)} {
			floats, ints := make([]float32, f.margin), make([]int32, f.margin)
			if f.stream.Download(floats, side) != nil { // not floats, then
				f.must(f.stream.Reset())
				f.must(f.stream.DownloadInts(ints, side))
			}
			for i := range f.margin {
				if floats[i] != floatGuard && ints[i] != intGuard {
					f.t.Errorf("wrote beside the result: element %d of window %d, +%d", side.Off+i, w.Off, w.N)
				}
			}
		}
	}
}

func (f *fixture) read(w kern.Slice) []float32 {
	f.t.Helper()
	out := make([]float32, w.N)
	f.must(f.stream.Download(out, w))
	return out
}

func (f *fixture) readInts(w kern.Slice) []int32 {
	f.t.Helper()
	out := make([]int32, w.N)
	f.must(f.stream.DownloadInts(out, w))
	return out
}

// bits are all results of a call, for exact comparison.
func (f *fixture) bits(c call) []uint32 {
	f.t.Helper()
	var out []uint32
	for _, r := range c.results {
		if r.ints != nil {
			for _, v := range f.readInts(r.window) {
				out = append(out, uint32(v))
			}
			continue
		}
		out = append(out, floatBits(f.read(r.window))...)
	}
	return out
}

func floatBits(values []float32) []uint32 {
	out := make([]uint32, len(values))
	for i, v := range values {
		out[i] = math.Float32bits(v)
	}
	return out
}

func wide(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}
