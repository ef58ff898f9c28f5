package engine

import (
	"context"
	"errors"
	"math"
	"path/filepath"

	"segue/engine/audio"
)

// From codes to files: decode, resample, level, join at the seam, write, and put all files in place at once.

// lead is how many frames before the seam are decoded too, so that resampling has something to look back to.
const lead = 2

// render turns each take's codes into a file. All files are written before the first is put in place.
func (r *run) render(ctx context.Context, p *prompt, takes [][]int32, l length) error {
	if r.job.Level == "match" {
		if err := r.timed(&r.result.Timing.WriteMS, func() error { return r.hear(p) }); err != nil {
			return err
		}
	}
	for i, codes := range takes {
		if err := r.renderTake(ctx, i, p, codes, l); err != nil {
			return err
		}
	}
	r.progress(StageWrite, 1, 0)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return r.timed(&r.result.Timing.WriteMS, r.place)
}

// place puts the finished files in place: all of them or none.
func (r *run) place() error {
	writers := make([]*audio.Writer, len(r.outputs))
	for i := range r.outputs {
		writers[i] = r.outputs[i].writer
	}
	failed, err := audio.CommitAll(writers)
	for i, w := range writers {
		if w == failed {
			return outputError(r.outputs[i].field, w.Path(), err)
		}
		r.result.Outputs[i].Path = w.Path()
	}
	return nil
}

func (r *run) renderTake(ctx context.Context, i int, p *prompt, codes []int32, l length) error {
	model := r.model.model
	before := min(lead, l.prompt)
	var made [][]float32
	err := r.timed(&r.result.Timing.CodecMS, func() (err error) {
		all := model.Config.Decoder.Join(p.codes, codes)
		made, err = model.Decode(ctx, r.engine.stream, all, l.total(), l.prompt-before, func(share float64) {
			fraction := decodeShare + (1-decodeShare)*(float64(i)+share)/float64(len(r.outputs))
			r.progress(StageCodec, fraction, 0)
		})
		return err
	})
	if err != nil {
		return err
	}
	return r.timed(&r.result.Timing.WriteMS, func() error { return r.writeTake(ctx, i, made, before*model.Codec.Hop()) })
}

// writeTake resamples, levels and joins one take, and writes it to its file. made begins before samples ahead of the seam.
func (r *run) writeTake(ctx context.Context, i int, made [][]float32, before int) error {
	format := r.outputFormat()
	fresh, err := r.fit(made, before, format)
	if err != nil {
		return err
	}
	o := &r.outputs[i]
	if err := r.create(o, format); err != nil {
		return err
	}
	var seam int64
	if r.job.Include == "full" && r.source != nil {
		if seam, err = r.writeOriginal(ctx, o, format); err != nil {
			return err
		}
	}
	// Floats are limited already, with regard to the original; the writer would cut the original's end that fades out in them.
	if err := o.writer.Write(audio.Interleave(fresh), format.Bits != "32f"); err != nil {
		return outputError(o.field, o.path, err)
	}
	r.result.Outputs = append(r.result.Outputs, describeOutput(o, format, fresh, seam))
	return nil
}

// create begins a take's file. A name that was free when the job was planned and is no longer is no reason to lose the
// take: it gets another one, here or when it is put in place.
func (r *run) create(o *output, f audio.Format) (err error) {
	another := func() string {
		o.path = r.freeName(filepath.Dir(o.path), filepath.Ext(o.path))
		return o.path
	}
	o.writer, err = audio.Create(o.path, f, r.job.Overwrite)
	if o.free && errors.Is(err, audio.ErrExists) {
		o.writer, err = audio.Create(another(), f, false)
	}
	if err != nil {
		return outputError(o.field, o.path, err)
	}
	if o.free {
		o.writer.OrElse(another)
	}
	return nil
}

// hear measures the prompt for all takes, as it is in its file and will be in theirs: mixed down for the model, two sides that
// differ are quieter than they are to the listener.
func (r *run) hear(p *prompt) (err error) {
	f := r.outputFormat()
	if r.source == nil {
		r.heard = audio.NewMeter(f.Rate, f.Channels) // nothing
		return nil
	}
	r.heard, err = r.source.meter(len(p.audio[0]), r.model.model.Rate(), f.Channels)
	return err
}

func scale(planar [][]float32, gain float32) {
	for _, channel := range planar {
		for i := range channel {
			channel[i] *= gain
		}
	}
}

// outputFormat is what the files hold: as asked, or as the source.
func (r *run) outputFormat() audio.Format {
	f := audio.Format{Bits: string(r.job.Bits), Rate: int(r.job.SampleRate), Channels: r.job.Channels}
	f.Container, _ = r.container()       // checked when the outputs were planned
	rate, channels, bits := 32000, 1, "" // until the model is loaded, what every MusicGen could make
	if r.model != nil {
		rate, channels = r.model.model.Rate(), r.model.model.Channels()
	}
	if r.source != nil {
		rate, channels, bits = r.source.info.Rate, r.source.info.Channels, r.source.info.Bits
	}
	if f.Rate == 0 {
		f.Rate = rate
	}
	if f.Channels == 0 {
		f.Channels = channels
	}
	if f.Bits == "" {
		f.Bits = bits
		if bits == "" || bits == "32f" && f.Container == "flac" {
			f.Bits = "24"
		}
	}
	return f
}

// fit brings new audio to the output's rate, length, channels and level, and joins its head to what comes before the seam.
func (r *run) fit(made [][]float32, before int, f audio.Format) ([][]float32, error) {
	rate := r.model.model.Rate()
	frames := r.newFrames(f)
	skip := int(math.Round(float64(before) * float64(f.Rate) / float64(rate)))
	fitted := make([][]float32, len(made))
	for c := range made {
		resampled := audio.Resample(made[c], rate, f.Rate)
		fitted[c] = make([]float32, frames)
		copy(fitted[c], resampled[min(skip, len(resampled)):])
	}
	fitted = audio.Mix(fitted, f.Channels)
	if r.heard != nil {
		scale(fitted, float32(audio.MatchGain(r.heard, fitted, f.Rate)))
	}
	if !audio.Finite(fitted) { // asked before the limit, which makes ones of infinities
		return nil, r.noNumbers("samples")
	}
	var tail [][]float32
	if fade := int(math.Round(r.job.CrossfadeMS / 1000 * float64(f.Rate))); r.source != nil && fade > 0 {
		var err error
		if tail, err = r.source.before(fade, f.Rate, f.Channels); err != nil {
			return nil, err
		}
		audio.Seam(tail, fitted, fade)
	}
	if f.Bits == "32f" { // all else is limited when it is written
		audio.Limit(tail, fitted)
	}
	return fitted, nil
}

// noNumbers is the error of a model that made NaN or infinities.
func (r *run) noNumbers(what string) *Error {
	return &Error{Kind: ModelInvalid, Field: "model", Path: r.model.info.Path, Detail: "model " + r.model.info.Name + ": made " + what +
		" that are no numbers, so its weights hold some that are not, or too large ones for their precision"}
}

// newFrames is the exact length of the new part.
func (r *run) newFrames(f audio.Format) int {
	return int(math.Round(r.job.Seconds * float64(f.Rate)))
}

// meter measures what lasts as long before the seam as samples do at rate, in so many channels.
func (s *source) meter(samples, rate, channels int) (*audio.Meter, error) {
	n := min(s.seam, int64(math.Round(float64(samples)*float64(s.info.Rate)/float64(rate))))
	m := audio.NewMeter(s.info.Rate, channels)
	err := s.reader.Blocks(s.seam-n, n, func(block []float32) error {
		m.Add(audio.Mix(audio.Deinterleave(block, s.info.Channels), channels))
		return nil
	})
	if err != nil {
		return nil, audioError(s.field, s.path, err)
	}
	return m, nil
}

// writeOriginal copies the source up to the seam, untouched where the output's format can hold it, and returns its frames.
func (r *run) writeOriginal(ctx context.Context, o *output, f audio.Format) (written int64, err error) {
	s := r.source
	exact := exactly(s.info.Bits, f.Bits) && f.Rate == s.info.Rate && f.Channels == s.info.Channels
	dither := !exact && f.Bits != "32f" // which would cut floats at full scale
	write := func(interleaved []float32) error {
		written += int64(len(interleaved) / f.Channels)
		if err := o.writer.Write(interleaved, dither); err != nil {
			return outputError(o.field, o.path, err)
		}
		return nil
	}
	mix := func(planar [][]float32) error { return write(audio.Interleave(audio.Mix(planar, f.Channels))) }
	converter := audio.NewResampler(s.info.Rate, f.Rate, s.info.Channels)
	err = s.reader.Blocks(0, s.seam, func(block []float32) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case f.Rate != s.info.Rate:
			return converter.Write(block, mix)
		case f.Channels != s.info.Channels:
			return mix(audio.Deinterleave(block, s.info.Channels))
		}
		return write(block)
	})
	if err == nil {
		err = converter.Flush(mix)
	}
	return written, copyError(s, err)
}

// exactly says whether every sample of the source's format is one of the output's.
func exactly(source, output string) bool {
	return source != "" && (source == output || output == "32f" || source == "16" && output == "24")
}

// copyError blames the source for all but what the output has been blamed for.
func copyError(s *source, err error) error {
	if _, known := err.(*Error); err == nil || known {
		return err
	}
	return audioError(s.field, s.path, err)
}

// silenceDB is the peak below which a take counts as silent.
const silenceDB = -60

func describeOutput(o *output, f audio.Format, fresh [][]float32, seam int64) Output {
	frames := seam + int64(len(fresh[0]))
	out := Output{
		Path: o.path, Format: f.Container, Bits: f.Bits, SampleRate: f.Rate, Channels: f.Channels,
		Frames: frames, Seconds: float64(frames) / float64(f.Rate), Seed: o.seed,
		SeamSeconds: float64(seam) / float64(f.Rate),
		PeakDB:      measured(audio.PeakDB(fresh...)), Loudness: measured(audio.Loudness(fresh, f.Rate)),
	}
	out.Silent = out.PeakDB == nil || *out.PeakDB < silenceDB
	return out
}

// measured is v rounded for people, or nil where nothing could be measured.
func measured(v float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	v = math.Round(v*100) / 100
	return &v
}
