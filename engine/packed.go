package engine

// Packed weights: each part of a model has a shelf in the cache of packed files, so that it is packed once. A device that
// cannot hand its weights out, a model that is in no file, an engine without a folder for it: all work as without.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"segue/engine/kern"
	"segue/engine/musicgen"
	"segue/weights"
	"segue/weights/packed"
)

const (
	saveLimit = 5 * time.Second        // that Close waits for what is being written
	grace     = 300 * time.Millisecond // after a load in which nothing is done that would slow down the first steps
)

// A modelPart is what one file of the cache holds: what fine-tunes of one base share is a part of its own.
type modelPart struct {
	name     string
	tensors  []string // prefixes of their names
	sections []string // of the configuration
	hot      bool     // read in every step
}

var (
	textPart    = modelPart{"text", []string{"text_encoder."}, []string{"text_encoder"}, false}
	codecPart   = modelPart{"codec", []string{"audio_encoder."}, []string{"audio_encoder"}, false}
	decoderPart = modelPart{"decoder", []string{"decoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj."}, []string{"decoder", ""}, true}
)

// shelves are those of one model, by part; some may be missing.
type shelves map[string]*packed.Shelf

// sound returns when a part is known to be what was packed, and an error where it is not: parts that not every step needs are
// looked through after the load, which does not wait for that.
func (s shelves) sound(part modelPart) error {
	if shelf := s[part.name]; shelf != nil {
		return shelf.Sound()
	}
	return nil
}

// A partKey is what a part's file is looked up by.
type partKey struct {
	modelPart
	key packed.Key
}

// keysOf are those of the parts of a model that can be kept.
func (e *Engine) keysOf(c *weights.Checkpoint, sources partSources, p musicgen.Precisions) (keys []partKey) {
	packer, ok := e.options.Backend.(kern.Packer)
	if !ok || e.packed == nil {
		return nil
	}
	decoder := p.Decoder.Linears.String()
	if p.Decoder.Embeddings != kern.Stored {
		decoder += "+" + p.Decoder.Embeddings.String()
	}
	precisions := map[string]string{textPart.name: p.Text.String(), codecPart.name: p.Codec.String(), decoderPart.name: decoder}
	for _, part := range []modelPart{textPart, codecPart, decoderPart} {
		if from := sources[part.name]; len(from) > 0 {
			keys = append(keys, partKey{part, packed.Key{
				Layout: packer.Layout(), Part: part.name, Precision: precisions[part.name], Config: digest(c, part), Sources: from,
			}})
		}
	}
	return keys
}

// shelve opens the shelves of a model, and gives each part the backend that uses its own.
func (e *Engine) shelve(name string, keys []partKey) (musicgen.Backends, shelves) {
	all := shelves{}
	for _, k := range keys {
		all[k.name] = e.packed.Shelf(k.key, name, k.hot)
	}
	backend := func(part modelPart) kern.Backend {
		if shelf := all[part.name]; shelf != nil {
			return e.options.Backend.(kern.Packer).Shelve(shelf)
		}
		return e.options.Backend
	}
	return musicgen.Backends{Text: backend(textPart), Codec: backend(codecPart), Decoder: backend(decoderPart)}, all
}

// sharedBytes is what models that are here hold already of one that comes. A device with memory of its own shares nothing.
func (e *Engine) sharedBytes(keys []partKey) (total int64) {
	if packer, ok := e.options.Backend.(kern.Packer); !ok || !packer.InPlace() {
		return 0
	}
	for _, k := range keys {
		total += e.packed.OpenBytes(k.key)
	}
	return total
}

// digest stands for the configuration of a part.
func digest(c *weights.Checkpoint, part modelPart) string {
	sum := sha256.New()
	for _, section := range part.sections {
		sum.Write(c.Section(section))
		sum.Write([]byte{0})
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

func (s shelves) close() error {
	var errs []error
	for _, shelf := range s {
		errs = append(errs, shelf.Close())
	}
	return errors.Join(errs...)
}

// afterLoad does, beside whatever comes next, what a load does not wait for: it looks through the parts that came from the
// cache, moves what every step reads into large pages or, where the device has copied all, lets go of the memory, writes
// the parts that were packed, and notes what the cache holds. The model stays until that is done.
func (e *Engine) afterLoad(r *resident) {
	if e.packed == nil {
		return
	}
	e.mu.Lock()
	r.users++
	e.writing++
	e.mu.Unlock()
	go func() {
		defer e.endSave()
		e.pause(grace)
		for _, part := range []modelPart{codecPart, textPart} {
			_ = r.shelves.sound(part) // who uses it hears of it
		}
		for _, shelf := range r.shelves {
			if e.options.Backend.(kern.Packer).InPlace() {
				shelf.Settle()
			} else {
				shelf.Forget()
			}
			_ = shelf.Save(e.saving) // an error is in the log, and does no harm
		}
		e.letGo(r)
		entries := e.countPacked()
		e.mu.Lock()
		defer e.mu.Unlock()
		r.info.PackedBytes = packedOf(entries, r.sources)
	}()
}

func (e *Engine) endSave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.writing--
	select {
	case e.written <- struct{}{}:
	default: // nobody has heard of the one before either
	}
}

// awaitSave waits until the writing of one load's packed weights has ended: its model may be free then. It says whether there
// was one.
func (e *Engine) awaitSave(ctx context.Context) (some bool, err error) {
	e.mu.Lock()
	none := e.writing == 0 && len(e.written) == 0
	e.mu.Unlock()
	if none {
		return false, nil
	}
	select {
	case <-e.written:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// pause waits, unless the engine is being closed.
func (e *Engine) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.ending:
	}
}

// endSaves has what is being written end soon; the limit holds until stop is called.
func (e *Engine) endSaves() (stop func()) {
	close(e.ending)
	timer := time.AfterFunc(saveLimit, func() { e.stopSaving(errors.New("segue is ending")) })
	return func() { timer.Stop() }
}

// countPacked notes how much the cache holds, for Status, which must not wait for a disk.
func (e *Engine) countPacked() []packed.Entry {
	entries, total := e.packedEntries(forever), int64(0)
	for _, entry := range entries {
		total += entry.Bytes
	}
	e.packedBytes.Store(total)
	return entries
}

const forever = time.Duration(1<<63 - 1)

// packedEntries lists the cache; what has not been used for so long has a reason to go.
func (e *Engine) packedEntries(unused time.Duration) []packed.Entry {
	if e.packed == nil {
		return nil
	}
	layout := ""
	if packer, ok := e.options.Backend.(kern.Packer); ok {
		layout = packer.Layout()
	}
	return e.packed.Entries(layout, unused)
}

// partSources are the files of each part of a model.
type partSources map[string][]weights.Source

func sourcesOf(c *weights.Checkpoint) partSources {
	sources := partSources{}
	for _, part := range []modelPart{textPart, codecPart, decoderPart} {
		sources[part.name] = c.Sources(part.tensors...)
	}
	return sources
}

// current says whether all files are still the same.
func (p partSources) current() bool {
	for _, sources := range p {
		for _, source := range sources {
			if !source.Current() {
				return false
			}
		}
	}
	return true
}

// packedOf is how much of the cache was made of a model's files.
func packedOf(entries []packed.Entry, sources partSources) (total int64) {
	for _, entry := range entries {
		if entry.Of(sources[entry.Part]) {
			total += entry.Bytes
		}
	}
	return total
}
