// Package engine runs jobs: it finds and holds models, and takes one request from an audio file to audio files.
//
//	Job ─► read prompt ─► codes ─┐
//	       text ─► condition ────┴─► prefill ─► steps ─► codes ─► audio ─► files ─► Result
//
// It knows no backend (it is given one) and no protocol. One job at a time has the device; everything that only looks
// (Status, Models, Probe) never waits for it.
package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"segue/engine/kern"
	"segue/weights/hub"
	"segue/weights/packed"
)

// Options are what an Engine is given once.
type Options struct {
	Backend   kern.Backend
	Choice    string     // why it is this backend: for Status
	ModelsDir string     // folder of model folders; "" for none
	Hub       hub.Config // where the Hugging Face cache is, and how to fill it
	Base      string     // model that supplies text encoder and codec to audiocraft checkpoints; "" to look for the published one
	Packed    string     // folder that keeps packed weights from one start to the next; "" for none
	Memory    int64      // bytes that models may hold together; 0 for no limit
	WorkDir   string     // what relative paths start from
	Home      string     // what ~ means
	Bundled   Bundled    // used when a job names no model
	Log       *slog.Logger
}

// Bundled is the model that is part of the binary.
type Bundled struct {
	Name, Description string
	Files             fs.FS
}

// Engine holds models and runs jobs.
type Engine struct {
	options Options
	stream  kern.Stream

	device  turn // of the job that has the device: guards stream and the models' insides
	loading turn // of whoever brings a model to the device

	mu       sync.Mutex // guards resident and its models' uses, and writing
	resident map[residentKey]*resident
	writing  int           // packed weights of so many loads
	written  chan struct{} // one of them is done; for whoever has the turn of loading

	packed      *packed.Cache   // nil: nothing is kept
	packedBytes atomic.Int64    // that it held when last looked at
	ending      chan struct{}   // closed by Close
	saving      context.Context // of the saves
	stopSaving  context.CancelCauseFunc
}

// Open makes an engine. It loads nothing: models come with the first job that needs them.
func Open(o Options) (*Engine, error) {
	if o.WorkDir == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		o.WorkDir = dir
	}
	stream, err := o.Backend.Stream()
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{options: o, stream: stream, device: newTurn(), loading: newTurn(), written: make(chan struct{}, 1), resident: map[residentKey]*resident{}, ending: make(chan struct{})}
	e.saving, e.stopSaving = context.WithCancelCause(context.Background())
	if o.Packed != "" {
		e.packed = packed.NewCache(o.Packed, o.Log)
		e.packedBytes.Store(e.packed.Bytes())
	}
	return e, nil
}

// Close waits for the running job and load, and a little for packed weights that are being written; it unloads
// everything and closes the backend.
func (e *Engine) Close() error {
	defer e.endSaves()()
	patient := context.Background()
	_ = e.device.take(patient)
	defer e.device.give()
	_ = e.loading.take(patient)
	defer e.loading.give()
	for some := true; some; { // a load that was under way may have begun more
		some, _ = e.awaitSave(patient)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for key, r := range e.resident {
		errs = append(errs, r.close())
		delete(e.resident, key)
	}
	return errors.Join(append(errs, e.stream.Close(), e.options.Backend.Close())...)
}

// turn belongs to one at a time; who waits for it may give up.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn; if ctx ends first, it returns the cause.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// Status tells what is held. It never waits for a job.
func (e *Engine) Status() Status {
	device := e.options.Backend.Device()
	s := Status{
		Device: device.Backend, DeviceDetail: device.Name + ", " + device.Detail, DeviceChoice: e.options.Choice,
		MemoryBytes: residentMemory(), DeviceBytes: e.options.Backend.Allocated(), PackedBytes: e.packedBytes.Load(), Models: []ModelInfo{},
	}
	if e.packed != nil {
		s.PackedFolder = e.packed.Dir()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.resident {
		s.Models = append(s.Models, r.info)
		s.CachedPrompts += r.cachedPrompts()
		s.CachedTexts += r.cachedTexts()
	}
	return s
}

// withDevice runs fn while no other job has the device, and leaves the stream usable whatever happens in it.
func (e *Engine) withDevice(ctx context.Context, fn func() error) error {
	if err := e.device.take(ctx); err != nil {
		return err
	}
	defer e.device.give()
	defer func() { _ = e.stream.Reset() }() // forget a failed job's error; after a good one there is nothing to forget
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fn()
}
