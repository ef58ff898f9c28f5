package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The audiocraft layout, in which fine-tunes come: two torch files, each a dict of best_state (the tensors) and xp.cfg
// (the training configuration as YAML text).
//
//	state_dict.bin              the decoder and its projections; never the text encoder
//	compression_state_dict.bin  the codec, or a pointer {"pretrained": "facebook/encodec_32khz"}
//
// Configurations are rewritten in Hugging Face's terms (xpcfg.go). What the files lack comes from a base.

const (
	stateDictFile   = "state_dict.bin"
	compressionFile = "compression_state_dict.bin"
)

func (c *Checkpoint) loadAudiocraft(options Options) error {
	decoder, err := c.readState(stateDictFile)
	if err != nil {
		return err
	}
	codec, err := c.readCodec()
	if err != nil {
		return err
	}
	if err := c.add(decoder.path, decoderFromAudiocraft(decoder.tensors)); err != nil {
		return err
	}
	if err := errors.Join(decoder.refuseDecoder(), codec.refuseCodec()); err != nil {
		return err
	}
	if err := c.openBase(options.Base, codec == nil); err != nil {
		return err
	}
	if err := c.borrow("text_encoder"); err != nil {
		return err
	}
	if codec == nil {
		err = c.borrow("audio_encoder")
	} else {
		err = c.add(codec.path, codecFromAudiocraft(codec.tensors))
	}
	if err != nil {
		return err
	}
	return errors.Join(c.describeDecoder(decoder), c.describeCodec(codec))
}

// A state is one audiocraft file: tensors under audiocraft's names and the settings they were trained with.
type state struct {
	path     string
	tensors  map[string]*Tensor
	settings *settings // nil where the file has none
}

func (c *Checkpoint) readState(file string) (*state, error) {
	root, err := c.openTorch(file)
	if err != nil {
		return nil, err
	}
	return newState(c.folder.path(file), root)
}

func newState(path string, root *dict) (*state, error) {
	best, ok := root.get("best_state").(*dict)
	if !ok {
		best = root // some trainers save the bare tensors
	}
	s := &state{path: path, tensors: best.tensors()}
	if len(s.tensors) == 0 {
		return nil, formatErrorf(path, "holds no best_state with tensors")
	}
	switch config := root.get("xp.cfg").(type) {
	case nil:
		return s, nil
	case string:
		var err error
		if s.settings, err = parseSettings(config); err != nil {
			return nil, formatErrorf(path, "xp.cfg: %v", err)
		}
		return s, nil
	default:
		return nil, &UnsupportedError{path, []string{"xp.cfg is a Python object; export the checkpoint with audiocraft.utils.export"}}
	}
}

// readCodec returns nil where the codec is a released one that a base has.
func (c *Checkpoint) readCodec() (*state, error) {
	if !c.folder.has(compressionFile) {
		return nil, nil
	}
	root, err := c.openTorch(compressionFile)
	if err != nil {
		return nil, err
	}
	path := c.folder.path(compressionFile)
	switch pointer := root.get("pretrained").(type) {
	case nil:
		return newState(path, root)
	case string:
		if pointer == "encodec_32khz" || strings.HasSuffix(pointer, "/encodec_32khz") {
			return nil, nil
		}
		return nil, &UnsupportedError{path, []string{fmt.Sprintf("pretrained: got codec %.80q, want facebook/encodec_32khz", pointer)}}
	default:
		return nil, formatErrorf(path, "pretrained: got %T, want the name of a codec", pointer)
	}
}

// openBase opens the folder that lends what is lacking, and says which one would do where none was given.
func (c *Checkpoint) openBase(dir string, needCodec bool) error {
	if dir == "" {
		parts := "text encoder and tokenizer"
		if needCodec {
			parts = "text encoder, tokenizer and codec"
		}
		return &BaseError{Path: c.Dir, Parts: parts, Want: c.released()}
	}
	base, err := Open(dir, Options{})
	var wantsBase *BaseError
	if errors.As(err, &wantsBase) {
		return &UnsupportedError{dir, []string{"as a base: is an audiocraft checkpoint itself, want Hugging Face layout"}}
	}
	if err != nil {
		return fmt.Errorf("base: %w", err)
	}
	c.base = base
	return nil
}

// released names the model that a fine-tune of this shape began with.
func (c *Checkpoint) released() string {
	const first = "decoder.model.decoder.embed_tokens.0.weight"
	sizes := map[int]string{1024: "small", 1536: "medium", 2048: "large"}
	name, size := "facebook/musicgen-", "small"
	if t := c.tensors[first]; t != nil && len(t.Shape) == 2 && sizes[t.Shape[1]] != "" {
		size = sizes[t.Shape[1]]
	}
	if c.tensors["decoder.model.decoder.embed_tokens.4.weight"] != nil {
		name += "stereo-"
	}
	if c.tensors["audio_enc_to_dec_proj.weight"] != nil {
		return name + strings.TrimSuffix("melody-"+size, "-medium")
	}
	return name + size
}

// borrow takes a sub-model from the base, tensors and section.
func (c *Checkpoint) borrow(section string) error {
	tensors := []*Tensor{}
	for name, t := range c.base.tensors {
		if strings.HasPrefix(name, section+".") {
			tensors = append(tensors, t)
		}
	}
	c.sections[section] = c.base.sections[section]
	err := c.add(c.base.Dir, tensors)
	for _, t := range tensors {
		if source, ok := c.base.origins[t.Name]; ok {
			c.origins[t.Name] = source
		}
	}
	return err
}

// describeDecoder fills the sections of the decoder, the top level and the generation defaults.
func (c *Checkpoint) describeDecoder(s *state) error {
	if s.settings == nil {
		if c.base.released() != c.released() {
			return &BaseError{Path: c.Dir, Parts: "xp.cfg", Want: c.released()}
		}
		for _, name := range []string{"", "decoder", "generation"} {
			c.sections[name] = c.base.sections[name]
		}
		return nil
	}
	var base decoderConfig
	if err := json.Unmarshal(c.base.sections["decoder"], &base); err != nil {
		return formatErrorf(c.base.folder.path(configFile), "decoder: %v", err)
	}
	config := s.settings.decoderConfig(base)
	top := s.settings.topConfig()
	generation := s.settings.generationConfig()
	return errors.Join(s.err(), c.describe("decoder", config), c.describe("", top), c.describe("generation", generation))
}

func (c *Checkpoint) describeCodec(s *state) error {
	if s == nil {
		return nil
	}
	if s.settings == nil {
		c.sections["audio_encoder"] = c.base.sections["audio_encoder"]
		return nil
	}
	config := s.settings.codecConfig()
	return errors.Join(s.err(), c.describe("audio_encoder", config))
}

func (c *Checkpoint) describe(section string, config any) error {
	text, err := json.Marshal(config)
	c.sections[section] = text
	return err
}

// err lists the problems met so far.
func (s *state) err() error {
	if s.settings == nil || len(s.settings.problems) == 0 {
		return nil
	}
	return &UnsupportedError{s.path, s.settings.problems}
}
