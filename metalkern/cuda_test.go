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
