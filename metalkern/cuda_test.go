package metalkern

import (
	"errors"
	"os"
	"strings"
	"testing"

	"segue/engine/kern"
	"segue/engine/kern/kerntest"
)

// openCUDA makes a backend on this machine's NVIDIA GPU, closed when the test ends. Without a GPU the test is skipped, unless
// SEGUE_REQUIRE names cuda.
func openCUDA(t testing.TB) kern.Backend {
	t.Helper()
	k, err := Open(Options{Device: "cuda"})
	if errors.Is(err, kern.ErrUnavailable) && !strings.Contains(os.Getenv("SEGUE_REQUIRE"), "cuda") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := k.Allocated(); n != 0 {
			t.Errorf("%d bytes of device memory are still held", n)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// TestCUDA holds the backend, its kernels and the CUDA driver to the table.
func TestCUDA(t *testing.T) { kerntest.Run(t, openCUDA(t)) }

// keptShelf has what was put there.
type keptShelf struct{ heapShelf }

func (s keptShelf) Take(name string, size int) []byte {
	if data := s.kept[name]; len(data) == size {
		return data
	}
	return nil
}

// TestCUDAShelved: what comes from a shelf is what was packed, and on a device with memory of its own a copy of it.
func TestCUDAShelved(t *testing.T) {
	k := openCUDA(t).(*backend)
	want := made(t, k)
	shelf := keptShelf{heapShelf{kept: map[string][]byte{}}}
	first := made(t, k.Shelve(shelf))
	kept := len(shelf.kept)
	again := made(t, k.Shelve(shelf))
	compareHeld(t, "first", k, first, want)
	compareHeld(t, "again", k, again, want)
	if k.InPlace() || kept == 0 || len(shelf.kept) != kept || len(k.views) != 0 {
		t.Errorf("in place %v, kept %d, then %d, %d views", k.InPlace(), kept, len(shelf.kept), len(k.views))
	}
	for _, objects := range [][]kern.Object{want, first, again} {
		kern.Free(objects)
	}
}

// TestCUDATune: every kernel of a linear gives the same bits on the device, too.
func TestCUDATune(t *testing.T) {
	k := openCUDA(t).(*backend)
	for _, shape := range StepLinears(1024) {
		for p := kern.F32; p <= kern.Q4; p++ {
			err := k.TuneLinear(shape, p, []int{1, 2, 8, 16}, TuneEffort{Bytes: 32 << 20, Runs: 16}, func(f LinearTuning) bool {
				if len(f.Wrong) > 0 {
					t.Errorf("%s, %v, %d rows: %v give other bits", shape.Name, p, f.Rows, f.Wrong)
				}
				t.Logf("%s, %v, %d rows: %v takes %v, %v %v", shape.Name, p, f.Rows, f.Chosen, f.Chosen.One, f.Best, f.Best.One)
				return true
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCUDATiles: so does every tile.
func TestCUDATiles(t *testing.T) {
	k := openCUDA(t).(*backend)
	for p := kern.F32; p <= kern.Q4; p++ {
		for _, shape := range []LinearShape{{Outputs: 157, Inputs: 612, Norm: true, Act: kern.GELU}, {Outputs: 64, Inputs: 4096, Residual: true}, {Outputs: 203, Inputs: 1056}} {
			compareTiles(t, k, p, shape)
		}
	}
}

func compareTiles(t *testing.T, k *backend, p kern.Precision, shape LinearShape) {
	tuner, err := newTuner(k, shape, p, TuneEffort{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := tuner.linear(shape, 171)
	if err != nil {
		t.Fatal(err)
	}
	a.W = tuner.copies[0]
	o, ok := tuner.linearOperands(&a)
	if !ok {
		t.Fatal(tuner.err)
	}
	var want []float32
	all := tuner.stream.tiles(p)
	for i := range all {
		got, o := make([]float32, a.Dst.N), o
		tuner.tile(&o, &all[i])
		if err := tuner.Download(got, a.Dst); err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		} else if !sameBits(got, want) {
			t.Errorf("%v, %d outputs of %d inputs: %s gives other bits", p, shape.Outputs, shape.Inputs, all[i].kernel.kernel)
		}
	}
	if err := tuner.close(); err != nil {
		t.Error(err)
	}
}

func TestCUDAReadProbe(t *testing.T) {
	read, release, err := openCUDA(t).(*backend).ReadProbe()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for range 3 {
		if speed := read(); speed < 1e10 {
			t.Errorf("got %g bytes per second", speed)
		} else {
			t.Logf("%.0f GB/s", speed/1e9)
		}
	}
}

func BenchmarkCUDA(b *testing.B) { kerntest.BenchBatches(b, openCUDA(b), 32) }
