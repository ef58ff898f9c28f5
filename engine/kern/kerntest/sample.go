package kerntest

// What a row of the table cannot show of Sample: its distribution, and that a draw depends on seed and place alone.

import (
	"math"
	"slices"
	"testing"

	"segue/engine/kern"
)

func testSample(t *testing.T, k kern.Backend) {
	t.Run("distribution", func(t *testing.T) { testDistribution(t, k) })
	t.Run("alone", func(t *testing.T) { testSampleAlone(t, k) })
	t.Run("ties", func(t *testing.T) { testSampleTies(t, k) })
	t.Run("probabilities", func(t *testing.T) { testProbabilities(t, k) })
	t.Run("odd logits", func(t *testing.T) { testOddLogits(t, k) })
}

// testDistribution draws from known probabilities with many seeds. χ² with 5 degrees of freedom stays below 25 but for
// one set of seeds in 7000, and the seeds are fixed.
func testDistribution(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "distribution")
	defer f.close()
	const draws = 6000
	a := kern.Sample{Q: 1, Entries: 8, Stride: 4, Variations: draws, Group: 1, Column: 2, Frames: 4,
		Guidance: 2, Temperature: 0.75, TopK: 6, TopP: 1, Delays: []int{0}}
	logits := []float32{0.5, -1, 2, 0.25, 1, -3, 0, 1.5, 0, -0.5, 1, 0.75, 0.5, -2.5, -1, 1}
	seeds := make([]int32, 2*draws)
	for v := range draws {
		seeds[2*v] = int32(v) // neighbouring seeds, as variations have
	}
	a.Logits, a.Seeds, a.Codes = f.floats(logits), f.ints(seeds), f.ints(make([]int32, draws*a.Stride))
	f.stream.Sample(a)
	counts := make([]float64, a.Entries)
	codes := f.readInts(a.Codes)
	for v := range draws {
		counts[codes[v*a.Stride+a.Column]]++
	}
	probs, _ := naiveProbs(a, wide(logits[:8]), wide(logits[8:]))
	chi := 0.0
	for e, p := range probs {
		if p == 0 && counts[e] > 0 {
			t.Errorf("entry %d was drawn %v times, want never", e, counts[e])
		} else if p > 0 {
			d := counts[e] - p*draws
			chi += d * d / (p * draws)
		}
	}
	if chi > 25 {
		t.Errorf("got χ² = %.1f, want below 25: counts %v, probabilities %v", chi, counts, probs)
	}
}

// testSampleAlone: a variation draws the same codes alone and among others, whether logits are shared or not.
func testSampleAlone(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "sample alone")
	defer f.close()
	a := kern.Sample{Q: 3, Entries: 130, Stride: 9, Variations: 5, Column: 5, Frames: 9,
		Guidance: 3, Temperature: 1.1, TopK: 50, TopP: 0.9, Delays: []int{0, 1, 2}}
	one := f.normal(2 * a.Q * a.Entries)
	half := a.Q * a.Entries
	repeated := slices.Concat(slices.Repeat(one[:half], a.Variations), slices.Repeat(one[half:], a.Variations))
	seeds := f.seeds(a.Variations)
	draw := func(a kern.Sample, logits []float32, seeds []int32) []int32 {
		a.Logits, a.Seeds, a.Codes = f.floats(logits), f.ints(seeds), f.ints(make([]int32, a.Variations*a.Q*a.Stride))
		f.stream.Sample(a)
		return f.readInts(a.Codes)
	}
	a.Group = a.Variations
	apart := draw(a, repeated, seeds)
	a.Group = 1
	if shared := draw(a, one, seeds); !slices.Equal(shared, apart) {
		t.Error("shared logits give other codes than the same logits once per variation")
	}
	n := a.Q * a.Stride
	for v := range a.Variations {
		a.Variations = 1
		if alone := draw(a, one, seeds[2*v:2*v+2]); !slices.Equal(alone, apart[v*n:(v+1)*n]) {
			t.Errorf("variation %d draws other codes alone", v)
		}
	}
}

// testSampleTies: all logits equal, of either sign of zero.
func testSampleTies(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "sample ties")
	defer f.close()
	logits := make([]float32, 33)
	logits[0] = float32(math.Copysign(0, -1))
	a := kern.Sample{Q: 1, Entries: 33, Stride: 2, Variations: 1, Group: 1, Column: 1, Frames: 1,
		Guidance: 1, Temperature: 1, TopK: 4, TopP: 0.5, Delays: []int{0}, Greedy: true}
	a.Logits, a.Seeds, a.Codes = f.floats(logits), f.ints(f.seeds(1)), f.ints([]int32{-7, -7})
	a.Probs = f.room(33)
	f.stream.Sample(a)
	if got := f.readInts(a.Codes); got[1] != 0 || got[0] != -7 {
		t.Errorf("got codes %v, want the lowest index in column 1 alone", got)
	}
	want := make([]float32, 33)
	want[0], want[1] = 0.5, 0.5 // two of four reach exactly a half
	if got := f.read(a.Probs); !slices.Equal(got, want) {
		t.Errorf("got probabilities %v, want %v", got, want)
	}
}

// testProbabilities: whatever the logits, the distribution sums to one.
func testProbabilities(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "probabilities")
	defer f.close()
	a := kern.Sample{Q: 5, Entries: 300, Stride: 2, Variations: 1, Group: 1, Column: 1, Frames: 1,
		Guidance: 3, Temperature: 0.1, TopK: 250, TopP: 0.95, Delays: make([]int, 5)}
	logits := f.normal(2 * a.Q * a.Entries)
	for i := range logits {
		logits[i] *= 30 // e to this overflows unless the maximum is subtracted
	}
	a.Logits, a.Seeds, a.Codes = f.floats(logits), f.ints(f.seeds(1)), f.ints(make([]int32, 10))
	a.Probs = f.room(a.Q * a.Entries)
	f.stream.Sample(a)
	probs := wide(f.read(a.Probs))
	for q := range a.Q {
		sum := 0.0
		for _, p := range probs[q*a.Entries : (q+1)*a.Entries] {
			sum += p
		}
		if !(math.Abs(sum-1) < 1e-5) {
			t.Errorf("codebook %d: probabilities sum to %v, want 1", q, sum)
		}
	}
}

// testOddLogits: whatever a broken model says, the code is one that an embedding can be looked up for.
func testOddLogits(t *testing.T, k kern.Backend) {
	f := newFixture(t, k, "odd logits")
	defer f.close()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, logits := range [][]float32{{nan, nan, nan}, {-inf, -inf, -inf}, {nan, 1, -inf}, {inf, inf, 0}} {
		for _, greedy := range []bool{false, true} {
			a := kern.Sample{Q: 1, Entries: 3, Stride: 2, Variations: 1, Group: 1, Column: 1, Frames: 1,
				Guidance: 1, Temperature: 1, TopK: 2, TopP: 0.9, Delays: []int{0}, Greedy: greedy}
			a.Logits, a.Seeds, a.Codes = f.floats(logits), f.ints(f.seeds(1)), f.ints([]int32{-7, -7})
			f.stream.Sample(a)
			if code := f.readInts(a.Codes)[1]; code < 0 || code > 2 {
				t.Errorf("%v, greedy %v: got code %d, want 0 to 2", logits, greedy, code)
			}
		}
	}
}
