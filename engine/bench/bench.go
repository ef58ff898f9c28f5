// Package bench measures what a request costs on this machine in each of the ways to hold a model, and what each way costs
// in quality; it ends with a recommendation.
//
//	Options ─► reference (weights as stored, float32 cache) ─► distributions, audio ─┐
//	        ─► per threads ─► per quantization and cache ─► load, stages, steps ─────┼─► Report ─► table, JSON, HTML
//	                             └─► per guidance and variations ─► a whole request ─┘
//
// Every figure is a median of repeats after a warm-up. Bytes are set against a plain read of memory made between the same
// measurements, because shared machines change their speed from minute to minute. Nothing is written before all is measured.
package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"time"

	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
	"segue/weights"
)

// Options say what to measure.
type Options struct {
	Model string // what reports call the model, or
	Shape string // the published shape whose weights are random: speed is measured then, quality is not
	// Open opens the model's checkpoint afresh, OpenBackend a device with so many threads, 0 for the device's own choice.
	Open        func() (*weights.Checkpoint, error)
	OpenBackend func(threads int) (kern.Backend, error)

	Clip          string // audio file to continue; "" for one made up
	PromptSeconds float64
	Seconds       float64 // of new audio in a whole request
	Text          string
	Seed          int64
	Repeats       int
	Contexts      []int // where steps are measured, in columns; nil: after the prompt, in the middle and at the end of the window
	Matrix        Matrix

	Version  string
	Progress func(done, total int, what string)
}

// Validate names the first option that is out of range.
func (o *Options) Validate() error {
	for _, limit := range []struct {
		name            string
		got, least, top float64
	}{
		{"prompt-seconds", o.PromptSeconds, 0.1, 3600}, {"seconds", o.Seconds, 0.1, 3600}, {"repeats", float64(o.Repeats), 1, 1000},
		{"seed", float64(o.Seed), 0, 1 << 53},
	} {
		if !(limit.got >= limit.least && limit.got <= limit.top) {
			return fmt.Errorf("bench: %s: got %g, want %g to %g", limit.name, limit.got, limit.least, limit.top)
		}
	}
	if o.Text == "" {
		return errors.New("bench: text: got none, want a description: guidance needs one")
	}
	for _, n := range o.Contexts {
		if n < shortestContext { // the most is the model's to say
			return fmt.Errorf("bench: context: got %d, want %d or more", n, shortestContext)
		}
	}
	return o.Matrix.validate()
}

// bench is one run under way.
type bench struct {
	Options
	report    *Report
	reference *reference // nil for a shape
	done      int        // of the whole requests
}

// Run measures every combination of the matrix. A cancelled run returns context.Cause(ctx).
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b := &bench{Options: o, report: &Report{Version: o.Version, Settings: o.settings()}}
	err := b.run(ctx)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	b.report.Recommendation = recommend(b.report.Variants)
	return b.report, nil
}

func (b *bench) run(ctx context.Context) error {
	for i, threads := range b.Matrix.Threads {
		backend, err := b.OpenBackend(threads)
		if err != nil {
			return err
		}
		err = b.onBackend(ctx, backend, i == 0)
		if err = errors.Join(err, backend.Close()); err != nil {
			return err
		}
	}
	return nil
}

// onBackend measures all that one device and thread count has to be measured for. On the first, quality is measured and takes
// are kept: they do not depend on threads.
func (b *bench) onBackend(ctx context.Context, backend kern.Backend, first bool) error {
	if first {
		b.report.Machine = machineOf(backend.Device())
		if b.Shape == "" {
			if err := b.makeReference(ctx, backend); err != nil {
				return fmt.Errorf("the reference: %w", err)
			}
		}
	}
	for i, pair := range b.Matrix.pairs() {
		debug.FreeOSMemory() // what the last model left is not the next one's memory
		if err := b.onModel(ctx, backend, pair, first, i == 0); err != nil {
			return fmt.Errorf("%s with a %s cache: %w", pair.linears, pair.cache, err)
		}
	}
	return nil
}

// session is a loaded model and what its measurements share.
type session struct {
	*bench
	backend kern.Backend
	stream  kern.Stream
	model   *musicgen.Model
	prompt  *prompt        // what it continues
	places  []int          // where steps are measured, in columns
	read    func() float64 // bytes per second of a plain read, 0 where the device cannot tell

	setting  Setting // without guidance and variations
	loadPeak int64   // peak memory of loading
}

// open loads the model in the given precisions and prepares its prompt.
func (b *bench) open(ctx context.Context, backend kern.Backend, p musicgen.Precisions) (s *session, took time.Duration, err error) {
	s = &session{bench: b, backend: backend, read: func() float64 { return 0 }}
	start := time.Now()
	checkpoint, err := b.Open()
	if err != nil {
		return nil, 0, err
	}
	if s.model, err = musicgen.Load(ctx, backend, checkpoint, p); err != nil {
		return nil, 0, err
	}
	took = time.Since(start)
	if s.stream, err = backend.Stream(); err == nil {
		s.prompt, err = b.readPrompt(s.model)
	}
	if err == nil {
		b.report.Settings.PromptSeconds = float64(s.prompt.frames) / s.model.FrameRate() // a clip may have less than was asked
		err = s.fits()
	}
	if err == nil {
		s.places, err = s.contexts()
	}
	if err != nil {
		return nil, 0, errors.Join(err, s.close())
	}
	return s, took, nil
}

func (s *session) close() error {
	var err error
	if s.stream != nil {
		err = s.stream.Close()
	}
	return errors.Join(err, s.model.Close())
}

// onModel measures one quantization and cache: whole requests first, while the process holds nothing else.
func (b *bench) onModel(ctx context.Context, backend kern.Backend, pair precisionPair, keep, once bool) (err error) {
	resetPeakMemory()
	held := backend.Allocated()
	b.tell("loading %s", pair)
	s, load, err := b.open(ctx, backend, pair.precisions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	device := backend.Device()
	s.setting = Setting{Quantization: pair.linears.String(), KVCache: pair.cache.String(), Threads: device.Threads}
	s.loadPeak = peakMemory(backend.Allocated())
	variants, err := s.requests(ctx, keep)
	if err != nil {
		return err
	}
	release, err := s.openProbe()
	if err != nil {
		return err
	}
	defer release()
	s.add(Row{Setting: s.setting, Stage: StageLoad, Bytes: backend.Allocated() - held}, load)
	if once { // no part of these depends on the decoder's precisions
		if err := s.measureEnds(ctx); err != nil {
			return err
		}
	}
	for _, list := range variants {
		if err := s.measureDecoder(ctx, list); err != nil {
			return err
		}
		for _, v := range list {
			v.LoadMS = milliseconds(load)
			b.report.Variants = append(b.report.Variants, *v)
			b.done++
		}
	}
	return nil
}

// openProbe finds out how the device's memory is read, where the device can tell.
func (s *session) openProbe() (release func(), err error) {
	prober, ok := s.backend.(kern.Prober)
	if !ok {
		return func() {}, nil
	}
	read, release, err := prober.ReadProbe()
	if err != nil {
		return nil, err
	}
	read() // the first read is slower
	s.read = read
	return release, nil
}

// tell reports progress.
func (b *bench) tell(format string, args ...any) {
	b.Progress(b.done, b.Matrix.size(), fmt.Sprintf(format, args...))
}

// sampling is how codes are drawn: settings of the bench's own, whatever the checkpoint's are.
func sampling(guidance float64) lm.Sampling {
	return lm.Sampling{Guidance: float32(guidance), Temperature: 1, TopK: 250, TopP: 1}
}

func machineOf(d kern.Device) Machine {
	return Machine{
		Device: d.Backend, Name: d.Name, Detail: d.Detail, MemoryBytes: d.Memory,
		Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), Time: time.Now().UTC().Truncate(time.Second),
	}
}

func milliseconds(d time.Duration) float64 { return round(d.Seconds()*1e3, 4) }

// round keeps digits digits after the point: reports are read by people too.
func round(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}
