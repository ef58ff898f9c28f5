package cpukern

import (
	"runtime"
	"testing"
	"time"

	"segue/engine/kern"
)

// What an op has read and written goes with its buffers, and does not wait for the next such op.
func TestSubmitForgetsOperands(t *testing.T) {
	k, err := Open(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	s, err := k.Stream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const rows, width = 256, 1024
	gone := make(chan bool, 2)
	floats := func(n int) kern.Slice {
		made, err := k.Floats(n)
		if err != nil {
			t.Fatal(err)
		}
		return kern.All(made)
	}
	func() {
		x, dst := floats(rows*width), floats(rows*width)
		norm := kern.NormWeights{Kind: kern.LayerNorm, Weight: floats(width), Bias: floats(width), Epsilon: 1e-5}
		for _, b := range []kern.Slice{x, dst} {
			runtime.AddCleanup(&b.Buffer.(*buffer).floats[0], func(bool) { gone <- true }, true)
		}
		s.Norm(kern.Norm{Dst: dst, X: x, Rows: rows, Norm: norm})
		if err := kern.Finish(s); err != nil {
			t.Fatal(err)
		}
		for _, b := range []kern.Slice{x, dst, norm.Weight, norm.Bias} {
			b.Buffer.Free()
		}
	}()
	for range 2 {
		runtime.GC()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatal("freed memory is still held")
		}
	}
}
