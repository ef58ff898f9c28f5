package engine

// What can be said of models: of those on the device, of those that lie here, and of the catalog's.

import (
	"context"
	"errors"
	"time"

	"segue/engine/musicgen"
	"segue/weights"
	"segue/weights/packed"
)

// Models lists every model that can be named, resident or not; last those of the catalog that are not on this machine.
func (e *Engine) Models(ctx context.Context) ([]ModelInfo, error) {
	var list []ModelInfo
	seen := map[string]bool{}
	entries := e.countPacked()
	for _, l := range e.locations() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		info := e.info(l, entries)
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
	return e.info(l, e.countPacked()), nil
}

// info describes a model; entries are those of the cache of packed weights.
func (e *Engine) info(l location, entries []packed.Entry) ModelInfo {
	if info, ok := e.residentInfo(l.key()); ok {
		return info
	}
	return e.describe(l, entries)
}

// residentInfo describes a model that is resident: of several precisions, the one that was used last.
func (e *Engine) residentInfo(model string) (info ModelInfo, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var last time.Time
	for key, r := range e.resident {
		if key.model == model && (!ok || r.lastUse.After(last)) {
			info, ok, last = r.info, true, r.lastUse
		}
	}
	return info, ok
}

// describe fills in what a model's files tell about it, the reason included when it cannot be used.
func (e *Engine) describe(l location, entries []packed.Entry) ModelInfo {
	info := ModelInfo{Name: l.name, Path: l.dir, Source: l.source, Description: e.about(l)}
	c, err := e.open(l)
	if err != nil {
		info.Problem = err.Error()
		return info
	}
	defer c.Close()
	if err := fill(&info, c); err != nil {
		info.Problem = err.Error()
	}
	info.PackedBytes = packedOf(entries, sourcesOf(c))
	return info
}

// about is what people should know of a model beside what its files tell.
func (e *Engine) about(l location) string {
	if l.source == "bundled" {
		return e.options.Bundled.Description
	}
	if p, ok := inCatalog(l.name); ok && l.source == "huggingface" {
		return p.about()
	}
	return ""
}

// fill says what a checkpoint tells of its model. The error is why that cannot be used.
func fill(info *ModelInfo, c *weights.Checkpoint) error {
	info.Layout, info.Bytes, info.Parameters = string(c.Layout), c.Bytes(), c.Parameters()
	config, err := musicgen.ParseConfig(c)
	sampling, samplingErr := samplingOf(c)
	if err := errors.Join(err, samplingErr); err != nil {
		return err
	}
	info.Sampling = &sampling
	info.Channels, info.SampleRate = config.Decoder.Channels, config.Codec.SamplingRate
	frameRate := float64(config.Codec.SamplingRate) / float64(config.Codec.Hop())
	info.MaxSeconds = float64(config.Decoder.MaxFrames(frameRate)) / frameRate
	return nil
}
