package engine

import (
	"context"
	"errors"
	"strings"
	"time"

	"segue/engine/audio"
	"segue/engine/kern"
	"segue/engine/musicgen"
	"segue/weights"
)

// resident is a model on the device, with what earlier requests left for later ones. Its insides belong to whoever has the
// device.
type resident struct {
	info    ModelInfo
	model   *musicgen.Model
	sources partSources
	shelves shelves // of the packed weights that the model uses

	// Guarded by Engine.mu, as info.PackedBytes is.
	users    int
	lastUse  time.Time
	unloaded bool // while in use: the last user frees it

	conditions *cache[contentKey, *condition]
	prefixes   *cache[contentKey, *prompt]
}

// Room for what earlier requests leave behind, in bytes of device memory for each model.
const (
	conditionCacheBytes = 64 << 20
	promptCacheBytes    = 1 << 30
)

func newResident(info ModelInfo, model *musicgen.Model) *resident {
	r := &resident{info: info, model: model, users: 1}
	r.prefixes = newCache[contentKey](promptCacheBytes, func(p *prompt) { p.prefix.Free() })
	r.conditions = newCache[contentKey](conditionCacheBytes, func(c *condition) {
		r.prefixes.remove(func(p *prompt) bool { return p.condition == c }) // they read it
		c.Free()
	})
	return r
}

func (r *resident) cachedPrompts() int { return r.prefixes.len() }
func (r *resident) cachedTexts() int   { return r.conditions.len() }

// close frees everything. Nobody may use r any more.
func (r *resident) close() error {
	r.prefixes.clear()
	r.conditions.clear()
	return errors.Join(r.model.Close(), r.shelves.close())
}

// residentKey tells resident models apart.
type residentKey struct {
	model      string
	precisions musicgen.Precisions
}

// key tells models apart: two names of one folder are one model.
func (l location) key() string {
	if l.files != nil {
		return "bundled"
	}
	return l.dir
}

// Load brings a model to the device. Loading what is there is harmless. It does not wait for a running job.
func (e *Engine) Load(ctx context.Context, o ModelOptions, report func(Progress)) (ModelInfo, error) {
	if err := ValidateTags(o, ModelOptions{}); err != nil {
		return ModelInfo{}, err
	}
	report(Progress{Stage: StageLoad})
	r, err := e.acquire(ctx, o)
	if err != nil {
		return ModelInfo{}, err
	}
	defer e.letGo(r)
	report(Progress{Stage: StageLoad, Fraction: 1})
	e.mu.Lock()
	defer e.mu.Unlock()
	return r.info, nil
}

// acquire returns the model that o names, loading it if need be, and keeps it from being freed until letGo.
func (e *Engine) acquire(ctx context.Context, o ModelOptions) (*resident, error) {
	l, err := e.find(o.Model)
	if err != nil {
		return nil, err
	}
	key := residentKey{l.key(), o.precisions()}
	if r := e.use(key); r != nil {
		return r, nil
	}
	if err := e.loading.take(ctx); err != nil { // two at a time would overrun the memory budget together
		return nil, err
	}
	defer e.loading.give()
	if r := e.use(key); r != nil {
		return r, nil
	}
	r, err := e.load(ctx, l, key)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, modelError(l, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resident[key] = r
	return r, nil
}

// use returns a resident model for acquire, or nil. One whose files have changed is let go: some of it is read where they lie.
func (e *Engine) use(key residentKey) *resident {
	e.mu.Lock()
	r := e.resident[key]
	if r != nil {
		r.users++
	}
	e.mu.Unlock()
	if r == nil || r.sources.current() {
		return r
	}
	e.discard(r)
	return nil
}

// letGo ends one use of a model. The last user of one that was unloaded meanwhile frees it.
func (e *Engine) letGo(r *resident) {
	e.mu.Lock()
	r.users--
	r.lastUse = time.Now()
	free := r.users == 0 && r.unloaded
	e.mu.Unlock()
	if free {
		_ = r.close() // only unmaps files
	}
}

// discard ends a use of a model that is no longer what was loaded: the next who needs it loads it anew.
func (e *Engine) discard(damaged *resident) {
	e.mu.Lock()
	for key, r := range e.resident {
		if r == damaged {
			delete(e.resident, key)
		}
	}
	damaged.unloaded = true
	e.mu.Unlock()
	e.letGo(damaged)
}

// load makes room and brings a model to the device, with one user.
func (e *Engine) load(ctx context.Context, l location, key residentKey) (*resident, error) {
	checkpoint, err := e.open(l)
	if err != nil {
		return nil, err
	}
	info := ModelInfo{Name: l.name, Path: l.dir, Source: l.source, Resident: true, Description: e.about(l),
		Quantization: key.precisions.Decoder.Linears.String(), KVCache: key.precisions.Decoder.Cache.String()}
	if err := fill(&info, checkpoint); err != nil {
		checkpoint.Close()
		return nil, err
	}
	sources := sourcesOf(checkpoint)
	keys := e.keysOf(checkpoint, sources, key.precisions)
	bytes := packedBytes(checkpoint, key.precisions)
	if err := e.makeRoom(ctx, bytes, func() int64 { return e.sharedBytes(keys) }); err != nil {
		checkpoint.Close()
		return nil, err
	}
	backends, shelves := e.shelve(l.name, keys)
	model, err := musicgen.LoadParts(ctx, backends, checkpoint, key.precisions)
	if err != nil {
		_ = shelves.close() // only unmaps files
		return nil, err
	}
	info.MemoryBytes = model.Bytes()
	r := newResident(info, model)
	r.sources, r.shelves = sources, shelves
	e.afterLoad(r)
	return r, nil
}

// packedBytes estimates what a checkpoint will hold on the device: matrices in the precision of their part, all else in float32.
func packedBytes(c *weights.Checkpoint, p musicgen.Precisions) int64 {
	bits := int64(0)
	for _, t := range c.Tensors() {
		precision := p.Decoder.Linears
		switch {
		case len(t.Shape) != 2:
			precision = kern.F32
		case strings.Contains(t.Name, "embed_tokens"):
			precision = p.Decoder.Embeddings
		case strings.HasPrefix(t.Name, textPart.tensors[0]):
			precision = p.Text
		case strings.HasPrefix(t.Name, codecPart.tensors[0]):
			precision = p.Codec
		}
		bits += int64(t.Len()) * bitsOf(precision, t)
	}
	return bits / 8
}

// bitsOf is how many bits a matrix's numbers take in a precision, with their scales.
func bitsOf(p kern.Precision, t *weights.Tensor) int64 {
	if p == kern.Stored && t.DType == weights.F16 {
		p = kern.F16
	}
	if bits, ok := map[kern.Precision]int64{kern.F16: 16, kern.Q8: 9, kern.Q4: 5}[p]; ok {
		return bits
	}
	return 32 // of what is stored in other ways too
}

const megabyte = 1_000_000 // bytes, as the budget is given

// makeRoom frees models that nobody uses, the longest unused first, until bytes more fit into the memory budget, of which
// those that stay may hold some already. What a running job's device may still be reading fits only when the device has let go
// of it, some steps later.
func (e *Engine) makeRoom(ctx context.Context, bytes int64, shared func() int64) error {
	budget := e.options.Memory
	if budget <= 0 {
		return nil
	}
	if bytes > budget {
		return Errorf(OutOfMemory, "model", "memory: the model needs about %d MB, want at most the budget of %d MB; quantization q4 needs least, --memory raises the budget", (bytes+megabyte-1)/megabyte, budget/megabyte)
	}
	for {
		freed, some := e.options.Backend.Freed()
		lacking := e.options.Backend.Allocated() + bytes - shared() - budget
		if lacking <= 0 {
			return nil
		}
		if lacking > freed {
			if more, err := e.freeMore(ctx); more {
				continue
			} else if err != nil {
				return err
			}
		}
		if freed == 0 {
			return nil // what is left is in use, and the budget yields to the running job
		}
		select {
		case <-some:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// freeMore frees a model that nobody uses, or waits for a save that keeps one from being such; false if there is neither.
func (e *Engine) freeMore(ctx context.Context) (bool, error) {
	if r := e.evict(); r != nil {
		_ = r.close() // only unmaps files
		return true, nil
	}
	return e.awaitSave(ctx)
}

// evict takes the longest unused model out of the resident ones; nil when all are in use.
func (e *Engine) evict() *resident {
	e.mu.Lock()
	defer e.mu.Unlock()
	var oldest *resident
	var oldestKey residentKey
	for key, r := range e.resident {
		if r.users == 0 && (oldest == nil || r.lastUse.Before(oldest.lastUse)) {
			oldest, oldestKey = r, key
		}
	}
	if oldest != nil {
		delete(e.resident, oldestKey)
	}
	return oldest
}

// Unload frees a model in all its precisions, and tells its name; one that a job is using goes when the job is done. Unloading
// what is not loaded is harmless. One whose folder is gone is known by the name or folder that it was loaded by.
func (e *Engine) Unload(_ context.Context, name string) (string, error) {
	l, missing := e.find(name)
	if missing != nil {
		l.name = name
		l.dir, _ = audio.ResolvePath(name, e.options.WorkDir, e.options.Home) // what is no path is a name
	}
	released, unused := e.release(l)
	if missing != nil {
		if len(released) == 0 {
			return "", missing
		}
		l.name = released[0].info.Name
	}
	var errs []error
	for _, r := range unused {
		errs = append(errs, r.close())
	}
	return l.name, errors.Join(errs...)
}

// release takes every precision of a model out of the resident ones, and tells which of them nobody uses.
func (e *Engine) release(l location) (released, unused []*resident) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, r := range e.resident {
		if key.model != l.key() && r.info.Name != l.name {
			continue
		}
		delete(e.resident, key)
		released = append(released, r)
		if r.unloaded = true; r.users == 0 {
			unused = append(unused, r)
		}
	}
	return released, unused
}
