package weights

import (
	"fmt"
	"math"
	"slices"
)

// What audiocraft's training configuration says, in the terms of Hugging Face's config.json. A key that is absent has
// the default of audiocraft's constructors, or for the decoder's sizes that of the base. Variants that the model code
// does not cover are refused, all at once.

// maxCodebooks is beyond every model: stereo ones have 8.
const maxCodebooks = 64

// decoderConfig is the part of the decoder section that models read. delays and segment_duration are ours: Hugging
// Face fixes the first and does not know the second.
type decoderConfig struct {
	ModelType       string  `json:"model_type"`
	HiddenSize      int     `json:"hidden_size"`
	Layers          int     `json:"num_hidden_layers"`
	Heads           int     `json:"num_attention_heads"`
	FFN             int     `json:"ffn_dim"`
	Codebooks       int     `json:"num_codebooks"`
	VocabSize       int     `json:"vocab_size"`
	AudioChannels   int     `json:"audio_channels"`
	MaxPositions    int     `json:"max_position_embeddings"`
	Activation      string  `json:"activation_function"`
	BOS             int     `json:"bos_token_id"`
	Pad             int     `json:"pad_token_id"`
	ScaleEmbedding  bool    `json:"scale_embedding"`
	Delays          []int   `json:"delays"`           // per codebook, in frames
	SegmentDuration float64 `json:"segment_duration"` // seconds of music that the model was trained on
}

// codecConfig is the audio_encoder section.
type codecConfig struct {
	ModelType      string    `json:"model_type"`
	SamplingRate   int       `json:"sampling_rate"`
	AudioChannels  int       `json:"audio_channels"`
	Normalize      bool      `json:"normalize"`
	HiddenSize     int       `json:"hidden_size"`
	Filters        int       `json:"num_filters"`
	ResidualLayers int       `json:"num_residual_layers"`
	Ratios         []int     `json:"upsampling_ratios"`
	NormType       string    `json:"norm_type"`
	Kernel         int       `json:"kernel_size"`
	LastKernel     int       `json:"last_kernel_size"`
	ResidualKernel int       `json:"residual_kernel_size"`
	Dilation       int       `json:"dilation_growth_rate"`
	Causal         bool      `json:"use_causal_conv"`
	PadMode        string    `json:"pad_mode"`
	Compress       int       `json:"compress"`
	LSTMLayers     int       `json:"num_lstm_layers"`
	TrimRight      float64   `json:"trim_right_ratio"`
	CodebookSize   int       `json:"codebook_size"`
	CodebookDim    int       `json:"codebook_dim"`
	ConvShortcut   bool      `json:"use_conv_shortcut"`
	Bandwidths     []float64 `json:"target_bandwidths"` // kbit/s; with frame rate and codebook size it gives the codebooks
}

// refuseDecoder checks what no tensor would betray.
func (st *state) refuseDecoder() error {
	s := st.settings
	if s == nil {
		return nil
	}
	expect(s, "lm_model", "transformer_lm")
	expect(s, "transformer_lm.norm_first", true)
	expect(s, "transformer_lm.norm", "layer_norm")
	expect(s, "transformer_lm.causal", true)
	expect(s, "transformer_lm.positional_embedding", "sin")
	expect(s, "transformer_lm.positional_scale", 1.0)
	expect(s, "transformer_lm.max_period", 10000.0)
	expect(s, "transformer_lm.kv_repeat", 1)
	for _, key := range []string{"bias_ff", "bias_attn", "bias_proj", "qk_layer_norm", "qk_layer_norm_cross"} {
		expect(s, "transformer_lm."+key, false)
	}
	for _, key := range []string{"layer_scale", "past_context"} {
		if node := s.find("transformer_lm." + key); node != nil {
			s.refuse("transformer_lm."+key, describe(node), "null")
		}
	}
	expect(s, "codebooks_pattern.modeling", "delay")
	expect(s, "codebooks_pattern.delay.flatten_first", 0)
	expect(s, "codebooks_pattern.delay.empty_initial", 0)
	expect(s, "interleave_stereo_codebooks.per_timestep", false)
	if channels := value(s, "channels", 1); channels != 1 && !s.stereo() {
		s.refuse("channels", channels, "1 without interleave_stereo_codebooks.use")
	}
	s.refuseConditioners()
	return st.err()
}

// refuseConditioners: a T5 description by cross-attention, or before it all a melody's chroma and the description.
func (s *settings) refuseConditioners() {
	cross, prepend := []string{"description"}, []string{}
	if s.melody() {
		cross, prepend = prepend, []string{"self_wav", "description"}
	}
	for _, list := range []struct {
		key  string
		want []string
	}{{"cross", cross}, {"prepend", prepend}, {"sum", []string{}}, {"input_interpolate", []string{}}} {
		if got := values(s, "fuser."+list.key, list.want); !slices.Equal(got, list.want) {
			s.refuse("fuser."+list.key, got, fmt.Sprint(list.want))
		}
	}
	expect(s, "fuser.cross_attention_pos_emb", false)
	for _, name := range s.keys("conditioners") {
		if name != "description" && name != "self_wav" && name != "args" { // args are not a conditioner
			s.refuse("conditioners", name, "description, self_wav")
		}
	}
	expect(s, "conditioners.description.model", "t5")
	expect(s, "conditioners.description.t5.name", "t5-base")
	expect(s, "conditioners.description.t5.finetune", false)
	expect(s, "conditioners.description.t5.normalize_text", false)
	expect(s, "conditioners.self_wav.model", "chroma_stem")
}

func (s *settings) melody() bool { return s.find("conditioners.self_wav") != nil }

// stereo models interleave the codebooks of a mono codec: left, right, left, right, ….
func (s *settings) stereo() bool { return value(s, "interleave_stereo_codebooks.use", false) }

// decoderConfig takes the sizes that the settings lack from the base.
func (s *settings) decoderConfig(base decoderConfig) decoderConfig {
	const lm = "transformer_lm."
	c := decoderConfig{
		ModelType:       "musicgen_decoder",
		HiddenSize:      s.positive(lm+"dim", base.HiddenSize),
		Layers:          s.positive(lm+"num_layers", base.Layers),
		Heads:           s.positive(lm+"num_heads", base.Heads),
		Codebooks:       s.positive(lm+"n_q", base.Codebooks),
		VocabSize:       s.positive(lm+"card", base.VocabSize),
		AudioChannels:   1,
		MaxPositions:    2048,
		Activation:      value(s, lm+"activation", "gelu"),
		SegmentDuration: value(s, "dataset.segment_duration", 30.0),
	}
	c.FFN = c.HiddenSize * s.positive(lm+"hidden_scale", 4)
	c.BOS, c.Pad = c.VocabSize, c.VocabSize // one special token after the codes
	if s.stereo() {
		c.AudioChannels = 2
	}
	if s.melody() {
		c.ModelType = "musicgen_melody_decoder"
	}
	if !(c.SegmentDuration > 0 && c.SegmentDuration <= 600) {
		s.refuse("dataset.segment_duration", c.SegmentDuration, "seconds, up to 600")
	}
	c.Delays = s.delays(c.Codebooks)
	return c
}

// delays are 0, 1, 2, … where the settings name none.
func (s *settings) delays(codebooks int) []int {
	const key = "codebooks_pattern.delay.delays"
	if codebooks > maxCodebooks {
		s.refuse("transformer_lm.n_q", codebooks, fmt.Sprintf("at most %d", maxCodebooks))
		return nil
	}
	if s.find(key) == nil {
		delays := make([]int, codebooks)
		for i := range delays {
			delays[i] = i
		}
		return delays
	}
	delays := values(s, key, []int{0, 1, 2, 3})
	sound := len(delays) == codebooks && !slices.ContainsFunc(delays, func(d int) bool { return d < 0 || d > 1024 })
	if !sound {
		s.refuse(key, delays, fmt.Sprintf("%d delays of 0 to 1024 frames", codebooks))
	}
	return delays
}

// topConfig is the top level of config.json. Chroma frames of a melody are a quarter of a window of 2^radix2_exp apart.
func (s *settings) topConfig() map[string]any {
	if !s.melody() {
		return map[string]any{"model_type": "musicgen"}
	}
	const chroma = "conditioners.self_wav.chroma_stem."
	hop := math.Exp2(float64(s.positive(chroma+"radix2_exp", 12))) / 4
	samples := value(s, "dataset.segment_duration", 30.0) * float64(s.positive(chroma+"sample_rate", 32000))
	return map[string]any{
		"model_type":    "musicgen_melody",
		"num_chroma":    s.positive(chroma+"n_chroma", 12),
		"chroma_length": 1 + int(samples/hop),
	}
}

// generationConfig is what generation_config.json would say. generate.lm is how samples were drawn while the model was
// trained; where those were the likeliest codes it tells nothing about drawing. A top_p puts top_k out of force there.
func (s *settings) generationConfig() map[string]any {
	const lm = "generate.lm."
	c := map[string]any{"guidance_scale": value(s, "classifier_free_guidance.inference_coef", 3.0)}
	temperature := value(s, lm+"temp", value(s, lm+"temperature", 1.0))
	if !value(s, lm+"use_sampling", false) || temperature <= 0 {
		return c
	}
	c["temperature"], c["top_k"] = temperature, value(s, lm+"top_k", 250.0) // YAML would cut 1.5 to an integer
	if p := value(s, lm+"top_p", 0.0); p > 0 {
		c["top_k"], c["top_p"] = 0, p
	}
	return c
}

// refuseCodec checks what no tensor would betray.
func (st *state) refuseCodec() error {
	if st == nil || st.settings == nil {
		return nil
	}
	s := st.settings
	expect(s, "compression_model", "encodec")
	expect(s, "encodec.autoencoder", "seanet")
	expect(s, "encodec.quantizer", "rvq")
	expect(s, "seanet.activation", "ELU")
	expect(s, "seanet.activation_params.alpha", 1.0)
	if node := s.find("seanet.decoder.final_activation"); node != nil {
		s.refuse("seanet.decoder.final_activation", describe(node), "null")
	}
	return st.err()
}

func (s *settings) codecConfig() codecConfig {
	c := codecConfig{
		ModelType:      "encodec",
		SamplingRate:   s.positive("encodec.sample_rate", value(s, "sample_rate", 32000)),
		AudioChannels:  s.positive("encodec.channels", value(s, "channels", 1)),
		Normalize:      value(s, "encodec.renormalize", false),
		HiddenSize:     s.positive("seanet.dimension", 128),
		Filters:        s.positive("seanet.n_filters", 32),
		ResidualLayers: s.positive("seanet.n_residual_layers", 3),
		Ratios:         values(s, "seanet.ratios", []int{8, 5, 4, 2}),
		NormType:       value(s, "seanet.norm", "weight_norm"),
		Kernel:         s.positive("seanet.kernel_size", 7),
		LastKernel:     s.positive("seanet.last_kernel_size", 7),
		ResidualKernel: s.positive("seanet.residual_kernel_size", 3),
		Dilation:       s.positive("seanet.dilation_base", 2),
		Causal:         value(s, "seanet.causal", value(s, "encodec.causal", false)),
		PadMode:        value(s, "seanet.pad_mode", "reflect"),
		Compress:       s.positive("seanet.compress", 2),
		LSTMLayers:     value(s, "seanet.lstm", 0),
		TrimRight:      value(s, "seanet.decoder.trim_right_ratio", 1.0),
		CodebookSize:   s.positive("rvq.bins", 1024),
		ConvShortcut:   !value(s, "seanet.true_skip", true),
	}
	c.CodebookDim = c.HiddenSize
	hop := 1.0
	for _, ratio := range c.Ratios {
		if ratio < 1 || ratio > 1<<10 {
			s.refuse("seanet.ratios", c.Ratios, "ratios of at least 1")
			return c
		}
		hop *= float64(ratio)
	}
	// Readers floor bandwidth / (bits · frame rate): round up so that the codebooks come out whole.
	codebooks := float64(s.positive("rvq.n_q", 8))
	bits, frameRate := math.Log2(float64(c.CodebookSize)), float64(c.SamplingRate)/hop
	c.Bandwidths = []float64{math.Nextafter(codebooks*bits*frameRate/1000, math.Inf(1))}
	return c
}
