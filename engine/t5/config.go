package t5

import (
	"encoding/json"
	"fmt"
)

// Config is the text_encoder section of config.json. Fields are the checkpoint's own names; what is absent has the value
// that Hugging Face's T5Config gives it.
type Config struct {
	ModelType                    string  `json:"model_type"`
	VocabSize                    int     `json:"vocab_size"`
	DModel                       int     `json:"d_model"`
	DKV                          int     `json:"d_kv"` // width of a head
	DFF                          int     `json:"d_ff"`
	NumLayers                    int     `json:"num_layers"`
	NumHeads                     int     `json:"num_heads"`
	RelativeAttentionNumBuckets  int     `json:"relative_attention_num_buckets"`
	RelativeAttentionMaxDistance int     `json:"relative_attention_max_distance"`
	LayerNormEpsilon             float64 `json:"layer_norm_epsilon"`
	FeedForwardProj              string  `json:"feed_forward_proj"`
	DenseActFn                   string  `json:"dense_act_fn"` // follows from feed_forward_proj, but newer files repeat it
	IsGatedAct                   bool    `json:"is_gated_act"` // likewise
	IsDecoder                    bool    `json:"is_decoder"`
}

// ParseConfig reads and checks a text_encoder section.
func ParseConfig(section json.RawMessage) (Config, error) {
	c := Config{
		ModelType: "t5", VocabSize: 32128, DModel: 512, DKV: 64, DFF: 2048, NumLayers: 6, NumHeads: 8,
		RelativeAttentionNumBuckets: 32, RelativeAttentionMaxDistance: 128, LayerNormEpsilon: 1e-6,
		FeedForwardProj: "relu", DenseActFn: "relu",
	}
	if err := json.Unmarshal(section, &c); err != nil {
		return Config{}, fmt.Errorf("t5: text_encoder: %w", err)
	}
	return c, c.check()
}

// Inner is the width of all heads together, which need not be that of the model.
func (c Config) Inner() int { return c.NumHeads * c.DKV }

func (c Config) check() error {
	switch {
	case c.ModelType != "t5":
		return fmt.Errorf("t5: text_encoder: model_type, got %q, want t5", c.ModelType)
	case c.FeedForwardProj != "relu" || c.DenseActFn != "relu" || c.IsGatedAct:
		return fmt.Errorf("t5: text_encoder: feed_forward_proj, got %q (%s, gated %t), want relu: other activations are unsupported",
			c.FeedForwardProj, c.DenseActFn, c.IsGatedAct)
	case c.IsDecoder:
		return fmt.Errorf("t5: text_encoder: is_decoder, got true, want false")
	case !(c.LayerNormEpsilon > 0 && c.LayerNormEpsilon < 1):
		return fmt.Errorf("t5: text_encoder: layer_norm_epsilon, got %g, want above 0 and below 1", c.LayerNormEpsilon)
	}
	for _, size := range []struct {
		name           string
		got, low, high int
	}{
		{"vocab_size", c.VocabSize, 1, 1 << 20},
		{"d_model", c.DModel, 1, 1 << 14},
		{"d_kv", c.DKV, 1, 1 << 10},
		{"d_ff", c.DFF, 1, 1 << 16},
		{"num_layers", c.NumLayers, 1, 1 << 8},
		{"num_heads", c.NumHeads, 1, 1 << 8},
		{"relative_attention_num_buckets", c.RelativeAttentionNumBuckets, 4, 1 << 10},
		{"relative_attention_max_distance", c.RelativeAttentionMaxDistance, c.RelativeAttentionNumBuckets/4 + 1, 1 << 16},
	} {
		if size.got < size.low || size.got > size.high {
			return fmt.Errorf("t5: text_encoder: %s, got %d, want %d to %d", size.name, size.got, size.low, size.high)
		}
	}
	return nil
}
