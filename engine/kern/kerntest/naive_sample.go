package kerntest

// Sample from its definition in kern/ops.go.

import (
	"math"
	"sort"

	"segue/engine/kern"
)

// naiveProbs is the distribution of one cell after all filters, and its filtered logits (-Inf where dropped). c and u
// are the logits of the two branches; u is not read with guidance 1.
func naiveProbs(a kern.Sample, c, u []float64) (probs, logits []float64) {
	logits = make([]float64, a.Entries)
	order := make([]int, a.Entries)
	for e := range logits {
		logits[e] = c[e]
		if a.Guidance != 1 {
			logits[e] = u[e] + float64(a.Guidance)*(c[e]-u[e])
		}
		logits[e] /= float64(a.Temperature)
		order[e] = e
	}
	sort.SliceStable(order, func(i, j int) bool { return logits[order[i]] > logits[order[j]] })
	if a.TopK > 0 && a.TopK < a.Entries {
		order = order[:a.TopK]
	}
	probs = naiveSoftmax(logits, order)
	if a.TopP < 1 {
		reached := 0.0
		for n, e := range order {
			if reached += probs[e]; reached >= float64(a.TopP) {
				order = order[:n+1]
				break
			}
		}
		probs = naiveSoftmax(logits, order)
	}
	for e, p := range probs {
		if p == 0 {
			logits[e] = math.Inf(-1)
		}
	}
	return probs, logits
}

// naiveSoftmax is the distribution over the kept entries; the others get zero.
func naiveSoftmax(logits []float64, kept []int) []float64 {
	out := make([]float64, len(logits))
	top, sum := logits[kept[0]], 0.0
	for _, e := range kept {
		sum += math.Exp(logits[e] - top)
	}
	for _, e := range kept {
		out[e] = math.Exp(logits[e]-top) / sum
	}
	return out
}

// naiveDraw is the code that a free cell receives.
func naiveDraw(a kern.Sample, logits []float64, seed uint64, q int) int32 {
	best, most := 0, math.Inf(-1)
	for e, l := range logits {
		if !a.Greedy {
			l -= math.Log(-math.Log(float64(kern.Uniform(seed, a.Column, q, e))))
		}
		if l > most {
			best, most = e, l
		}
	}
	return int32(best)
}

// naiveSample returns codes after the call, and all distributions.
func naiveSample(a kern.Sample, codes []int32, logits []float64, seeds []int32) ([]int32, []float64) {
	codes = append([]int32(nil), codes...)
	var probs []float64
	for v := range a.Variations {
		row := 0
		if a.Group > 1 {
			row = v
		}
		seed := uint64(uint32(seeds[2*v+1]))<<32 | uint64(uint32(seeds[2*v]))
		for q := range a.Q {
			c := logits[(row*a.Q+q)*a.Entries:][:a.Entries]
			var u []float64
			if a.Guidance != 1 {
				u = logits[((a.Group+row)*a.Q+q)*a.Entries:][:a.Entries]
			}
			p, filtered := naiveProbs(a, c, u)
			probs = append(probs, p...)
			code := &codes[(v*a.Q+q)*a.Stride+a.Column]
			switch frame := a.Column - 1 - a.Delays[q]; {
			case frame < 0 || frame >= a.Frames:
				*code = int32(a.Entries)
			case frame >= a.PromptFrames:
				*code = naiveDraw(a, filtered, seed, q)
			}
		}
	}
	return codes, probs
}
