//go:build linux && (amd64 || arm64)

package metalkern

import (
	"os"
	"testing"

	"segue/engine/kern/kerntest"
	"segue/metalkern/kernels"
	"segue/metalkern/kernels/translate"
	"segue/metalkern/mtltest"
)

// TestUnits holds to the table what kernels multiply with on NVIDIA's matrix units (cuda/ptx/mtl_units.h), on the processor: all
// of CUDA's own text but the instructions that it is written with.
func TestUnits(t *testing.T) {
	kerntest.Run(t, openUnits(t))
}

// TestUnitsVariants: all of CUDA's kernels for an op give the same bits. They have all threads that they ask for: there no kernel
// is allowed fewer.
func TestUnitsVariants(t *testing.T) { compareCores(t, openUnits(t)) }

func openUnits(t *testing.T) *backend {
	mtltest.Load(t)
	mtltest.Record("") // they would be compiled anew for the sanitizers, which see Metal's text
	t.Cleanup(func() { mtltest.Record(os.Getenv(mtltest.RecordVariable)) })
	k, err := New(mtltest.Open(t, func(name string) (string, error) {
		text, err := kernels.Source(name)
		return translate.Units + text, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k.(*backend)
}
