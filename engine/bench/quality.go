package bench

import (
	"context"
	"errors"
	"fmt"
	"math"

	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
)

// reference is what the model does with every weight as stored and a float32 cache, for each guidance.
type reference struct{ byGuidance map[float64]*referenceTake }

// referenceTake is a take of the reference, the distributions along it, and how far the take with the next seed is from it:
// what two equally good takes differ by.
type referenceTake struct {
	codes        []int32 // [Q][frames], prompt and new
	frames       int
	logits       []float32 // [columns, Q, V] after guidance
	audio        [][]float32
	seedDistance float64
}

// makeReference runs the reference once for each guidance. Its precisions are exact, not those named f32: that is the same
// numbers in half the memory where the file holds halves.
func (b *bench) makeReference(ctx context.Context, backend kern.Backend) (err error) {
	b.tell("the reference")
	s, _, err := b.open(ctx, backend, musicgen.Exact)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	text, err := s.condition(ctx)
	if err != nil {
		return err
	}
	defer text.Free()
	b.reference = &reference{map[float64]*referenceTake{}}
	for _, guidance := range b.Matrix.Guidance {
		made, err := s.request(ctx, guidance, 2, s.newFrames(), &Request{}, new([]Point)) // this seed and the next
		if err != nil {
			return err
		}
		r := &referenceTake{
			codes:        s.model.Config.Decoder.Join(made.prompt, made.codes[0]),
			frames:       s.prompt.frames + s.newFrames(),
			audio:        made.audio[0],
			seedDistance: round(melDistance(made.audio[0], made.audio[1], s.model.Rate()), 3),
		}
		if r.logits, err = s.forced(ctx, text, guidance, r.codes, r.frames); err != nil {
			return err
		}
		b.reference.byGuidance[guidance] = r
		b.report.takes = append(b.report.takes, namedTake{fmt.Sprintf("reference-guidance%g.wav", guidance), s.model.Rate(), r.audio})
	}
	return nil
}

// forced feeds codes and returns the logits [columns, Q, V] that follow each column, mixed by guidance.
func (s *session) forced(ctx context.Context, text *lm.Condition, guidance float64, codes []int32, frames int) ([]float32, error) {
	c := &s.model.Config.Decoder
	columns := c.Columns(frames) - 1 // nothing follows the last one
	return s.model.LM.Guided(ctx, s.stream, text, c.Delayed(codes, frames, columns), columns, float32(guidance))
}

// compare says how far a variant is from the reference, along the reference's codes and in what it made itself.
func (s *session) compare(ctx context.Context, guidance float64, made *take) (*Quality, error) {
	text, err := s.condition(ctx)
	if err != nil {
		return nil, err
	}
	defer text.Free()
	r := s.reference.byGuidance[guidance]
	logits, err := s.forced(ctx, text, guidance, r.codes, r.frames)
	if err != nil {
		return nil, err
	}
	q := &Quality{
		Codebooks: divergences(r.logits, logits, &s.model.Config.Decoder, r.frames),
		MelDB:     round(melDistance(r.audio, made.audio[0], s.model.Rate()), 3),
		SeedMelDB: r.seedDistance,
	}
	for _, d := range q.Codebooks {
		q.Mean.Top1 += d.Top1 / float64(len(q.Codebooks))
		q.Mean.KL += d.KL / float64(len(q.Codebooks))
	}
	q.Mean = q.Mean.rounded()
	for i, d := range q.Codebooks {
		q.Codebooks[i] = d.rounded()
	}
	return q, nil
}

func (d Divergence) rounded() Divergence { return Divergence{round(d.Top1, 5), round(d.KL, 7)} }

// divergences compares logits [columns, Q, V] codebook by codebook, where a code of the music follows: column c is followed by
// frame c-delay.
func divergences(want, got []float32, c *lm.Config, frames int) []Divergence {
	list := make([]Divergence, c.Codebooks)
	for q, delay := range c.Delays {
		for t := range frames {
			at := ((t+delay)*c.Codebooks + q) * c.Entries
			same, kl := diverge(want[at:at+c.Entries], got[at:at+c.Entries])
			if same {
				list[q].Top1 += 1 / float64(frames)
			}
			list[q].KL += kl / float64(frames)
		}
	}
	return list
}

// diverge compares two distributions given as logits: whether their likeliest entries agree, and
// KL(p‖q) = Σ p·(ln p - ln q) in nats.
func diverge(p, q []float32) (sameTop bool, kl float64) {
	topP, logP := logNormalizer(p)
	topQ, logQ := logNormalizer(q)
	for i := range p {
		lnP := float64(p[i]) - logP
		kl += math.Exp(lnP) * (lnP - (float64(q[i]) - logQ))
	}
	return topP == topQ, max(kl, 0) // rounding can leave it a little below
}

// logNormalizer returns the index of the largest logit and ln Σ e^logit.
func logNormalizer(logits []float32) (top int, log float64) {
	for i, v := range logits {
		if v > logits[top] {
			top = i
		}
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - float64(logits[top]))
	}
	return top, float64(logits[top]) + math.Log(sum)
}
