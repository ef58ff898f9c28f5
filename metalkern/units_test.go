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
func TestUnits(t *testing.T) { kerntest.Run(t, openUnits(t, translate.Units)) }

// TestWarpgroups: the same where simdgroups multiply by fours (mtl_warpgroup.h), which linears of many rows do.
func TestWarpgroups(t *testing.T) { kerntest.RunLinear(t, openUnits(t, translate.Warpgroups)) }

// TestUnitsVariants: all of CUDA's kernels for an op give the same bits. They have all threads that they ask for: there no kernel
// is allowed fewer.
func TestUnitsVariants(t *testing.T) {
	compareCores(t, openUnits(t, translate.Units))
	compareCores(t, openUnits(t, translate.Warpgroups))
}

func openUnits(t *testing.T, units string) *backend {
	mtltest.Load(t)
	mtltest.Record("") // they would be compiled anew for the sanitizers, which see Metal's text
	t.Cleanup(func() { mtltest.Record(os.Getenv(mtltest.RecordVariable)) })
	opened, err := New(mtltest.Open(t, func(name string) (string, error) {
		text, err := kernels.Source(name)
		return units + text, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	k := opened.(*backend)
	k.info.Warpgroups = units == translate.Warpgroups
	return k
}
