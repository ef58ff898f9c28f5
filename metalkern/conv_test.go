//go:build linux && (amd64 || arm64)

package metalkern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/engine/kern"
	"segue/metalkern/mtltest"
	"segue/weights"
)

// TestConvTiles: every tile gives the same bits. A device that allows few threads takes the small ones, a window that is
// not aligned the odd one.
func TestConvTiles(t *testing.T) {
	for _, outputs := range []int{68, 24} { // wide and narrow
		var want []float32
		for _, threads := range []int{1024, 64, 32} {
			for _, offset := range []int{0, 1} {
				got := convTiles(t, threads, outputs, offset)
				if want == nil {
					want = got
				}
				if !slices.Equal(got, want) {
					t.Errorf("%d outputs, %d threads, window at %d: other results than with 1024 at 0", outputs, threads, offset)
				}
			}
		}
	}
}

// convTiles runs a convolution and a transposed one on a device of so many threads.
func convTiles(t *testing.T, threads, outputs, offset int) (got []float32) {
	t.Run(fmt.Sprintf("%d/%d/%d", outputs, threads, offset), func(t *testing.T) {
		const frames, inputs, taps, stride = 70, 12, 6, 2
		random := rand.New(rand.NewPCG(1, uint64(outputs)))
		normal := func(n int) []float32 {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(random.NormFloat64())
			}
			return values
		}
		mtltest.Load(t)
		mtltest.Threads(threads)
		defer mtltest.Threads(1024)
		k := open(t)
		s, err := k.Stream()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		floats := func(values []float32) kern.Slice {
			b, err := k.Floats(len(values) + offset)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Free)
			w := kern.All(b).At(offset, len(values))
			s.Upload(w, values)
			return w
		}
		filter := func(transposed bool, shape ...int) kern.Filter {
			f, err := k.Filter(weights.FromFloats("random", normal(shape[0]*shape[1]*shape[2]), shape...), transposed)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(f.Free)
			return f
		}
		c := kern.Conv{
			X: floats(normal(frames * inputs)), W: filter(false, outputs, inputs, taps), Bias: floats(normal(outputs)),
			T: frames, Stride: 1, Dilation: 3, Left: 9, Right: 6, Pad: kern.PadReflect, ELU: true,
		}
		c.Residual = floats(normal(c.OutT() * outputs))
		c.Dst = floats(make([]float32, c.OutT()*outputs))
		s.Conv(c)
		u := kern.ConvTranspose{
			X: c.X, W: filter(true, inputs, outputs/2, taps), Bias: c.Bias, T: frames, Stride: stride, TrimLeft: 3, TrimRight: 1, ELU: true,
		}
		u.Dst = floats(make([]float32, u.OutT()*outputs/2))
		s.ConvTranspose(u)
		for _, w := range []kern.Slice{c.Dst, u.Dst} {
			part := make([]float32, w.N)
			if err := s.Download(part, w); err != nil {
				t.Fatal(err)
			}
			got = append(got, part...)
		}
	})
	return got
}
