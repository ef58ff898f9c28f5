package engine

import (
	"context"

	"segue/engine/musicgen"
)

// resident is a model on the device, with what earlier requests left for later ones. Its insides belong to whoever has the
// device; info and the caches' counts are guarded by Engine.mu.
type resident struct {
	info  ModelInfo
	model *musicgen.Model

	texts    *cache[string, *condition]
	prefixes *cache[promptKey, *prompt]
}

// Room for what earlier requests leave behind, in bytes of device memory for each model.
const (
	textCacheBytes   = 64 << 20
	promptCacheBytes = 1 << 30
)

func newResident(info ModelInfo, model *musicgen.Model) *resident {
	r := &resident{info: info, model: model}
	r.prefixes = newCache[promptKey](promptCacheBytes, func(p *prompt) { p.prefix.Free() })
	r.texts = newCache[string](textCacheBytes, func(c *condition) {
		r.prefixes.remove(func(p *prompt) bool { return p.condition == c }) // they read it
		c.Free()
	})
	return r
}

func (r *resident) cachedPrompts() int { return r.prefixes.len() }
func (r *resident) cachedTexts() int   { return r.texts.len() }

// close frees everything. The caller has the device.
func (r *resident) close() error {
	r.prefixes.clear()
	r.texts.clear()
	return r.model.Close()
}

// Models lists every model that can be named, resident or not.
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
	return list, nil
}

// Model describes one model.
func (e *Engine) Model(_ context.Context, name string) (ModelInfo, error) {
	l, err := e.find(name)
	if err != nil {
		return ModelInfo{}, err
	}
	return e.info(l), nil
}

func (e *Engine) info(l location) ModelInfo {
	if r := e.held(l); r != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		return r.info
	}
	return e.describe(l)
}

// held returns the resident model of a location, or nil.
func (e *Engine) held(l location) *resident {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.resident[l.key()]
}

// key tells models apart: two names of one folder are one model.
func (l location) key() string {
	if l.files != nil {
		return "bundled"
	}
	return l.dir
}

// Load brings a model to the device. Loading what is there is harmless.
func (e *Engine) Load(ctx context.Context, name string, report func(Progress)) (ModelInfo, error) {
	var info ModelInfo
	err := e.withDevice(ctx, func() error {
		report(Progress{Stage: StageLoad})
		r, err := e.load(ctx, name)
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

// load returns the model called name, loading it if need be. The caller has the device.
func (e *Engine) load(ctx context.Context, name string) (*resident, error) {
	l, err := e.find(name)
	if err != nil {
		return nil, err
	}
	if r := e.held(l); r != nil {
		return r, nil
	}
	checkpoint, err := e.open(l)
	if err != nil {
		return nil, modelError(l, err)
	}
	info := ModelInfo{Name: l.name, Path: l.dir, Source: l.source, Resident: true, Quantization: "none"}
	if l.source == "bundled" {
		info.Description = e.options.Bundled.Description
	}
	e.fill(&info, checkpoint)
	before := e.options.Backend.Allocated()
	model, err := musicgen.Load(ctx, e.options.Backend, checkpoint)
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
	e.resident[l.key()] = r
	return r, nil
}

// Unload frees a model, after the job that is using it. Unloading what is not loaded is harmless.
func (e *Engine) Unload(ctx context.Context, name string) error {
	l, err := e.find(name)
	if err != nil {
		return err
	}
	return e.withDevice(ctx, func() error {
		e.mu.Lock()
		r := e.resident[l.key()]
		delete(e.resident, l.key())
		e.mu.Unlock()
		if r == nil {
			return nil
		}
		return r.close()
	})
}
