//go:build linux && (amd64 || arm64)

package metalkern

import (
	"strings"
	"testing"

	"segue/engine/kern"
	"segue/engine/kern/kerntest"
	"segue/metalkern/kernels"
	"segue/metalkern/mtltest"
	"segue/weights"
)

// open makes a backend on the stand-in for Metal, closed when the test ends.
func open(t testing.TB) kern.Backend {
	t.Helper()
	k, err := New(mtltest.Open(t, kernels.Source))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// TestContract holds the backend, its kernels and the Metal driver to the table, on the stand-in.
func TestContract(t *testing.T) {
	kerntest.Run(t, open(t))
}

// TestLongRows: rows within which kernels could not count are refused before they are read or have memory.
func TestLongRows(t *testing.T) {
	k := open(t)
	before := k.Allocated()
	long := weights.Derive("long", func() []float32 { panic("read") }, 1, 2*mostRowBytes+2)
	if _, err := k.Matrix(kern.Q4, long); err == nil || !strings.Contains(err.Error(), "rows of 268435456 bytes, want at most 268435455") {
		t.Errorf("got %v", err)
	}
	if after := k.Allocated(); after != before {
		t.Errorf("got %d bytes allocated, want %d", after, before)
	}
}
