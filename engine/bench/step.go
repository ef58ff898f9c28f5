package bench

import (
	"context"
	"time"

	"segue/engine/kern"
	"segue/engine/lm"
)

const (
	// The first steps of a decoding are not counted: the first one of all only draws, the next ones run ahead of the device.
	warmSteps   = 3
	timedSteps  = 8
	linearTurns = 8
	// shortestContext: column 0, and the steps before the middle one of those that are timed.
	shortestContext = 1 + warmSteps + timedSteps/2
)

// atContext measures the steps of every number of variations at a place of the context. A prefix of random codes leads there
// in one pass; so all columns before the measured ones are the shared prefix's.
func (s *session) atContext(ctx context.Context, text *lm.Condition, guided bool, columns int, variants []*Variant) error {
	s.tell("%s: steps at %d columns", s.setting.name(), columns)
	frames := columns - shortestContext // the step in the middle sees that many columns
	codes := randomCodes(&s.model.Config.Decoder, frames)
	prefix, err := s.model.LM.Prefill(ctx, s.stream, text, codes, frames, guided)
	if err != nil {
		return err
	}
	defer prefix.Free()
	for _, v := range variants {
		v.Rows = prefix.Rows(v.Variations)
		if len(v.Steps) == 0 { // the linears know no context
			if err := s.linears(ctx, prefix, v); err != nil {
				return err
			}
		}
		if err := s.steps(ctx, prefix, columns, v); err != nil {
			return err
		}
	}
	return nil
}

// steps adds a row of steps to v, with a read of memory after each round of them. A round counts as its mean: a host that hears
// late of one step hears of the next ones all at once, and half of all single steps may seem shorter than any is.
func (s *session) steps(ctx context.Context, prefix *lm.Prefix, columns int, v *Variant) error {
	made := max(1, warmSteps+timedSteps-s.model.Config.Decoder.MaxDelay())
	seeds := s.seeds(v.Variations)
	decode := func() ([]time.Duration, error) {
		clock := newStepClock(made + s.model.Config.Decoder.MaxDelay())
		_, err := s.model.LM.Generate(ctx, s.stream, prefix, seeds, prefix.Frames+made, sampling(v.Guidance), clock.tick)
		return clock.steps(), err
	}
	settling := s.backend.Device().Settling
	for start := time.Now(); time.Since(start) < settling; {
		if _, err := decode(); err != nil {
			return err
		}
	}
	var times []time.Duration
	var reads []float64
	for range s.Repeats {
		steps, err := decode()
		if err != nil {
			return err
		}
		times = append(times, mean(steps[warmSteps-1:]))
		reads = append(reads, s.read())
	}
	v.Steps = append(v.Steps, s.add(Row{
		Setting: v.Setting, Stage: StageStep, Rows: v.Rows, Context: columns,
		Bytes: prefix.StepBytes(s.model.LM, v.Variations, columns), ReadGBps: median(reads) / 1e9,
	}, median(times)))
	return nil
}

// linears adds a row of a step's linears alone.
func (s *session) linears(ctx context.Context, prefix *lm.Prefix, v *Variant) error {
	var times []time.Duration
	var reads []float64
	for i := range s.Repeats + 1 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for range linearTurns {
			start := time.Now()
			if err := s.runLinears(prefix, v.Variations); err != nil {
				return err
			}
			if i > 0 {
				times = append(times, time.Since(start))
			}
		}
		reads = append(reads, s.read())
	}
	s.add(Row{
		Setting: v.Setting, Stage: StageLinears, Rows: v.Rows,
		Bytes: s.model.LM.LayerBytes(true), ReadGBps: median(reads) / 1e9,
	}, median(times))
	return nil
}

func (s *session) runLinears(prefix *lm.Prefix, variations int) error {
	if err := prefix.Linears(s.model.LM, s.stream, variations); err != nil {
		return err
	}
	return kern.Finish(s.stream)
}

func (b *bench) seeds(variations int) []uint64 {
	seeds := make([]uint64, variations)
	for i := range seeds {
		seeds[i] = uint64(b.Seed) + uint64(i)
	}
	return seeds
}

// stepClock notes when each step of a decoding is done.
type stepClock struct{ at []time.Time }

func newStepClock(steps int) *stepClock { return &stepClock{make([]time.Time, 0, steps)} }

func (c *stepClock) tick(int, int) { c.at = append(c.at, time.Now()) }

// steps are the times from each step to the next.
func (c *stepClock) steps() []time.Duration {
	times := make([]time.Duration, 0, len(c.at))
	for i := 1; i < len(c.at); i++ {
		times = append(times, c.at[i].Sub(c.at[i-1]))
	}
	return times
}
