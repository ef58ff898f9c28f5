package verify_test

import (
	"context"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/verify"
)

// Every golden folder passes. The folders without results of their own are compared with those that their weights came from.
func TestGoldens(t *testing.T) {
	const goldens = "../../testdata/goldens/"
	for _, test := range []struct{ folder, base, golden string }{
		{"../../weights/bundled", "", "bundled"},
		{"mono", "", "mono"},
		{"stereo", "", "stereo"},
		{"stereo-sharded", "", "stereo"},
		{"melody", "", "melody"},
		{"mono-audiocraft", "mono", "mono"},
		{"stereo-audiocraft", "stereo", "stereo"},
	} {
		t.Run(test.folder, func(t *testing.T) {
			base := test.base
			if base != "" {
				base = goldens + base
			}
			golden, err := verify.OpenGolden(goldens + test.golden + "/golden.safetensors")
			if err != nil {
				t.Fatal(err)
			}
			defer golden.Close()
			backend, err := cpukern.Open(cpukern.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer backend.Close()
			rows, err := verify.Run(context.Background(), backend, goldens+test.folder, base, golden)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) < 17 {
				t.Errorf("got %d comparisons, want all of them", len(rows))
			}
			for _, r := range rows {
				if !r.Pass {
					t.Errorf("%s: error %g, want at most %g (%s)", r.Name, r.MaxAbs, r.Tolerance, r.Note)
				}
			}
			if held := backend.Allocated(); held != 0 {
				t.Errorf("%d bytes are still held", held)
			}
		})
	}
}
