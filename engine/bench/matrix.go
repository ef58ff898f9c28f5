package bench

import (
	"fmt"

	"segue/engine/kern"
	"segue/engine/musicgen"
)

// Matrix is what is varied; all combinations are measured.
type Matrix struct {
	Quantizations []kern.Precision // of the decoder's linears
	KVCaches      []kern.Precision
	Threads       []int // 0: the device's own choice
	Guidance      []float64
	Variations    []int
}

// maxVariations is as many as a request may ask for.
const maxVariations = 16

func (m *Matrix) validate() error {
	for _, v := range []struct {
		name string
		n    int
	}{
		{"quantization", len(m.Quantizations)}, {"kv-cache", len(m.KVCaches)}, {"threads", len(m.Threads)},
		{"guidance", len(m.Guidance)}, {"variations", len(m.Variations)},
	} {
		if v.n == 0 {
			return fmt.Errorf("bench: %s: got an empty list, want at least one", v.name)
		}
	}
	for _, p := range m.KVCaches {
		if p != kern.F32 && p != kern.F16 && p != kern.Q8 {
			return fmt.Errorf("bench: kv-cache: got %s, want f32, f16 or q8", p)
		}
	}
	for _, n := range m.Threads {
		if n < 0 || n > 1024 {
			return fmt.Errorf("bench: threads: got %d, want 0 to 1024", n)
		}
	}
	for _, g := range m.Guidance {
		if !(g >= 0 && g <= 100) {
			return fmt.Errorf("bench: guidance: got %g, want 0 to 100", g)
		}
	}
	for _, n := range m.Variations {
		if n < 1 || n > maxVariations {
			return fmt.Errorf("bench: variations: got %d, want 1 to %d", n, maxVariations)
		}
	}
	return nil
}

// size counts the combinations.
func (m *Matrix) size() int {
	return len(m.Quantizations) * len(m.KVCaches) * len(m.Threads) * len(m.Guidance) * len(m.Variations)
}

// precisionPair is what a model has to be loaded anew for.
type precisionPair struct{ linears, cache kern.Precision }

func (p precisionPair) String() string { return fmt.Sprintf("%s, %s cache", p.linears, p.cache) }

// precisions: all but the decoder's linears and cache are those of a request that names none.
func (p precisionPair) precisions() musicgen.Precisions {
	all := musicgen.Auto
	all.Decoder.Linears, all.Decoder.Cache = p.linears, p.cache
	return all
}

func (m *Matrix) pairs() (list []precisionPair) {
	for _, linears := range m.Quantizations {
		for _, cache := range m.KVCaches {
			list = append(list, precisionPair{linears, cache})
		}
	}
	return list
}
