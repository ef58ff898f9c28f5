package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"segue/engine/lm"
)

// median of a non-empty list; of an even number of them, the mean of the two in the middle.
func median[T time.Duration | float64](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func mean(list []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range list {
		sum += d
	}
	return sum / time.Duration(len(list))
}

// enough is how long one thing is measured before fewer repeats will do.
const enough = 5 * time.Second

// repeat is the median time of fn after one call to warm up.
func (s *session) repeat(ctx context.Context, fn func() error) (time.Duration, error) {
	var times []time.Duration
	begin := time.Now()
	for i := range s.Repeats + 1 {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if len(times) > 0 && time.Since(begin) > enough {
			break
		}
		start := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		if i > 0 {
			times = append(times, time.Since(start))
		}
	}
	return median(times), nil
}

// add completes a row with what all rows share, and reports it. readGBps is measured now unless it is there.
func (s *session) add(r Row, took time.Duration) Row {
	r.Model, r.Shape, r.Device = s.Model, s.Shape, s.backend.Device().Backend
	r.MS = milliseconds(took)
	if r.ReadGBps == 0 {
		r.ReadGBps = s.read() / 1e9
	}
	if r.Bytes > 0 && r.ReadGBps > 0 {
		r.Share = round(float64(r.Bytes)/took.Seconds()/(r.ReadGBps*1e9), 4)
	}
	r.ReadGBps = round(r.ReadGBps, 3)
	s.report.Rows = append(s.report.Rows, r)
	return r
}

// measureEnds measures what comes before and after the decoder: text, encoder, codec.
func (s *session) measureEnds(ctx context.Context) error {
	s.tell("text, encoder and codec")
	took, err := s.repeat(ctx, func() error {
		text, err := s.condition(ctx)
		if err == nil && text != nil {
			text.Free()
		}
		return err
	})
	if err != nil {
		return err
	}
	s.add(Row{Setting: s.setting, Stage: StageText}, took)
	took, err = s.repeat(ctx, func() error {
		_, _, err := s.model.Encode(ctx, s.stream, s.prompt.audio)
		return err
	})
	if err != nil {
		return err
	}
	s.add(Row{Setting: s.setting, Stage: StageEncode, Realtime: round(float64(s.prompt.frames)/s.model.FrameRate()/took.Seconds(), 2)}, took)
	frames := s.newFrames()
	codes := randomCodes(&s.model.Config.Decoder, frames)
	took, err = s.repeat(ctx, func() error {
		_, err := s.model.Decode(ctx, s.stream, codes, frames, 0, func(float64) {})
		return err
	})
	if err != nil {
		return err
	}
	s.add(Row{Setting: s.setting, Stage: StageCodec, Realtime: round(float64(frames)/s.model.FrameRate()/took.Seconds(), 2)}, took)
	return nil
}

// newFrames is how many frames a request makes.
func (s *session) newFrames() int { return max(1, int(s.Seconds*s.model.FrameRate()+0.5)) }

// measureDecoder measures prefill, steps and linears for variants of one guidance.
func (s *session) measureDecoder(ctx context.Context, variants []*Variant) error {
	text, err := s.condition(ctx)
	if err != nil {
		return err
	}
	defer text.Free()
	guidance := variants[0].Guidance
	rate, err := s.measurePrefill(ctx, text, guidance)
	if err != nil {
		return err
	}
	for _, columns := range s.places {
		if err := s.atContext(ctx, text, guidance != 1, columns, variants); err != nil {
			return err
		}
	}
	for _, v := range variants {
		v.PrefillRate = rate
		row := Row{Setting: v.Setting, Stage: StageTotal, Rows: v.Rows, Realtime: v.Request.Realtime}
		row.Context = s.prompt.frames + s.newFrames() + s.model.Config.Decoder.MaxDelay()
		s.add(row, time.Duration(v.Request.TotalMS*1e6))
	}
	return nil
}

// measurePrefill returns the columns per second of a prompt; each column is one of every branch.
func (s *session) measurePrefill(ctx context.Context, text *lm.Condition, guidance float64) (columnsPerSecond float64, err error) {
	s.tell("%s: prefill", s.setting.name())
	codes := randomCodes(&s.model.Config.Decoder, s.prompt.frames)
	row := Row{Setting: s.setting, Stage: StagePrefill, Context: s.prompt.frames + 1}
	row.Guidance = guidance
	took, err := s.repeat(ctx, func() error {
		prefix, err := s.model.LM.Prefill(ctx, s.stream, text, codes, s.prompt.frames, guidance != 1)
		if err != nil {
			return err
		}
		row.Rows, row.Bytes = prefix.Rows(1), s.model.LM.WeightBytes(true)
		prefix.Free()
		return nil
	})
	if err != nil {
		return 0, err
	}
	row.ColumnsPerSecond = round(float64(row.Context)/took.Seconds(), 1)
	s.add(row, took)
	return row.ColumnsPerSecond, nil
}

// fits says whether a request's prompt and music go into the model's window.
func (s *session) fits() error {
	if made, longest := s.newFrames(), s.model.MaxFrames(); s.prompt.frames+made > longest {
		rate := s.model.FrameRate()
		return fmt.Errorf("bench: seconds: got %g after a prompt of %g, want %g at most in all, the window of the model",
			float64(made)/rate, float64(s.prompt.frames)/rate, float64(longest)/rate)
	}
	return nil
}

// contexts are the places to measure steps at, checked against the model's window.
func (s *session) contexts() ([]int, error) {
	longest := s.model.MaxFrames()
	if s.Contexts == nil {
		first := min(max(s.prompt.frames+2, shortestContext), longest)
		return slices.Compact([]int{first, (first + longest) / 2, longest}), nil
	}
	for _, n := range s.Contexts {
		if n > longest {
			return nil, fmt.Errorf("bench: context: got %d, want %d to %d, the window of the model", n, shortestContext, longest)
		}
	}
	return s.Contexts, nil
}
