package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"segue/engine/audio"
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/weights"
	"segue/weights/packed"
)

// Run makes the music that job asks for: a continuation of job.Path, or music from nothing without one. It waits for the
// device, reports its progress, and returns when every file is whole and in place; when it fails or ctx ends it leaves no
// file behind. A cancelled job returns context.Cause(ctx).
func (e *Engine) Run(ctx context.Context, job Job, report func(Progress)) (Result, error) {
	if err := job.Validate(); err != nil {
		return Result{}, err
	}
	r := &run{engine: e, job: job, report: report}
	if strings.TrimSpace(job.Text) == "" {
		r.job.Text = ""
	}
	if r.job.Seed < 0 {
		r.job.Seed = drawSeed()
	}
	defer r.close()
	if err := r.openSources(); err != nil {
		return Result{}, err
	}
	if err := r.planOutputs(); err != nil {
		return Result{}, err
	}
	if err := e.withDevice(ctx, func() error { return r.make(ctx) }); err != nil {
		return Result{}, runError(ctx, err)
	}
	return r.result, nil
}

// run is one job on its way.
type run struct {
	engine *Engine
	job    Job
	report func(Progress)

	source   *source // nil for generate
	melody   *source // nil for none
	stem     string  // of the outputs' names
	outputs  []output
	model    *resident
	heard    *audio.Meter // the prompt, where takes are to be as loud; else nil
	silent   bool         // the prompt is
	sampling Sampling     // the job's; the model's for what it leaves open
	started  time.Time
	result   Result
}

// errChanged is met by who uses a model while another program writes its files.
var errChanged = Errorf(ModelInvalid, "model", "model: its files changed while they were read; ask again once they are whole")

// make is the whole journey of a request, once it has the device. It begins anew where packed weights turn out to be
// damaged on the way, or the model's files to have changed: they are dropped, and packed again.
func (r *run) make(ctx context.Context) error {
	r.started = time.Now()
	err := r.attempt(ctx)
	for range 3 { // as many parts may be damaged
		again := errors.Is(err, packed.ErrDamaged) || errors.Is(err, errChanged) || errors.Is(err, weights.ErrFault)
		if !again || r.model == nil || len(r.result.Outputs) > 0 {
			break
		}
		r.engine.discard(r.model)
		r.model = nil
		if err = r.engine.stream.Reset(); err == nil { // a load, this one or another, may be waiting for the device to let go
			err = r.attempt(ctx)
		}
	}
	if errors.Is(err, weights.ErrFault) {
		return errChanged
	}
	return err
}

func (r *run) attempt(ctx context.Context) (err error) {
	timing := &r.result.Timing
	if err = r.timed(&timing.LoadMS, func() error { return r.load(ctx) }); err != nil {
		return err
	}
	length, err := r.length()
	if err != nil {
		return err
	}
	p, err := r.seePrompt(ctx, length) // encode, text, prefill; or found again
	if err != nil {
		return err
	}
	var takes [][]int32
	if err = r.timed(&timing.DecodeMS, func() error { takes, err = r.decode(ctx, p, length); return err }); err != nil {
		return err
	}
	if err = r.model.shelves.sound(codecPart); err != nil {
		return err
	}
	if !r.model.sources.current() {
		return errChanged
	}
	if err = r.render(ctx, p, takes, length); err != nil {
		return err
	}
	r.finish(length)
	return nil
}

// timed adds what fn takes to ms.
func (r *run) timed(ms *float64, fn func() error) error {
	start := time.Now()
	err := fn()
	*ms += milliseconds(time.Since(start))
	return err
}

func milliseconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e6) / 1e3 }

func (r *run) load(ctx context.Context) (err error) {
	r.report(Progress{Stage: StageLoad})
	if r.model, err = r.engine.acquire(ctx, r.job.ModelOptions); err != nil {
		return err
	}
	r.sampling = r.model.info.Sampling.with(r.job.SamplingOptions)
	if r.source != nil {
		err = r.model.shelves.sound(codecPart)
	}
	if r.job.Text != "" && err == nil {
		err = r.model.shelves.sound(textPart)
	}
	return err
}

// length is how much the model hears and makes, in frames of the codec.
type length struct{ prompt, made int }

func (l length) total() int { return l.prompt + l.made }

// length fits the job into the model's window, and to a melody model its text too. One frame more than asked is made where
// there is room, so that resampling has something to look ahead to.
func (r *run) length() (length, error) {
	m := r.model.model
	var l length
	if r.source != nil {
		l.prompt = r.source.frames(r.job.PromptSeconds, m.Rate(), m.Codec.Hop())
	}
	window := m.MaxFrames()
	made := math.Ceil(r.job.Seconds*m.FrameRate() - 1e-9)
	if float64(l.prompt)+made > float64(window) {
		left := float64(window-l.prompt) / m.FrameRate()
		if left <= 0 {
			return l, Errorf(AudioLength, "promptSeconds", "promptSeconds: got %g, want less than the model's window of %g s, which also holds the new audio", r.job.PromptSeconds, float64(window)/m.FrameRate())
		}
		return l, Errorf(AudioLength, "seconds", "seconds: got %g after a prompt of %g s, want at most %g: the model's window is %g s and this version does not slide it",
			r.job.Seconds, float64(l.prompt)/m.FrameRate(), left, float64(window)/m.FrameRate())
	}
	f := r.outputFormat()
	frames := r.newFrames(f)
	if frames < 1 {
		return l, Errorf(BadParam, "seconds", "seconds: got %g, want at least one sample, which is %.3g at %d Hz", r.job.Seconds, 1/float64(f.Rate), f.Rate)
	}
	if err := r.checkSize(r.outputs[0].path, frames); err != nil {
		return l, err
	}
	l.made = int(made)
	tokens, err := m.Tokens(r.job.Text, l.total())
	if err != nil {
		return l, &Error{Kind: BadParam, Field: "text", Detail: err.Error(), Err: err}
	}
	if l.total() < window && len(tokens) < m.Config.Decoder.MaxTokens(l.total()) {
		l.made++
	}
	return l, nil
}

// decode draws every variation's new codes.
func (r *run) decode(ctx context.Context, p *prompt, l length) ([][]int32, error) {
	seeds := make([]uint64, r.job.Variations)
	for i := range seeds {
		seeds[i] = uint64(r.job.takeSeed(i))
	}
	how := lm.Sampling{
		Guidance: float32(r.sampling.Guidance), Temperature: float32(r.sampling.Temperature),
		TopK: r.sampling.TopK, TopP: float32(r.sampling.TopP), Greedy: r.job.Greedy,
	}
	start := time.Now()
	return r.model.model.LM.Generate(ctx, r.engine.stream, p.prefix, seeds, l.total(), how, func(done, total int) {
		r.result.Timing.Steps = total
		share := float64(done) / float64(total) * decodeShare
		left := 0.0 // unknown, until steps keep their pace
		if done > unsteady {
			left = time.Since(start).Seconds() * (1 - share) / share
		}
		r.progress(StageDecode, share, left)
	})
}

// unsteady is how many first steps are no measure of the others.
const unsteady = 4

// decodeShare is the part of a job's progress that decoding is given; the codec and the files have the rest.
const decodeShare = 0.95

func (r *run) progress(stage Stage, fraction, etaSeconds float64) {
	r.report(Progress{Stage: stage, Fraction: fraction, Seconds: fraction * r.job.Seconds, ETASeconds: etaSeconds})
}

func (r *run) finish(l length) {
	res, t := &r.result, &r.result.Timing
	res.Model, res.Quantization = r.model.info.Name, r.model.info.Quantization
	res.Sampling = r.sampling
	res.Device = r.engine.options.Backend.Device().Backend
	if r.source != nil {
		res.Prompt.Seconds = float64(l.prompt) / r.model.model.FrameRate()
	}
	for _, s := range []*source{r.source, r.melody} {
		if s != nil {
			res.Warnings = append(res.Warnings, s.warnings()...)
		}
	}
	if s, f := r.source, r.outputFormat(); s != nil && r.job.Include == "full" && r.job.Bits == "" && !exactly(s.info.Bits, f.Bits) {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: its samples, %s, are written with %s bits", s.field, s.info.Encoding, f.Bits))
	}
	if r.silent {
		res.Warnings = append(res.Warnings, fmt.Sprintf("%s: the %.4g s that the model heard are silent; let the file end with the music, or hear its start (promptFrom)", r.source.field, res.Prompt.Seconds))
	}
	t.TotalMS = milliseconds(time.Since(r.started))
	if t.Steps > 0 {
		t.StepMS = math.Round(t.DecodeMS/float64(t.Steps)*1e3) / 1e3
	}
	t.Realtime = math.Round(r.job.Seconds*float64(r.job.Variations)/t.TotalMS*1e6) / 1e3
}

func (r *run) close() {
	for _, s := range []*source{r.source, r.melody} {
		if s != nil {
			s.reader.Close()
		}
	}
	for i := range r.outputs {
		r.outputs[i].abandon()
	}
	if r.model != nil {
		r.engine.letGo(r.model)
	}
}

// runError gives an error of the device or of a context its kind.
func runError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, known := err.(*Error); known {
		return err
	}
	kind, known := deviceKind(err)
	if !known {
		kind = DeviceFailed
	}
	return &Error{Kind: kind, Detail: err.Error(), Err: err}
}

// deviceKind is the kind of an error that is the device's.
func deviceKind(err error) (kind Kind, known bool) {
	switch {
	case errors.Is(err, kern.ErrMemory):
		return OutOfMemory, true
	case errors.Is(err, kern.ErrDevice):
		return DeviceFailed, true
	}
	return "", false
}

// drawSeed returns a seed that is short enough to read aloud.
func drawSeed() int64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.LittleEndian.Uint32(b[:]) >> 1)
}
