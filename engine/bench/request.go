package bench

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"time"
)

// take is what a whole request made.
type take struct {
	prompt []int32       // [Q][prompt frames]
	codes  [][]int32     // of each variation: [Q][new frames]
	audio  [][][]float32 // of each variation: the new part, planar
}

// warmSeconds of new audio are made before the first request that counts.
const warmSeconds = 0.3

// requests measures a whole request for each guidance and number of variations.
func (s *session) requests(ctx context.Context, keep bool) (variants [][]*Variant, err error) {
	s.tell("%s: whole requests", s.setting.name())
	for _, guidance := range s.Matrix.Guidance {
		var list []*Variant
		for _, variations := range s.Matrix.Variations {
			v := &Variant{Setting: s.setting}
			v.Guidance, v.Variations = guidance, variations
			if err := s.whole(ctx, v, keep); err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		variants = append(variants, list)
	}
	return variants, nil
}

// whole measures a request as a host would make it, with the model loaded: audio and text in, audio out.
func (s *session) whole(ctx context.Context, v *Variant, keep bool) error {
	warm := max(1, int(warmSeconds*s.model.FrameRate()))
	if _, err := s.request(ctx, v.Guidance, v.Variations, warm, &Request{}, new([]Point)); err != nil {
		return err
	}
	debug.FreeOSMemory() // what came before is not this request's
	resetPeakMemory()
	made, err := s.repeatRequest(ctx, v)
	if err != nil {
		return err
	}
	v.PeakBytes, v.DeviceBytes = max(s.loadPeak, peakMemory(s.backend.Allocated())), s.backend.Allocated()
	if !keep || s.reference == nil {
		return nil
	}
	s.report.keepTake(v, s.model.Rate(), made)
	v.Quality, err = s.compare(ctx, v.Guidance, made)
	return err
}

// repeatRequest makes the same request again and again, while that is quick, and keeps the figures of the one in the middle.
func (s *session) repeatRequest(ctx context.Context, v *Variant) (made *take, err error) {
	type figures struct {
		request Request
		along   []Point
	}
	var all []figures
	for begin := time.Now(); len(all) == 0 || len(all) < s.Repeats && time.Since(begin) < enough; {
		var f figures
		if made, err = s.request(ctx, v.Guidance, v.Variations, s.newFrames(), &f.request, &f.along); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b figures) int { return cmp.Compare(a.request.TotalMS, b.request.TotalMS) })
	middle := all[(len(all)-1)/2]
	v.Request, v.Along = middle.request, middle.along
	return made, nil
}

// request does everything from prompt audio to frames of new audio and notes where the time went.
func (s *session) request(ctx context.Context, guidance float64, variations, frames int, r *Request, along *[]Point) (*take, error) {
	made, start := &take{}, time.Now()
	lap := func(ms *float64, since time.Time) time.Time {
		now := time.Now()
		*ms = milliseconds(now.Sub(since))
		return now
	}
	var err error
	if made.prompt, _, err = s.model.Encode(ctx, s.stream, s.prompt.audio); err != nil {
		return nil, err
	}
	at := lap(&r.EncodeMS, start)
	text, err := s.condition(ctx)
	if err != nil {
		return nil, err
	}
	defer text.Free()
	at = lap(&r.TextMS, at)
	prefix, err := s.model.LM.Prefill(ctx, s.stream, text, made.prompt, s.prompt.frames, guidance != 1)
	if err != nil {
		return nil, err
	}
	defer prefix.Free()
	at = lap(&r.PrefillMS, at)
	clock := newStepClock(frames + s.model.Config.Decoder.MaxDelay())
	made.codes, err = s.model.LM.Generate(ctx, s.stream, prefix, s.seeds(variations), s.prompt.frames+frames, sampling(guidance), clock.tick)
	if err != nil {
		return nil, err
	}
	at = lap(&r.DecodeMS, at)
	*along = curve(clock.steps(), s.prompt.frames+2)
	if err := s.render(ctx, made, s.prompt.frames+frames); err != nil {
		return nil, err
	}
	lap(&r.CodecMS, at)
	lap(&r.TotalMS, start)
	r.Realtime = round(float64(frames*variations)/s.model.FrameRate()/(r.TotalMS/1e3), 3)
	return made, nil
}

// render decodes every variation; the codec hears the prompt too, as in a request.
func (s *session) render(ctx context.Context, made *take, frames int) error {
	for _, codes := range made.codes {
		all := s.model.Config.Decoder.Join(made.prompt, codes)
		sound, err := s.model.Decode(ctx, s.stream, all, frames, s.prompt.frames, func(float64) {})
		if err != nil {
			return err
		}
		made.audio = append(made.audio, sound)
	}
	return nil
}

// curve gathers steps, the first of which sees first columns, into medians of neighbours: at most 32 points.
func curve(steps []time.Duration, first int) []Point {
	const points = 32
	width := max(1, (len(steps)+points-1)/points)
	var list []Point
	for from := 0; from < len(steps); from += width {
		to := min(from+width, len(steps))
		list = append(list, Point{Context: first + (from+to-1)/2, MS: milliseconds(median(steps[from:to]))})
	}
	return list
}
