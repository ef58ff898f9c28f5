package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Layout is how a model's folder is arranged.
type Layout string

const (
	HuggingFace Layout = "huggingface" // config.json, model.safetensors or pytorch_model.bin, perhaps in shards
	Audiocraft  Layout = "audiocraft"  // state_dict.bin, compression_state_dict.bin
)

// Options for Open.
type Options struct {
	// Base is a folder in Hugging Face layout that lends an audiocraft checkpoint what it lacks: the text encoder and
	// tokenizer, the codec where compression_state_dict.bin only names one, the decoder's configuration where the
	// file has none. A checkpoint in Hugging Face layout borrows no more than a tokenizer.
	Base string
}

// A Checkpoint is an open model. Whatever its layout, tensors and configuration have the Hugging Face names:
// decoder.…, enc_to_dec_proj.…, audio_enc_to_dec_proj.… (melody), text_encoder.…, audio_encoder.….
type Checkpoint struct {
	Layout Layout
	Dir    string // "" when not on disk

	folder   folder
	base     *Checkpoint // lends what this one lacks; may be nil
	tensors  map[string]*Tensor
	origins  map[string]Source // by tensor
	sources  map[string]Source // by file
	sections map[string]json.RawMessage
	mappings []*mapping
	invented *inventor // Synthetic only
}

// Open opens the model in a folder on disk. The error wraps ErrNoCheckpoint where there is none, and is a *FormatError,
// *UnsupportedError or *BaseError where there is one that cannot be used.
func Open(dir string, options Options) (*Checkpoint, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("weights: %w: %w", ErrNoCheckpoint, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("weights: %s: %w: is a file, want the folder that holds it", dir, ErrNoCheckpoint)
	}
	return open(folder{fsys: os.DirFS(dir), dir: dir}, options)
}

// OpenFS opens a model that is in memory, such as an embedded one.
func OpenFS(fsys fs.FS, options Options) (*Checkpoint, error) {
	return open(folder{fsys: fsys}, options)
}

func newCheckpoint(f folder) *Checkpoint {
	return &Checkpoint{
		Dir: f.dir, folder: f, tensors: map[string]*Tensor{}, sections: map[string]json.RawMessage{},
		origins: map[string]Source{}, sources: map[string]Source{},
	}
}

// open chooses the layout. Released folders hold both; Hugging Face wins because it is complete in itself.
func open(f folder, options Options) (*Checkpoint, error) {
	c := newCheckpoint(f)
	layout, err := f.weightFiles()
	switch {
	case err == nil && f.has(configFile):
		c.Layout, err = HuggingFace, errors.Join(c.loadHuggingFace(layout), c.borrowTokenizer(options.Base))
	case f.has(stateDictFile):
		c.Layout, err = Audiocraft, c.loadAudiocraft(options)
	case err == nil:
		err = fmt.Errorf("weights: %s: %w: weights without %s", f.dir, ErrNoCheckpoint, configFile)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// borrowTokenizer opens the base of a checkpoint that has no tokenizer of its own.
func (c *Checkpoint) borrowTokenizer(base string) (err error) {
	if base != "" && !c.folder.has("tokenizer.json") && !c.folder.has("spiece.model") {
		c.base, err = Open(base, Options{})
	}
	return err
}

// Close unmaps the files; tensors must not be used after it. It is harmless when repeated.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, m := range c.mappings {
		errs = append(errs, m.Close())
	}
	if c.base != nil {
		errs = append(errs, c.base.Close())
	}
	return errors.Join(errs...)
}

// Forget lets go of what has been read of the files, which stay mapped: what is used again comes back by itself.
func (c *Checkpoint) Forget() {
	for _, m := range c.mappings {
		if m.info != nil {
			forget(m.data)
		}
	}
	if c.base != nil {
		c.base.Forget()
	}
}

// Section returns a part of the configuration: "decoder", "text_encoder", "audio_encoder"; "" for the top level without
// these; "generation" for the generation settings in the terms of generation_config.json, not yet checked, nil if there are none.
func (c *Checkpoint) Section(name string) json.RawMessage { return c.sections[name] }

// File returns a small file that comes with the model: tokenizer.json, spiece.model. The error wraps fs.ErrNotExist
// where there is none.
func (c *Checkpoint) File(name string) ([]byte, error) {
	if c.base != nil && !c.folder.has(name) {
		return c.base.File(name)
	}
	return c.folder.read(name)
}

// Tensors are all tensors, by name; of a Synthetic checkpoint those that a Binder was asked for.
func (c *Checkpoint) Tensors() []*Tensor {
	return slices.SortedFunc(maps.Values(c.tensors), func(a, b *Tensor) int { return strings.Compare(a.Name, b.Name) })
}

// Bytes is the size of all tensors as stored.
func (c *Checkpoint) Bytes() int64 {
	total := int64(0)
	for _, t := range c.tensors {
		total += int64(len(t.Data) + len(t.Scales))
	}
	return total
}

// Parameters is how many numbers all tensors are; the scales of 8-bit matrices are not counted.
func (c *Checkpoint) Parameters() int64 {
	total := int64(0)
	for _, t := range c.tensors {
		total += int64(t.Len())
	}
	return total
}

// DType is how most of the decoder's weights are stored.
func (c *Checkpoint) DType() DType {
	var bytes [len(dtypeNames)]int
	for name, t := range c.tensors {
		if strings.HasPrefix(name, "decoder.") {
			bytes[t.DType] += len(t.Data)
		}
	}
	most := F32
	for d := range bytes {
		if bytes[d] > bytes[most] {
			most = DType(d)
		}
	}
	return most
}

// openTensors maps a weight file and reads its table of tensors, under the file's own names.
func (c *Checkpoint) openTensors(name string) (map[string]*Tensor, error) {
	if !strings.HasSuffix(name, ".safetensors") {
		root, err := c.openTorch(name)
		if err != nil {
			return nil, err
		}
		return root.tensors(), nil
	}
	data, err := c.mapWeights(name)
	if err != nil {
		return nil, err
	}
	f, err := ParseSafetensors(c.folder.path(name), data)
	if err != nil {
		return nil, err
	}
	return f.Tensors, nil
}

// openTorch maps a torch file and reads the object in it.
func (c *Checkpoint) openTorch(name string) (*dict, error) {
	data, err := c.mapWeights(name)
	if err != nil {
		return nil, err
	}
	return parseTorch(c.folder.path(name), data)
}

// mapWeights maps a file until the checkpoint is closed.
func (c *Checkpoint) mapWeights(name string) ([]byte, error) {
	m, err := c.folder.open(name)
	if err != nil {
		return nil, err
	}
	c.mappings = append(c.mappings, m)
	if m.info != nil {
		c.sources[c.folder.path(name)] = newSource(c.folder.path(name), m.info)
	}
	return m.data, nil
}

// add takes tensors of a file over under our names. Two tensors must not claim the same one.
func (c *Checkpoint) add(path string, tensors []*Tensor) error {
	for _, t := range tensors {
		if c.tensors[t.Name] != nil {
			return formatErrorf(path, "two tensors are both %s", plain(t.Name))
		}
		c.tensors[t.Name] = t
		if source, ok := c.sources[path]; ok {
			c.origins[t.Name] = source
		}
		t.mapped = t.mapped || slices.ContainsFunc(c.mappings, func(m *mapping) bool { return m.info != nil && m.holds(t.Data) })
	}
	return nil
}
