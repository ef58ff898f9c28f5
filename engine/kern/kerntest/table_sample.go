package kerntest

// Rows of Sample. Logits are multiples of 1/8 in a narrow range: guidance and temperature are exact in float32, and many
// entries tie, so that the rules for ties decide.

import (
	"fmt"

	"segue/engine/kern"
)

func sampleRows() []row {
	base := kern.Sample{Q: 4, Entries: 65, Stride: 16, Variations: 3, Group: 3, Column: 7, Frames: 12,
		Guidance: 3, Temperature: 1, TopP: 1, Delays: []int{0, 1, 2, 3}}
	with := func(change func(*kern.Sample)) kern.Sample {
		a := base
		change(&a)
		return a
	}
	var rows []row
	for i, a := range []kern.Sample{
		base,
		with(func(a *kern.Sample) { a.Guidance = 1 }),
		with(func(a *kern.Sample) { a.Group = 1 }),
		with(func(a *kern.Sample) { a.Group, a.Guidance, a.TopK = 1, 1, 5 }),
		with(func(a *kern.Sample) { a.TopK = 1 }),
		with(func(a *kern.Sample) { a.TopK, a.Temperature = 7, 0.5 }),
		with(func(a *kern.Sample) { a.TopK = 1000 }),
		with(func(a *kern.Sample) { a.TopP = 0.6 }),
		with(func(a *kern.Sample) { a.TopP = 1e-6 }),
		with(func(a *kern.Sample) { a.TopK, a.TopP, a.Temperature = 20, 0.8, 2 }),
		with(func(a *kern.Sample) { a.Greedy = true }),
		with(func(a *kern.Sample) { a.Greedy, a.Guidance, a.TopK = true, 0, 3 }),
		with(func(a *kern.Sample) { a.Column = 2 }),                      // codebooks 2 and 3 have not begun
		with(func(a *kern.Sample) { a.Column = 0 }),                      // none has
		with(func(a *kern.Sample) { a.Column = 15 }),                     // only the last is not over
		with(func(a *kern.Sample) { a.PromptFrames, a.Column = 5, 7 }),   // codebooks 2 and 3 are in the prompt
		with(func(a *kern.Sample) { a.PromptFrames, a.Column = 12, 12 }), // the prompt is all there is
		with(func(a *kern.Sample) { a.Q, a.Entries, a.Delays, a.Frames = 1, 1, []int{0}, 7 }),
		with(func(a *kern.Sample) { a.Q, a.Entries, a.Delays, a.TopK = 8, 2048, []int{0, 0, 1, 1, 2, 2, 3, 3}, 250 }),
		with(func(a *kern.Sample) { a.Entries, a.TopK, a.Temperature = 2048, 3, 100 }), // nearly all draws are of none of the three
	} {
		rows = append(rows, sampleRow(fmt.Sprintf("sample/%02d", i), a, true), sampleRow(fmt.Sprintf("sample/%02d/codes", i), a, false))
	}
	return rows
}

// sampleRow wants probabilities, too, or codes alone, as a step does.
func sampleRow(name string, a kern.Sample, probs bool) row {
	return row{name: name, build: func(f *fixture) call {
		a := a
		branches := 1
		if a.Guidance != 1 {
			branches = 2
		}
		cells := a.Variations * a.Q
		logits := f.eighths(branches * a.Group * a.Q * a.Entries)
		codes := f.below(cells*a.Stride, a.Entries)
		seeds := f.seeds(a.Variations)
		a.Logits, a.Codes, a.Seeds = f.floats(logits), f.guarded(f.ints(codes)), f.ints(seeds)
		wantCodes, wantProbs := naiveSample(a, codes, wide(logits), seeds)
		results := []result{{window: a.Codes, ints: func() []int32 { return wantCodes }}}
		if probs {
			a.Probs = f.room(cells * a.Entries)
			results = append(results, result{window: a.Probs, floats: func() []float64 { return wantProbs }})
		}
		return call{record: func(s kern.Stream) { s.Sample(a) }, results: results}
	}}
}

// eighths are multiples of 1/8 from -3 to 3.
func (f *fixture) eighths(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(f.random.IntN(49)-24) / 8
	}
	return out
}

// seeds are n pairs of low and high halves.
func (f *fixture) seeds(n int) []int32 {
	out := make([]int32, 2*n)
	for i := range out {
		out[i] = int32(f.random.Uint32())
	}
	return out
}
