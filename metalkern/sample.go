package metalkern

// Sample draws on the device, a threadgroup per variation and codebook (sample.metal). What depends on the column alone,
// which cells are forced and which are drawn, is decided here.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

var sampleDraw = kernelName{"sample", "sample_draw"}

const (
	sampleEntries = 4096 // SAMPLE_ENTRIES of sample.metal: all logits of a codebook are in threadgroup memory
	sampleBooks   = 64   // bits of sampleArgs.forced
	sampleThreads = 1024 // SAMPLE_SIMDGROUPS
)

// sampleArgs is SampleArgs of sample.metal.
type sampleArgs struct {
	forced, open                uint64
	books, entries, stride      uint32
	column, group, topk         uint32
	greedy, probs               uint32
	guidance, temperature, topp float32
	vector, late                uint32
}

func (s *stream) Sample(a kern.Sample) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	if a.Q > sampleBooks || a.Entries > sampleEntries {
		s.shapef("sample", "got %d codebooks of %d entries, want at most %d of %d on a GPU", a.Q, a.Entries, sampleBooks, sampleEntries)
		return
	}
	if !s.indexable("sample", 2, a.Variations, a.Q, max(a.Stride, a.Entries)) {
		return
	}
	codes := s.ints("sample", "Codes", a.Codes, kern.Product(a.Variations, a.Q, a.Stride))
	seeds := s.ints("sample", "Seeds", a.Seeds, kern.Product(a.Variations, 2))
	logits := s.floats("sample", "Logits", a.Logits, kern.Product(a.Branches(), a.Group, a.Q, a.Entries))
	probs := s.optional("sample", "Probs", a.Probs, kern.Product(a.Variations, a.Q, a.Entries))
	s.apart("sample", "Logits", probs, logits)
	p, ok := s.pipeline(sampleDraw)
	if !ok || s.err != nil {
		return
	}
	args := sampleArgs{
		books: uint32(a.Q), entries: uint32(a.Entries), stride: uint32(a.Stride), column: uint32(a.Column), group: uint32(a.Group),
		topk: uint32(min(a.TopK, a.Entries)), greedy: flag(a.Greedy), probs: present(probs),
		guidance: a.Guidance, temperature: a.Temperature, topp: a.TopP,
		vector: fours(a.Entries, logits), late: flag(s.fresh.has(seeds)),
	}
	args.forced, args.open = cells(a)
	groups := driver.Size{X: a.Q, Y: a.Variations, Z: 1}
	threads := min(sampleThreads, roundUp(ceilDiv(a.Entries, 4), simdWidth)) // a call of Philox each
	s.dispatch(p, groups, p.threads(threads), constants(s, args), logits, seeds, codes.written(), probs.written())
}

// cells has a bit per codebook: the column lies outside the frames, or beyond the prompt.
func cells(a kern.Sample) (forced, open uint64) {
	for q, delay := range a.Delays {
		switch frame := a.Column - 1 - delay; {
		case frame < 0 || frame >= a.Frames:
			forced |= 1 << q
		case frame >= a.PromptFrames:
			open |= 1 << q
		}
	}
	return forced, open
}
