package engine

import (
	"context"
	"errors"

	"segue/engine/musicgen"
)

// resident is a model on the device, with what earlier requests left for later ones. Its insides belong to whoever has the
// device; info and the caches' counts are guarded by Engine.mu.
type resident struct {
	info  ModelInfo
	model *musicgen.Model

	conditions *cache[contentKey, *condition]
	prefixes   *cache[contentKey, *prompt]
}

// Room for what earlier requests leave behind, in bytes of device memory for each model.
const (
	conditionCacheBytes = 64 << 20
	promptCacheBytes    = 1 << 30
)

func newResident(info ModelInfo, model *musicgen.Model) *resident {
	r := &resident{info: info, model: model}
	r.prefixes = newCache[contentKey](promptCacheBytes, func(p *prompt) { p.prefix.Free() })
	r.conditions = newCache[contentKey](conditionCacheBytes, func(c *condition) {
		r.prefixes.remove(func(p *prompt) bool { return p.condition == c }) // they read it
		c.Free()
	})
	return r
}

func (r *resident) cachedPrompts() int { return r.prefixes.len() }
func (r *resident) cachedTexts() int   { return r.conditions.len() }

// close frees everything. The caller has the device.
func (r *resident) close() error {
	r.prefixes.clear()
	r.conditions.clear()
	return r.model.Close()
}

// Models lists every model that can be named, resident or not; last those of the catalog that are not on this machine.
func (e *Engine) Models(ctx context.Context) ([]ModelInfo, error) {
	var list []ModelInfo
	seen := map[string]bool{}
	for _, l := range e.locations() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		info := e.info(l)
		list, seen[info.Name] = append(list, info), true
	}
	for _, info := range e.Status().Models { // loaded by path
		if !seen[info.Name] {
			list = append(list, info)
		}
	}
	for _, p := range catalog {
		if !seen[p.repo] {
			list = append(list, p.info())
		}
	}
	return list, nil
}

// Model describes one model.
func (e *Engine) Model(_ context.Context, name string) (ModelInfo, error) {
	l, err := e.find(name)
	if p, ok := inCatalog(name); ok && err != nil {
		return p.info(), nil
	}
	if err != nil {
		return ModelInfo{}, err
	}
	return e.info(l), nil
}

func (e *Engine) info(l location) ModelInfo {
	if info, ok := e.residentInfo(l.key()); ok {
		return info
	}
	return e.describe(l)
}

func (e *Engine) residentInfo(model string) (ModelInfo, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, r := range e.resident {
		if key.model == model {
			return r.info, true
		}
	}
	return ModelInfo{}, false
}

// residentKey tells resident models apart.
type residentKey struct {
	model      string
	precisions musicgen.Precisions
}

// held returns a resident model, or nil.
func (e *Engine) held(key residentKey) *resident {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.resident[key]
}

// key tells models apart: two names of one folder are one model.
func (l location) key() string {
	if l.files != nil {
		return "bundled"
	}
	return l.dir
}

// Load brings a model to the device. Loading what is there is harmless.
func (e *Engine) Load(ctx context.Context, o ModelOptions, report func(Progress)) (ModelInfo, error) {
	if err := ValidateTags(o, ModelOptions{}); err != nil {
		return ModelInfo{}, err
	}
	var info ModelInfo
	err := e.withDevice(ctx, func() error {
		report(Progress{Stage: StageLoad})
		r, err := e.load(ctx, o)
		if err != nil {
			return err
		}
		report(Progress{Stage: StageLoad, Fraction: 1})
		e.mu.Lock()
		defer e.mu.Unlock()
		info = r.info
		return nil
	})
	return info, err
}

// load returns the model that o names, loading it if need be. The caller has the device.
func (e *Engine) load(ctx context.Context, o ModelOptions) (*resident, error) {
	l, err := e.find(o.Model)
	if err != nil {
		return nil, err
	}
	key := residentKey{l.key(), o.precisions()}
	if r := e.held(key); r != nil {
		return r, nil
	}
	checkpoint, err := e.open(l)
	if err != nil {
		return nil, modelError(l, err)
	}
	info := ModelInfo{Name: l.name, Path: l.dir, Source: l.source, Resident: true, Description: e.about(l),
		Quantization: key.precisions.Decoder.Linears.String(), KVCache: key.precisions.Decoder.Cache.String()}
	e.fill(&info, checkpoint)
	before := e.options.Backend.Allocated()
	model, err := musicgen.Load(ctx, e.options.Backend, checkpoint, key.precisions)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, modelError(l, err)
	}
	info.MemoryBytes = e.options.Backend.Allocated() - before
	r := newResident(info, model)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.resident[key] = r
	return r, nil
}

// release takes every precision of a model out of the resident ones.
func (e *Engine) release(model string) (list []*resident) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, r := range e.resident {
		if key.model == model {
			list = append(list, r)
			delete(e.resident, key)
		}
	}
	return list
}

// Unload frees a model in all its precisions, after the job that is using it. Unloading what is not loaded is harmless.
func (e *Engine) Unload(ctx context.Context, name string) error {
	l, err := e.find(name)
	if err != nil {
		return err
	}
	return e.withDevice(ctx, func() error {
		var errs []error
		for _, r := range e.release(l.key()) {
			errs = append(errs, r.close())
		}
		return errors.Join(errs...)
	})
}
