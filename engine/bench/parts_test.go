package bench

// Where a step's time goes: steps of small's published shape, op by op, beside a plain read of the bytes they read.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
)

// opClock is a stream of a device that runs ops at once, and what each kind of op has taken.
type opClock struct {
	kern.Stream
	linear, causal, cross, rest time.Duration
}

func lap(sum *time.Duration, start time.Time) { *sum += time.Since(start) }

func (c *opClock) Linear(a kern.Linear) {
	defer lap(&c.linear, time.Now())
	c.Stream.Linear(a)
}

func (c *opClock) CausalAttention(a kern.CausalAttention) {
	defer lap(&c.causal, time.Now())
	c.Stream.CausalAttention(a)
}

func (c *opClock) Attention(a kern.Attention) {
	defer lap(&c.cross, time.Now())
	c.Stream.Attention(a)
}

func (c *opClock) Embed(a kern.Embed) {
	defer lap(&c.rest, time.Now())
	c.Stream.Embed(a)
}

func (c *opClock) Sample(a kern.Sample) {
	defer lap(&c.rest, time.Now())
	c.Stream.Sample(a)
}

// BenchmarkStepParts: ms/step is the median step, read/step the time of a plain read of its bytes over it; the other figures
// are means by kind of op. Half of the columns are the prompt's.
func BenchmarkStepParts(b *testing.B) {
	for _, linears := range []kern.Precision{kern.Q4, kern.Q8} {
		for _, cache := range []kern.Precision{kern.F16, kern.Q8} {
			s := openSmall(b, precisionPair{linears, cache})
			for _, columns := range []int{302, 900, 1500} {
				b.Run(fmt.Sprintf("%v/cache=%v/columns=%d", linears, cache, columns), func(b *testing.B) { s.benchParts(b, columns) })
			}
			s.close()
		}
	}
}

func openSmall(b *testing.B, pair precisionPair) *session {
	backend, err := cpukern.Open(cpukern.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { backend.Close() })
	checkpoint, err := OpenShape("small")
	if err != nil {
		b.Fatal(err)
	}
	s := &session{bench: &bench{}, backend: backend}
	if s.model, err = musicgen.Load(context.Background(), backend, checkpoint, pair.precisions()); err != nil {
		b.Fatal(err)
	}
	if s.stream, err = backend.Stream(); err != nil {
		b.Fatal(err)
	}
	return s
}

// benchParts decodes again and again from half of the columns to all of them; the steps around three quarters count.
func (s *session) benchParts(b *testing.B, columns int) {
	text, err := s.condition(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	defer text.Free()
	const steps = 40
	frames := columns - steps/2
	prefix, err := s.model.LM.Prefill(context.Background(), s.stream, text, randomCodes(&s.model.Config.Decoder, frames), frames, true)
	if err != nil {
		b.Fatal(err)
	}
	defer prefix.Free()
	release, err := s.openProbe()
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	clock := &opClock{Stream: s.stream}
	var times []time.Duration
	var reads []float64
	for b.Loop() {
		ticks := newStepClock(steps)
		_, err := s.model.LM.Generate(context.Background(), clock, prefix, []uint64{1}, prefix.Frames+steps-3, sampling(3), ticks.tick)
		if err != nil {
			b.Fatal(err)
		}
		times = append(times, ticks.steps()[warmSteps-1:]...)
		reads = append(reads, s.read())
	}
	s.reportParts(b, prefix, columns, clock, times, reads)
}

func (s *session) reportParts(b *testing.B, prefix *lm.Prefix, columns int, clock *opClock, times []time.Duration, reads []float64) {
	bytes := prefix.StepBytes(s.model.LM, 1, columns)
	step := median(times)
	speed := median(reads)
	b.SetBytes(bytes)
	b.ReportMetric(milliseconds(step), "ms/step")
	b.ReportMetric(float64(bytes)/speed/step.Seconds(), "read/step")
	b.ReportMetric(speed/1e9, "GB/s-read")
	count := float64(b.N * 39)
	for name, sum := range map[string]time.Duration{"linear": clock.linear, "causal": clock.causal, "cross": clock.cross, "rest": clock.rest} {
		b.ReportMetric(sum.Seconds()*1e6/count, name+"-µs")
	}
}
