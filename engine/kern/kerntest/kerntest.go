// Package kerntest holds every backend to the contract of kern: one table of op × dtype × shape, each row compared with
// the op's formula in float64, and the promises that no single row can show.
//
//	row ── build ──► operands on the backend, call ── record ──► results ── compare ──► naive_*.go
//
// The naive implementations are written straight from the comments in kern/ops.go: when they and a backend disagree,
// read the comment. The error is the normalised mean square Σ(got-want)²/Σwant²; a row that allows more says why.
package kerntest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"segue/engine/kern"
)

// defaultTolerance bounds the normalised mean square error of float32 results.
const defaultTolerance = 1e-7

// A row is one op at one shape.
type row struct {
	name      string
	tolerance float64 // 0: the default
	build     func(f *fixture) call
}

// A call is a row set up on a backend. It can be recorded any number of times.
type call struct {
	record  func(kern.Stream)
	results []result
	bytes   int64 // that a benchmark counts: weights and caches read
}

// A result is what a call leaves in a window: floats or ints, known once asked for.
type result struct {
	window kern.Slice
	floats func() []float64
	ints   func() []int32
}

// table is every row that tests compare.
func table() []row {
	return slices.Concat(linearRows(), normRows(), embedRows(), attentionRows(), causalRows(), convRows(), transposeRows(),
		lstmRows(), rvqRows(), sampleRows(), copyRows())
}

// Run tests one backend. It leaves k open.
func Run(t *testing.T, k kern.Backend) {
	t.Run("table", func(t *testing.T) { runRows(t, k, table()) })
	t.Run("alone", func(t *testing.T) { testAlone(t, k) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, k) })
	t.Run("objects", func(t *testing.T) { testObjects(t, k) })
	t.Run("sample", func(t *testing.T) { testSample(t, k) })
	t.Run("streams", func(t *testing.T) { testStreams(t, k) })
	t.Run("steps", func(t *testing.T) { testSteps(t, k) })
}

// RunLinear tests linears alone.
func RunLinear(t *testing.T, k kern.Backend) { runRows(t, k, linearRows()) }

func runRows(t *testing.T, k kern.Backend, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { runRow(t, k, r, oddMargin) })
		t.Run(r.name+"/aligned", func(t *testing.T) { runRow(t, k, r, alignedMargin) })
	}
}

// RunThreads asks for the same bits whatever the number of threads.
func RunThreads(t *testing.T, open func(threads int) kern.Backend) {
	want := make(map[string][]uint32)
	for _, threads := range []int{1, 2, 3, 7} {
		k := open(threads)
		for _, r := range table() {
			f := newFixture(t, k, r.name)
			c := r.build(f)
			c.record(f.stream)
			got := f.bits(c)
			if want[r.name] == nil {
				want[r.name] = got
			} else if !slices.Equal(got, want[r.name]) {
				t.Errorf("%s: %d threads give other bits than one", r.name, threads)
			}
			f.close()
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
}

func runRow(t testing.TB, k kern.Backend, r row, margin int) {
	f := newFixture(t, k, r.name)
	f.margin = margin
	defer f.close()
	c := r.build(f)
	c.record(f.stream)
	for i, result := range c.results {
		f.compare(fmt.Sprintf("result %d", i), result, r.tolerance)
	}
	f.checkGuards()
	if allocs := f.allocations(c.record); allocs != 0 {
		t.Errorf("recording twice more allocates %v times, want 0", allocs)
	}
	f.wait()
}

// allocations is how often recording twice more allocates. The whole process counts, in which the runtime allocates for threads and for
// goroutines that wait, on a busy machine more; what an op allocates comes again each time.
// The first recordings may still grow scratch memory that their successors need.
func (f *fixture) allocations(record func(kern.Stream)) (n float64) {
	twice := func() { record(f.stream); record(f.stream) }
	for range 3 {
		if n = testing.AllocsPerRun(1, twice); n == 0 {
			break
		}
	}
	return n
}

func (f *fixture) compare(what string, r result, tolerance float64) {
	f.t.Helper()
	if r.ints != nil {
		if got, want := f.readInts(r.window), r.ints(); !slices.Equal(got, want) {
			f.t.Errorf("%s: got %v, want %v", what, got, want)
		}
		return
	}
	if tolerance == 0 {
		tolerance = defaultTolerance
	}
	if e := normalisedError(f.read(r.window), r.floats()); !(e <= tolerance) {
		f.t.Errorf("%s: got normalised mean square error %.3g, want at most %.3g", what, e, tolerance)
	}
}

// normalisedError is Σ(got-want)²/Σwant²; NaN where got has one.
func normalisedError(got []float32, want []float64) float64 {
	if len(got) != len(want) {
		return math.NaN()
	}
	difference, size := 0.0, 0.0
	for i, w := range want {
		d := float64(got[i]) - w
		difference += d * d
		size += w * w
	}
	if difference == 0 {
		return 0
	}
	return difference / size
}

// copyRows: what goes up comes down, from windows inside buffers.
func copyRows() []row {
	return []row{
		{name: "copy/floats", build: func(f *fixture) call {
			values := f.normal(65)
			src, dst := f.floats(values), f.room(65)
			return call{
				record:  func(s kern.Stream) { s.Copy(dst, src) },
				results: []result{{window: dst, floats: func() []float64 { return wide(values) }}},
			}
		}},
		{name: "copy/ints", build: func(f *fixture) call {
			values := f.below(33, 1000)
			src, dst := f.ints(values), f.intRoom(33)
			return call{
				record:  func(s kern.Stream) { s.Copy(dst, src) },
				results: []result{{window: dst, ints: func() []int32 { return values }}},
			}
		}},
	}
}
