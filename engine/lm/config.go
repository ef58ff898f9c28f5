// Package lm is MusicGen's decoder: a transformer over the columns of the delay pattern.
//
//	text states ── Condition ─┐
//	prompt codes ── Prefill ──┴─► Prefix ── Generate ──► new codes      (many times from one Prefix)
//
// A Prefix is the whole delayed prompt seen once: its keys and values, and the logits of the column after it. Generate
// decodes from it step by step; rows are the variations' conditional branches, then their unconditional ones. The
// oddity: a model with text skips cross-attention in the unconditional rows, because there keys and values are zero.
package lm

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Config is the decoder section of config.json, checked.
type Config struct {
	Width     int // D
	Layers    int
	Heads     int
	FFN       int
	Codebooks int // Q, over all audio channels
	Entries   int // V, size of each codebook; Entries itself is the special code
	Channels  int // of the audio, 1 or 2
	Positions int // columns that the position table covers
	TextWidth int // of the text encoder's states
	Delays    []int
	// A melody model sees ChromaRows rows of Chroma bins, then the text's rows, before the first column; it has no
	// cross-attention. Both are 0 in the other models.
	Chroma, ChromaRows int
	// Window is the longest music, prompt included, that the model was trained to hold in view, in seconds.
	Window float64
}

// HeadDim is the width of one attention head.
func (c Config) HeadDim() int { return c.Width / c.Heads }

// MaxDelay is the largest delay of the pattern.
func (c Config) MaxDelay() int {
	d := 0
	for _, v := range c.Delays {
		d = max(d, v)
	}
	return d
}

// Columns is the length of the delayed sequence of frames frames.
func (c Config) Columns(frames int) int { return frames + c.MaxDelay() + 1 }

// MaxFrames is the longest sequence, prompt included, that the position table and the training window allow. To a melody
// model a text may leave less: see MaxTokens.
func (c Config) MaxFrames(frameRate float64) int {
	// The last column is produced but never fed, so it needs no position.
	return min(c.Positions-fewestLeading(c.ChromaRows)-c.MaxDelay(), int(c.Window*frameRate+0.5))
}

// MaxTokens is the longest text that the position table allows beside frames frames: in a melody model it stands before them.
func (c Config) MaxTokens(frames int) int {
	if c.Chroma == 0 {
		return math.MaxInt
	}
	return c.Positions - c.ChromaRows - c.MaxDelay() - frames
}

// fewestLeading is how many rows stand before the first column at least: a melody model's chroma, and one where a text would be.
func fewestLeading(chromaRows int) int {
	if chromaRows == 0 {
		return 0
	}
	return chromaRows + 1
}

type section struct {
	ModelType    string  `json:"model_type"`
	Width        int     `json:"hidden_size"`
	Layers       int     `json:"num_hidden_layers"`
	Heads        int     `json:"num_attention_heads"`
	FFN          int     `json:"ffn_dim"`
	Codebooks    int     `json:"num_codebooks"`
	Entries      int     `json:"vocab_size"`
	Channels     int     `json:"audio_channels"`
	Positions    int     `json:"max_position_embeddings"`
	Activation   string  `json:"activation_function"`
	ScaleEmbed   bool    `json:"scale_embedding"`
	TieEmbedding bool    `json:"tie_word_embeddings"`
	Special      *int    `json:"pad_token_id"`
	Delays       []int   `json:"delays"`           // audiocraft only
	Window       float64 `json:"segment_duration"` // audiocraft only
}

const melodyType = "musicgen_melody_decoder"

// trainedWindow is how much music the published models were trained to see, in seconds.
const trainedWindow = 30

// melodySection is what the top level of a melody model's configuration adds.
type melodySection struct {
	Chroma int `json:"num_chroma"`
	Rows   int `json:"chroma_length"`
}

// ParseConfig reads the decoder section, and the top level for what a melody model says there, for a text encoder of
// textWidth numbers. It refuses what this package does not compute, naming every field at once.
func ParseConfig(raw, top json.RawMessage, textWidth int) (Config, error) {
	s, melody, err := readSections(raw, top)
	if err != nil {
		return Config{}, err
	}
	if err := errors.Join(s.check(textWidth), s.checkMelody(melody, textWidth), s.checkDelays(melody)); err != nil {
		return Config{}, fmt.Errorf("lm: configuration not covered: %w", err)
	}
	return Config{
		Width: s.Width, Layers: s.Layers, Heads: s.Heads, FFN: s.FFN,
		Codebooks: s.Codebooks, Entries: s.Entries, Channels: s.Channels, Positions: s.Positions,
		TextWidth: textWidth, Delays: s.delays(), Window: s.Window, Chroma: melody.Chroma, ChromaRows: melody.Rows,
	}, nil
}

// readSections reads what the decoder's section says, and of the melody's, if there is one, the top level; what neither says is
// as published.
func readSections(raw, top json.RawMessage) (s section, melody melodySection, err error) {
	s = section{Channels: 1, Positions: 2048, Activation: "gelu", Window: trainedWindow}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, melody, fmt.Errorf("lm: decoder section of the configuration: %w", err)
	}
	if s.ModelType != melodyType {
		return s, melody, nil
	}
	melody = melodySection{Chroma: 12, Rows: 235}
	if err := json.Unmarshal(top, &melody); err != nil {
		return s, melody, fmt.Errorf("lm: top level of the configuration: %w", err)
	}
	return s, melody, nil
}

// wanted collects what is not as it has to be.
type wanted []error

func (w *wanted) check(ok bool, format string, args ...any) {
	if !ok {
		*w = append(*w, fmt.Errorf(format, args...))
	}
}

func (s *section) check(textWidth int) error {
	var w wanted
	w.check(s.ModelType == "" || s.ModelType == "musicgen_decoder" || s.ModelType == melodyType, "model_type: got %q, want musicgen_decoder or %s", s.ModelType, melodyType)
	w.check(s.Activation == "gelu", "activation_function: got %q, want gelu", s.Activation)
	w.check(!s.ScaleEmbed, "scale_embedding: got true, want false")
	w.check(!s.TieEmbedding, "tie_word_embeddings: got true, want false")
	w.check(inRange(s.Width, 4, 1<<14) && s.Width%2 == 0, "hidden_size: got %d, want an even number, 4 to 16384", s.Width) // positions divide by half of it less one
	w.check(inRange(s.Layers, 1, 1024), "num_hidden_layers: got %d, want 1 to 1024", s.Layers)
	w.check(inRange(s.Heads, 1, 1024) && s.Width%max(s.Heads, 1) == 0, "num_attention_heads: got %d, want a divisor of hidden_size %d", s.Heads, s.Width)
	w.check(inRange(s.FFN, 1, 1<<16), "ffn_dim: got %d, want 1 to 65536", s.FFN)
	w.check(inRange(s.Entries, 2, 1<<16), "vocab_size: got %d, want 2 to 65536", s.Entries)
	w.check(s.Channels == 1 || s.Channels == 2, "audio_channels: got %d, want 1 or 2", s.Channels)
	w.check(inRange(s.Codebooks, 1, mostCodebooks) && s.Codebooks%max(s.Channels, 1) == 0, "num_codebooks: got %d, want 1 to %d, the same for each of %d channels", s.Codebooks, mostCodebooks, s.Channels)
	w.check(inRange(s.Positions, 16, 1<<20), "max_position_embeddings: got %d, want 16 to 1048576", s.Positions)
	w.check(s.Special == nil || *s.Special == s.Entries, "pad_token_id: want vocab_size %d, the special code", s.Entries)
	w.check(s.Window >= 0.1 && s.Window <= 3600, "segment_duration: got %g, want 0.1 to 3600 s", s.Window)
	w.check(textWidth > 0, "the text encoder's width: got %d, want more than 0", textWidth)
	return errors.Join(w...)
}

func (s *section) checkMelody(melody melodySection, textWidth int) error {
	if s.ModelType != melodyType {
		return nil
	}
	var w wanted
	w.check(melody.Chroma == 12, "num_chroma: got %d, want 12", melody.Chroma)
	w.check(inRange(melody.Rows, 1, s.Positions/2), "chroma_length: got %d, want 1 to %d", melody.Rows, s.Positions/2)
	// A text of the decoder's width has no projection, and the text gets its positions in that.
	w.check(textWidth != s.Width, "hidden_size: got %d, the text encoder's width, want another in a melody model", s.Width)
	return errors.Join(w...)
}

func (s *section) checkDelays(melody melodySection) error {
	var w wanted
	w.check(s.Delays == nil || len(s.Delays) == s.Codebooks, "delays: got %d, want one for each of %d codebooks", len(s.Delays), s.Codebooks)
	for _, d := range s.delays() {
		w.check(inRange(d, 0, 256) && d < s.Positions-fewestLeading(melody.Rows), "delays: got %d, want 0 to 256, and less than the positions", d)
	}
	return errors.Join(w...)
}

const mostCodebooks = 64

// delays are the section's own, or the published pattern: one column later for each codebook, both channels of a stereo pair
// together.
func (s *section) delays() []int {
	if s.Delays != nil || !inRange(s.Codebooks, 1, mostCodebooks) {
		return s.Delays
	}
	d := make([]int, s.Codebooks)
	for q := range d {
		d[q] = q / max(s.Channels, 1)
	}
	return d
}

func inRange(v, low, high int) bool { return low <= v && v <= high }
