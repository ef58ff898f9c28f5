//go:build linux && (amd64 || arm64)

package metalkern

import (
	"testing"

	"segue/engine/kern"
	"segue/engine/kern/kerntest"
	"segue/metalkern/kernels"
	"segue/metalkern/mtltest"
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
