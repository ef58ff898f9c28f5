// Package encodec is the EnCodec audio codec of MusicGen: samples of one channel to codes and back.
//
//	samples [n] ─ Encode ─► convolutions, one frame per hop ─► LSTM ─► z [T, D] ─► RVQ ─► codes [Q, T]
//	codes [Q, T] ─ Decode ─► RVQ ─► z [T, D] ─► LSTM ─► transposed convolutions ─► samples [T·hop]
//
// The model is written once over the ops of engine/kern, activations [T, C] with channels innermost. What
// runs faster than one frame per hop is large, so it runs in chunks (stack.go); the rest is small and runs
// over the whole length, because the LSTM must. Stereo is two runs of the mono codec and is the caller's affair.
package encodec

import (
	"encoding/json"
	"fmt"
	"math"
	"math/bits"

	"segue/engine/kern"
)

// Config is the codec's architecture. Fields are named after the keys of the checkpoint's audio_encoder section.
type Config struct {
	SamplingRate       int
	HiddenSize         int // D: width of z and of the codebooks
	NumFilters         int // channels at the full sample rate; they double with each ratio
	UpsamplingRatios   []int
	NumResidualLayers  int
	NumLSTMLayers      int
	KernelSize         int
	LastKernelSize     int
	ResidualKernelSize int
	DilationGrowthRate int
	Compress           int // a residual block's hidden width is its width / Compress
	UseCausalConv      bool
	UseConvShortcut    bool
	PadMode            kern.PadMode
	TrimRightRatio     float64 // share of a causal transposed convolution's surplus that is cut on the right
	CodebookSize       int     // V: entries of one codebook
	Codebooks          int     // Q: from target_bandwidths
}

// Hop is the number of samples of one frame.
func (c Config) Hop() int {
	hop := 1
	for _, ratio := range c.UpsamplingRatios {
		hop *= ratio
	}
	return hop
}

// width is the number of channels at one frame per hop, where the LSTM runs.
func (c Config) width() int { return c.NumFilters << len(c.UpsamplingRatios) }

// section is the JSON of audio_encoder. A pointer is a value whose absence or null means something of its own.
type section struct {
	ModelType          string    `json:"model_type"`
	SamplingRate       int       `json:"sampling_rate"`
	AudioChannels      int       `json:"audio_channels"`
	Normalize          bool      `json:"normalize"`
	ChunkLengthS       *float64  `json:"chunk_length_s"`
	Overlap            *float64  `json:"overlap"`
	HiddenSize         int       `json:"hidden_size"`
	NumFilters         int       `json:"num_filters"`
	NumResidualLayers  int       `json:"num_residual_layers"`
	UpsamplingRatios   []int     `json:"upsampling_ratios"`
	NormType           string    `json:"norm_type"`
	KernelSize         int       `json:"kernel_size"`
	LastKernelSize     int       `json:"last_kernel_size"`
	ResidualKernelSize int       `json:"residual_kernel_size"`
	DilationGrowthRate int       `json:"dilation_growth_rate"`
	UseCausalConv      bool      `json:"use_causal_conv"`
	PadMode            string    `json:"pad_mode"`
	Compress           int       `json:"compress"`
	NumLSTMLayers      int       `json:"num_lstm_layers"`
	TrimRightRatio     float64   `json:"trim_right_ratio"`
	CodebookSize       int       `json:"codebook_size"`
	CodebookDim        *int      `json:"codebook_dim"` // null: hidden_size
	UseConvShortcut    bool      `json:"use_conv_shortcut"`
	TargetBandwidths   []float64 `json:"target_bandwidths"` // kbit/s
}

// defaults are those of the EncodecConfig class of transformers, which leaves a key out of config.json where its
// value is the default. They describe the 24 kHz codec, not MusicGen's.
func defaults() section {
	return section{
		ModelType: "encodec", SamplingRate: 24000, AudioChannels: 1,
		HiddenSize: 128, NumFilters: 32, NumResidualLayers: 1, UpsamplingRatios: []int{8, 5, 4, 2},
		NormType: "weight_norm", KernelSize: 7, LastKernelSize: 7, ResidualKernelSize: 3, DilationGrowthRate: 2,
		UseCausalConv: true, PadMode: "reflect", Compress: 2, NumLSTMLayers: 2, TrimRightRatio: 1,
		CodebookSize: 1024, UseConvShortcut: true, TargetBandwidths: []float64{1.5, 3, 6, 12, 24},
	}
}

// ParseConfig reads the audio_encoder section of a checkpoint's configuration. What this package does not
// implement is an error that names the key.
func ParseConfig(raw json.RawMessage) (Config, error) {
	s := defaults()
	if err := json.Unmarshal(raw, &s); err != nil {
		return Config{}, fmt.Errorf("encodec: audio_encoder: %w", err)
	}
	for _, check := range []func() error{s.checkVariant, s.checkSizes, s.checkRatios} {
		if err := check(); err != nil {
			return Config{}, err
		}
	}
	c := Config{
		SamplingRate: s.SamplingRate, HiddenSize: s.HiddenSize, NumFilters: s.NumFilters,
		UpsamplingRatios: s.UpsamplingRatios, NumResidualLayers: s.NumResidualLayers, NumLSTMLayers: s.NumLSTMLayers,
		KernelSize: s.KernelSize, LastKernelSize: s.LastKernelSize, ResidualKernelSize: s.ResidualKernelSize,
		DilationGrowthRate: s.DilationGrowthRate, Compress: s.Compress,
		UseCausalConv: s.UseCausalConv, UseConvShortcut: s.UseConvShortcut,
		TrimRightRatio: s.TrimRightRatio, CodebookSize: s.CodebookSize,
	}
	if s.PadMode == "reflect" {
		c.PadMode = kern.PadReflect
	}
	c.Codebooks = codebooks(s.TargetBandwidths[0], c)
	if c.Codebooks > 64 {
		return Config{}, fmt.Errorf("encodec: target_bandwidths: got %g kbit/s, that is %d codebooks, want at most 64", s.TargetBandwidths[0], c.Codebooks)
	}
	return c, nil
}

// codebooks is how many codebooks of log2(V) bits fit in bandwidth kbit/s: 2.2 kbit/s at 50 frames of 11 bits are 4.
func codebooks(bandwidth float64, c Config) int {
	frameRate := (c.SamplingRate + c.Hop() - 1) / c.Hop()
	bitsPerCode := bits.Len(uint(c.CodebookSize - 1))
	q := 1000 * bandwidth / float64(bitsPerCode*frameRate)
	const rounding = 1e-6 // 1.1 in decimal is a little less than 1.1
	return max(1, int(math.Min(q+rounding, math.MaxInt32)))
}

// checkVariant refuses the members of the EnCodec family that MusicGen does not use.
func (s *section) checkVariant() error {
	switch {
	case s.ModelType != "encodec":
		return unsupported("model_type", s.ModelType, "encodec")
	case s.AudioChannels != 1:
		return unsupported("audio_channels", s.AudioChannels, "1 (a stereo model codes left and right with the mono codec)")
	case s.Normalize:
		return unsupported("normalize", true, "false")
	case s.ChunkLengthS != nil:
		return unsupported("chunk_length_s", *s.ChunkLengthS, "null")
	case s.Overlap != nil:
		return unsupported("overlap", *s.Overlap, "null")
	case s.NormType != "weight_norm":
		return unsupported("norm_type", s.NormType, "weight_norm")
	case s.PadMode != "reflect" && s.PadMode != "constant":
		return unsupported("pad_mode", s.PadMode, "reflect or constant")
	case s.CodebookDim != nil && *s.CodebookDim != s.HiddenSize:
		return unsupported("codebook_dim", *s.CodebookDim, fmt.Sprintf("hidden_size, %d", s.HiddenSize))
	case !(s.TrimRightRatio >= 0 && s.TrimRightRatio <= 1):
		return unsupported("trim_right_ratio", s.TrimRightRatio, "0 to 1")
	case len(s.TargetBandwidths) != 1:
		return unsupported("target_bandwidths", s.TargetBandwidths, "one bandwidth")
	case !(s.TargetBandwidths[0] > 0):
		return unsupported("target_bandwidths", s.TargetBandwidths, "more than 0 kbit/s")
	}
	return nil
}

// checkSizes bounds every number that becomes a shape, far above any released codec.
func (s *section) checkSizes() error {
	for _, size := range []struct {
		key        string
		value      int
		least, top int
	}{
		{"sampling_rate", s.SamplingRate, 1, 384000},
		{"hidden_size", s.HiddenSize, 1, 1 << 14},
		{"num_filters", s.NumFilters, 1, 1 << 12},
		{"num_residual_layers", s.NumResidualLayers, 0, 8},
		{"kernel_size", s.KernelSize, 1, 64},
		{"last_kernel_size", s.LastKernelSize, 1, 64},
		{"residual_kernel_size", s.ResidualKernelSize, 1, 64},
		{"dilation_growth_rate", s.DilationGrowthRate, 1, 8},
		{"num_lstm_layers", s.NumLSTMLayers, 1, 8},
		{"compress", s.Compress, 1, s.NumFilters},
		{"codebook_size", s.CodebookSize, 2, 1 << 16},
	} {
		if size.value < size.least || size.value > size.top {
			return unsupported(size.key, size.value, fmt.Sprintf("%d to %d", size.least, size.top))
		}
	}
	return nil
}

func (s *section) checkRatios() error {
	if n := len(s.UpsamplingRatios); n < 1 || n > 8 {
		return unsupported("upsampling_ratios", s.UpsamplingRatios, "1 to 8 ratios")
	}
	hop := 1
	for _, ratio := range s.UpsamplingRatios {
		if ratio < 1 || ratio > 64 || hop*ratio > 1<<16 {
			return unsupported("upsampling_ratios", s.UpsamplingRatios, "ratios of 1 to 64, a hop of at most 65536")
		}
		hop *= ratio
	}
	// Dilations grow by powers; the last one bounds how far a convolution reaches.
	dilation := 1
	for range s.NumResidualLayers - 1 {
		dilation *= s.DilationGrowthRate
	}
	if dilation > 1024 {
		return unsupported("dilation_growth_rate", s.DilationGrowthRate, fmt.Sprintf("a dilation of at most 1024 in %d residual layers", s.NumResidualLayers))
	}
	if width := s.NumFilters << len(s.UpsamplingRatios); width > 1<<16 {
		return unsupported("num_filters", s.NumFilters, fmt.Sprintf("at most %d with %d ratios", 1<<16>>len(s.UpsamplingRatios), len(s.UpsamplingRatios)))
	}
	return nil
}

func unsupported(key string, got any, want string) error {
	return fmt.Errorf("encodec: %s: got %v, want %s", key, got, want)
}
