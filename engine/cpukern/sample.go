package cpukern

// Sample draws one code per variation and codebook. Entries are ordered by one word each, so that "the largest, the lower
// index first" is a comparison of integers:
//
//	logits ── guidance, temperature ──► keys ── top-k ──► kept ── top-p ──► kept ── Gumbel or greedy ──► code

import (
	"math"
	"slices"

	"segue/engine/kern"
)

type sampleTask struct {
	span // over variation·Q + codebook
	kern.Sample
	private      [][]float32
	keys         [][]uint64
	codes, seeds []int32
	logits       []float32
	probs        []float32
}

func (s *stream) Sample(a kern.Sample) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	t := &s.sample
	*t = sampleTask{Sample: a}
	t.codes = s.ints("sample", "Codes", a.Codes, kern.Product(a.Variations, a.Q, a.Stride))
	t.seeds = s.ints("sample", "Seeds", a.Seeds, kern.Product(a.Variations, 2))
	t.logits = s.floats("sample", "Logits", a.Logits, kern.Product(a.Branches(), a.Group, a.Q, a.Entries))
	t.probs = s.optional("sample", "Probs", a.Probs, kern.Product(a.Variations, a.Q, a.Entries))
	s.apart("sample", "Logits", t.probs, t.logits)
	if s.err != nil {
		return
	}
	t.span = s.pool.cut(a.Variations*a.Q, 64*a.Entries)
	s.growPrivate(a.Entries)
	s.growKeys(a.Entries)
	t.private, t.keys = s.private, s.keys
	s.run(t, t.chunks())
}

func (s *stream) growKeys(n int) {
	for i := range s.keys {
		if len(s.keys[i]) < n {
			s.keys[i] = make([]uint64, n)
		}
	}
}

func (t *sampleTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		t.cell(n/t.Q, n%t.Q, t.private[thread][:t.Entries], t.keys[thread][:t.Entries])
	}
}

// cell samples codebook q of one variation; logits and keys are scratch.
func (t *sampleTask) cell(variation, q int, logits []float32, keys []uint64) {
	code := &t.codes[(variation*t.Q+q)*t.Stride+t.Column]
	frame := t.Column - 1 - t.Delays[q]
	free := frame >= t.PromptFrames
	if frame < 0 || frame >= t.Frames {
		*code, free = int32(t.Entries), false
	}
	if !free && t.probs == nil {
		return
	}
	t.mix(logits, variation, q)
	kept := t.filter(keys, logits)
	if t.probs != nil {
		writeProbs(t.probs[(variation*t.Q+q)*t.Entries:][:t.Entries], kept, logits)
	}
	switch {
	case !free:
	case t.Greedy:
		*code = int32(entryOf(slices.Max(kept)))
	default:
		low, high := uint32(t.seeds[2*variation]), uint32(t.seeds[2*variation+1])
		*code = int32(draw(kept, logits, uint64(high)<<32|uint64(low), t.Column, q))
	}
}

// mix: dst = (u + Guidance·(c-u)) / Temperature.
func (t *sampleTask) mix(dst []float32, variation, q int) {
	row := 0
	if t.Group > 1 {
		row = variation
	}
	conditional := t.logits[(row*t.Q+q)*t.Entries:][:t.Entries]
	copy(dst, conditional)
	if t.Guidance != 1 {
		unconditional := t.logits[((t.Group+row)*t.Q+q)*t.Entries:][:t.Entries]
		for e, u := range unconditional {
			dst[e] = u + float32(t.Guidance*(conditional[e]-u))
		}
	}
	for e := range dst {
		dst[e] /= t.Temperature
	}
}

// filter returns the keys of the entries that top-k and top-p leave, in no particular order.
func (t *sampleTask) filter(keys []uint64, logits []float32) []uint64 {
	for e, l := range logits {
		keys[e] = keyOf(l, e)
	}
	if t.TopK > 0 && t.TopK < len(keys) {
		largestFirst(keys, t.TopK)
		keys = keys[:t.TopK]
	}
	if t.TopP < 1 {
		keys = nucleus(keys, logits, float64(t.TopP))
	}
	return keys
}

// keyOf orders entries by logit, then the lower index before the higher; the greater key comes first. NaN is last.
func keyOf(logit float32, entry int) uint64 {
	bits := math.Float32bits(logit)
	switch {
	case logit != logit:
		bits = 0
	case logit == 0: // of either sign
		bits = 1 << 31
	case bits>>31 != 0:
		bits = ^bits
	default:
		bits |= 1 << 31
	}
	return uint64(bits)<<32 | uint64(^uint32(entry))
}

func entryOf(key uint64) int { return int(^uint32(key)) }

// largestFirst moves the n largest keys to the front, in no particular order (Hoare's selection; keys differ).
func largestFirst(keys []uint64, n int) {
	low, high := 0, len(keys)-1
	for low < high {
		pivot := keys[low+(high-low)/2]
		i, j := low, high
		for i <= j {
			for keys[i] > pivot {
				i++
			}
			for keys[j] < pivot {
				j--
			}
			if i <= j {
				keys[i], keys[j] = keys[j], keys[i]
				i++
				j--
			}
		}
		switch {
		case n <= j+1:
			high = j
		case n > i:
			low = i
		default:
			return
		}
	}
}

// nucleus keeps the fewest of the largest whose probabilities, among keys, reach p.
func nucleus(keys []uint64, logits []float32, p float64) []uint64 {
	slices.Sort(keys)
	slices.Reverse(keys)
	top, sum := weightsOf(keys, logits)
	reached := 0.0
	for n, key := range keys {
		reached += math.Exp(float64(logits[entryOf(key)])-top) / sum
		if reached >= p {
			return keys[:n+1]
		}
	}
	return keys
}

// weightsOf returns the largest logit among keys and Σ e^(logit-largest).
func weightsOf(keys []uint64, logits []float32) (top, sum float64) {
	top = float64(logits[entryOf(slices.Max(keys))])
	for _, key := range keys {
		sum += math.Exp(float64(logits[entryOf(key)]) - top)
	}
	return top, sum
}

func writeProbs(probs []float32, kept []uint64, logits []float32) {
	clear(probs)
	top, sum := weightsOf(kept, logits)
	for _, key := range kept {
		e := entryOf(key)
		probs[e] = float32(math.Exp(float64(logits[e])-top) / sum)
	}
}

// draw is the entry of the greatest logit - ln(-ln(u01)): a sample of softmax(logits) by the Gumbel-max trick.
func draw(kept []uint64, logits []float32, seed uint64, column, q int) int {
	best, most := -1, 0.0
	for _, key := range kept {
		e := entryOf(key)
		u := float64(kern.Uniform(seed, column, q, e))
		score := float64(logits[e]) - math.Log(-math.Log(u))
		if best < 0 || score > most || score == most && e < best {
			best, most = e, score
		}
	}
	return best
}
