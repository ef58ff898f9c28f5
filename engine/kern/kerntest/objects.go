package kerntest

// What a backend makes: sizes, accounting, and refusal of tensors that do not hold what they say.

import (
	"math"
	"sync"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

func testObjects(t *testing.T, k kern.Backend) {
	before := k.Allocated()
	f := newFixture(t, k, "objects")
	weighed := int64(0)
	for _, kind := range weightKinds {
		m, _ := f.weight(kind, 33, 17)
		e, _ := f.table(kind, 33, 17)
		for _, m := range []kern.Matrix{m, e} {
			if m.Rows() != 33 || m.Cols() != 17 || m.Bytes() <= 0 {
				t.Errorf("%s: got [%d, %d] of %d bytes, want [33, 17]", kind, m.Rows(), m.Cols(), m.Bytes())
			}
			weighed += m.Bytes()
		}
	}
	w, _ := f.filter(true, 3, 5, 7)
	if w.In() != 3 || w.Out() != 5 || w.Kernel() != 7 || !w.Transposed() {
		t.Errorf("got filter %d → %d of %d taps, want 3 → 5 of 7", w.In(), w.Out(), w.Kernel())
	}
	shape := kern.CacheShape{Layers: 2, Rows: 3, Columns: 5, Heads: 2, HeadDim: 4}
	if c := f.cache(shape); c.Shape() != shape || c.Bytes() <= 0 {
		t.Errorf("got cache %+v of %d bytes, want %+v", c.Shape(), c.Bytes(), shape)
	}
	zeroed, err := k.Floats(99)
	f.keep(zeroed, err)
	for i, v := range f.read(kern.All(zeroed)) {
		if v != 0 {
			t.Errorf("element %d of a new buffer is %v, want 0", i, v)
		}
	}
	if held := k.Allocated() - before; held < weighed+4*99 {
		t.Errorf("got %d bytes allocated, want the objects' at least", held)
	}
	f.close()
	kern.Free(f.made) // twice is harmless
	if after, freed := k.Allocated(), freedBytes(k); after != before || freed != 0 {
		t.Errorf("got %d bytes allocated after everything was freed, %d of freed objects, want %d, 0", after, freed, before)
	}
	refuseTensors(t, k)
	if after := k.Allocated(); after != before {
		t.Errorf("got %d bytes allocated after refusals, want %d", after, before)
	}
}

func freedBytes(k kern.Backend) int64 {
	bytes, _ := k.Freed()
	return bytes
}

func refuseTensors(t *testing.T, k kern.Backend) {
	good := weights.FromFloats("good", make([]float32, 12), 3, 4)
	bad := map[string]*weights.Tensor{
		"nil":           nil,
		"short data":    {Name: "bad", Shape: []int{3, 4}, Data: make([]byte, 47)},
		"long data":     {Name: "bad", Shape: []int{3, 4}, Data: make([]byte, 49)},
		"no rows":       {Name: "bad", Shape: []int{0, 4}},
		"negative":      {Name: "bad", Shape: []int{-3, -4}, Data: make([]byte, 48)},
		"huge":          {Name: "bad", Shape: []int{1 << 40, 1 << 40}, Data: make([]byte, 48)},
		"one dimension": weights.FromFloats("bad", make([]float32, 12), 12),
	}
	for name, tensor := range bad {
		if _, err := k.Matrix(kern.Stored, tensor); err == nil {
			t.Errorf("Matrix took a tensor: %s", name)
		}
		if _, err := k.Table(kern.Stored, tensor); err == nil {
			t.Errorf("Table took a tensor: %s", name)
		}
		if _, err := k.Filter(tensor, false); err == nil {
			t.Errorf("Filter took a tensor: %s", name)
		}
		if name == "one dimension" {
			continue // right for a vector
		}
		if _, err := k.Vector(tensor); err == nil {
			t.Errorf("Vector took a tensor: %s", name)
		}
	}
	nan := weights.FromFloats("bad", []float32{0, float32(math.NaN())}, 1, 2)
	for _, p := range []kern.Precision{kern.Q8, kern.Q4, kern.Q4 + 1} {
		if _, err := k.Matrix(p, nan); err == nil {
			t.Errorf("Matrix took a number that is none in precision %d", p)
		}
		if _, err := k.Table(p, nan); err == nil {
			t.Errorf("Table took a number that is none in precision %d", p)
		}
	}
	_, none := k.Matrix(kern.Stored)
	_, ragged := k.Matrix(kern.Stored, good, weights.FromFloats("ragged", make([]float32, 15), 3, 5))
	_, negative := k.Floats(-1)
	_, huge := k.Ints(1 << 60)
	_, cache := k.Cache(kern.F32, kern.CacheShape{Layers: 1 << 20, Rows: 1 << 20, Columns: 1 << 20, Heads: 1 << 20, HeadDim: 1 << 20})
	for i, err := range []error{none, ragged, negative, huge, cache} {
		if err == nil {
			t.Errorf("impossible object %d was made", i)
		}
	}
}

// testStreams: goroutines with a stream each do not disturb one another.
func testStreams(t *testing.T, k kern.Backend) {
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			f := newFixture(t, k, "streams")
			defer f.close()
			c := linearRow(linearShape{13, 65, 65}, weightKind{weights.F16, kern.Stored}, 3).build(f) // not in place
			for range 20 {
				c.record(f.stream)
				f.compare("among other streams", c.results[0], 0)
			}
		})
	}
	group.Wait()
}
