// Package musicgen puts a checkpoint's three models together: text encoder (t5), codec (encodec) and decoder (lm).
//
//	text ──► Condition ─┐
//	audio ─► Encode ────┴─► lm.Prefill ─► lm.Generate ──► Decode ──► audio
//
// Audio here is planar at the model's rate, one slice per channel. A stereo model is two passes of the mono codec whose
// codebooks are interleaved left, right, left, right; nothing else in segue knows that.
package musicgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"segue/engine/encodec"
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/t5"
	"segue/weights"
)

// maxTokens bounds a text: T5 was trained on 512 tokens, and its attention costs their square.
const maxTokens = 512

// Config is the checked configuration of all three parts.
type Config struct {
	Decoder lm.Config
	Text    t5.Config
	Codec   encodec.Config
}

// ParseConfig reads and checks a checkpoint's configuration without touching its tensors.
func ParseConfig(c *weights.Checkpoint) (Config, error) {
	var top struct {
		ModelType string `json:"model_type"`
	}
	if raw := c.Section(""); raw != nil {
		if err := json.Unmarshal(raw, &top); err != nil {
			return Config{}, fmt.Errorf("config.json: %w", err)
		}
	}
	if top.ModelType != "" && top.ModelType != "musicgen" && top.ModelType != "musicgen_melody" {
		return Config{}, fmt.Errorf("config.json: model_type: got %q, want musicgen or musicgen_melody", top.ModelType)
	}
	var config Config
	var errText, errCodec, errDecoder error
	config.Text, errText = t5.ParseConfig(c.Section("text_encoder"))
	config.Codec, errCodec = encodec.ParseConfig(c.Section("audio_encoder"))
	config.Decoder, errDecoder = lm.ParseConfig(c.Section("decoder"), c.Section(""), config.Text.DModel)
	if err := errors.Join(errText, errCodec, errDecoder); err != nil {
		return Config{}, err
	}
	return config, config.fit()
}

// fit checks that decoder and codec speak of the same codes.
func (c Config) fit() error {
	if got, want := c.Decoder.Codebooks, c.Codec.Codebooks*c.Decoder.Channels; got != want {
		return fmt.Errorf("config.json: decoder.num_codebooks: got %d, want %d (%d codebooks of the codec for each of %d channels)",
			got, want, c.Codec.Codebooks, c.Decoder.Channels)
	}
	if c.Decoder.Entries != c.Codec.CodebookSize {
		return fmt.Errorf("config.json: decoder.vocab_size: got %d, want the codec's codebook_size %d", c.Decoder.Entries, c.Codec.CodebookSize)
	}
	return nil
}

// Precisions are those of a model's parts on the device.
type Precisions struct {
	Decoder lm.Precisions
	Text    kern.Precision
	Codec   kern.Precision // of the LSTM
}

// Exact keeps every weight as stored and the cache in float32.
var Exact = Precisions{Decoder: lm.Precisions{Cache: kern.F32}}

// Auto is what auto stands for: what segue bench recommends on the machines at hand; SPEED.md has the measurements behind it.
var Auto = Precisions{
	Decoder: lm.Precisions{Linears: kern.Q8, Cache: kern.Q8},
	Codec:   kern.F16, // its rounding noise is 87 dB below the sound
}

// Model is a checkpoint ready to run on a device. One goroutine at a time may use it.
type Model struct {
	Config    Config
	Tokenizer *t5.Tokenizer // nil where the checkpoint has none: it continues audio all the same
	Text      *t5.Encoder
	Codec     *encodec.Codec
	LM        *lm.Model

	checkpoint *weights.Checkpoint
}

// Load binds and uploads a checkpoint. The model owns it from here on, also when Load fails. Missing, extra and
// wrong-shaped tensors of all parts are reported in one error.
func Load(ctx context.Context, backend kern.Backend, c *weights.Checkpoint, p Precisions) (*Model, error) {
	return LoadParts(ctx, Backends{backend, backend, backend}, c, p)
}

// Backends are one device as each part of a model sees it: perhaps with a shelf of its own for packed weights.
type Backends struct{ Text, Codec, Decoder kern.Backend }

// LoadParts is Load for a device with shelves.
func LoadParts(ctx context.Context, backends Backends, c *weights.Checkpoint, p Precisions) (*Model, error) {
	m := &Model{checkpoint: c}
	if err := m.load(ctx, backends, c, p); err != nil {
		m.Close()
		return nil, err
	}
	c.Forget()
	return m, nil
}

func (m *Model) load(ctx context.Context, backends Backends, c *weights.Checkpoint, p Precisions) (err error) {
	if m.Config, err = ParseConfig(c); err != nil {
		return err
	}
	tokenizer := make(chan error, 1) // some 40 ms for T5's, beside all else
	go func() {
		var err error
		m.Tokenizer, err = openTokenizer(c)
		tokenizer <- err
	}()
	defer func() { err = errors.Join(err, <-tokenizer) }()
	binder := c.Bind()
	text := t5.Bind(binder, m.Config.Text)
	codec := encodec.Bind(binder, m.Config.Codec)
	decoder := lm.Bind(binder, m.Config.Decoder)
	if err = binder.Err(); err != nil {
		return err
	}
	if m.Text, err = t5.Load(ctx, backends.Text, m.Config.Text, text, p.Text); err != nil {
		return err
	}
	if m.Codec, err = encodec.Load(ctx, backends.Codec, m.Config.Codec, codec, p.Codec); err != nil {
		return err
	}
	m.LM, err = lm.Load(ctx, backends.Decoder, m.Config.Decoder, decoder, p.Decoder)
	return err
}

// Bytes is the device memory that the weights hold.
func (m *Model) Bytes() int64 { return m.Text.Bytes() + m.Codec.Bytes() + m.LM.Bytes() }

// openTokenizer prefers tokenizer.json: it states what spiece.model leaves to the reader. It returns nil where there is neither.
func openTokenizer(c *weights.Checkpoint) (*t5.Tokenizer, error) {
	data, err := c.File("tokenizer.json")
	if err == nil {
		return t5.NewTokenizer(data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if data, err = c.File("spiece.model"); err == nil {
		return t5.NewSentencePiece(data)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return nil, err
}

// Close frees the device memory and unmaps the files.
func (m *Model) Close() error {
	if m.LM != nil {
		m.LM.Close()
	}
	if m.Codec != nil {
		m.Codec.Close()
	}
	if m.Text != nil {
		m.Text.Close()
	}
	return m.checkpoint.Close()
}

// Melody says whether the model takes one.
func (m *Model) Melody() bool { return m.Config.Decoder.Chroma > 0 }

// Condition makes the decoder's condition of a text, "" for none, and for a melody model of a melody's chroma, nil for
// none. It is nil where there is nothing to tell. The caller frees it.
func (m *Model) Condition(ctx context.Context, s kern.Stream, text string, chroma []float32) (*lm.Condition, error) {
	ids, err := m.Tokens(text, 0)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return m.LM.Condition(s, nil, chroma)
	}
	states, err := m.Text.Encode(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	defer states.Free()
	return m.LM.Condition(s, states, chroma)
}

// Tokens reads a text that is to go with frames frames, prompt included; "" has no tokens.
func (m *Model) Tokens(text string, frames int) ([]int32, error) {
	if text == "" {
		return nil, nil
	}
	if m.Tokenizer == nil {
		return nil, errors.New("text: the model has neither tokenizer.json nor spiece.model; put one of them into its folder, or leave the text out")
	}
	most, cure := maxTokens, "say it shorter"
	if room := m.Config.Decoder.MaxTokens(frames); room < most {
		most, cure = room, "say it shorter, or ask for less music: a melody model holds both in one window"
	}
	ids := m.Tokenizer.Encode(text)
	if len(ids) > most {
		return nil, fmt.Errorf("text: got %d tokens, want at most %d; %s", len(ids), most, cure)
	}
	return ids, nil
}

// Encode turns audio, one slice for each of the model's channels, into codes [Q][frames].
func (m *Model) Encode(ctx context.Context, s kern.Stream, audio [][]float32) (codes []int32, frames int, err error) {
	channels := m.Config.Decoder.Channels
	if len(audio) != channels {
		return nil, 0, fmt.Errorf("musicgen: audio: got %d channels, want %d", len(audio), channels)
	}
	for channel, samples := range audio {
		own, n, err := m.Codec.Encode(ctx, s, samples)
		if err != nil {
			return nil, 0, err
		}
		if channel == 0 {
			frames = n
			codes = make([]int32, channels*len(own))
		} else if n != frames {
			return nil, 0, fmt.Errorf("musicgen: audio: channel %d has %d frames, want %d as the first", channel, n, frames)
		}
		for q := range m.Config.Codec.Codebooks {
			copy(codes[(q*channels+channel)*frames:][:frames], own[q*frames:(q+1)*frames])
		}
	}
	return codes, frames, nil
}

// Decode turns codes [Q][frames] into the audio of frames [from, frames), one slice per channel. progress is told the
// share that is done.
func (m *Model) Decode(ctx context.Context, s kern.Stream, codes []int32, frames, from int, progress func(share float64)) ([][]float32, error) {
	channels := m.Config.Decoder.Channels
	total := (frames - from) * m.Codec.Hop()
	audio := make([][]float32, channels)
	for channel := range audio {
		own := make([]int32, 0, len(codes)/channels)
		for q := range m.Config.Codec.Codebooks {
			own = append(own, codes[(q*channels+channel)*frames:][:frames]...)
		}
		audio[channel] = make([]float32, 0, total)
		err := m.Codec.Decode(ctx, s, own, frames, from, func(samples []float32) error {
			audio[channel] = append(audio[channel], samples...)
			progress((float64(channel) + float64(len(audio[channel]))/float64(total)) / float64(channels))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return audio, nil
}

// Rate is the sample rate of the model's audio, Channels their number, FrameRate the codec's frames per second.
func (m *Model) Rate() int          { return m.Codec.Rate() }
func (m *Model) Channels() int      { return m.Config.Decoder.Channels }
func (m *Model) FrameRate() float64 { return m.Codec.FrameRate() }

// MaxFrames is the longest music in view, prompt included.
func (m *Model) MaxFrames() int { return m.Config.Decoder.MaxFrames(m.FrameRate()) }
