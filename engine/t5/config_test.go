package t5

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig(json.RawMessage(`{"model_type": "t5", "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12,
		"num_heads": 11, "dense_act_fn": "relu", "is_gated_act": false, "num_decoder_layers": 12, "is_encoder_decoder": true,
		"torch_dtype": null, "task_specific_params": {"summarization": {"max_length": 200}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.DModel != 768 || c.NumLayers != 12 || c.Inner() != 704 || c.VocabSize != 32128 || c.LayerNormEpsilon != 1e-6 {
		t.Errorf("got %+v", c)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	for section, want := range map[string]string{
		``:                                       "text_encoder",
		`{"d_model": "wide"}`:                    "d_model",
		`{"model_type": "umt5"}`:                 "model_type",
		`{"feed_forward_proj": "gated-gelu"}`:    "relu",
		`{"dense_act_fn": "gelu_new"}`:           "relu",
		`{"is_gated_act": true}`:                 "relu",
		`{"is_decoder": true}`:                   "is_decoder",
		`{"layer_norm_epsilon": 0}`:              "layer_norm_epsilon",
		`{"d_model": 0}`:                         "d_model",
		`{"num_layers": 1000000}`:                "num_layers",
		`{"vocab_size": -1}`:                     "vocab_size",
		`{"relative_attention_num_buckets": 2}`:  "buckets",
		`{"relative_attention_max_distance": 8}`: "max_distance",
	} {
		if _, err := ParseConfig(json.RawMessage(section)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", section, err, want)
		}
	}
}

// FuzzParseConfig: what is accepted has shapes that can be trusted.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"model_type": "t5", "d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 11}`))
	f.Add([]byte(`{"relative_attention_num_buckets": 4, "relative_attention_max_distance": 2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, section []byte) {
		c, err := ParseConfig(section)
		if err != nil {
			return
		}
		for what, n := range map[string]int{"vocabulary": c.VocabSize, "width": c.DModel, "inner width": c.Inner(), "feed-forward": c.DFF, "layers": c.NumLayers} {
			if n < 1 || n > 1<<20 {
				t.Errorf("%s: %d in %s", what, n, section)
			}
		}
		for _, distance := range []int{-1 << 20, -1, 0, 1, 1 << 20} {
			if b := c.bucket(distance); b < 0 || b >= c.RelativeAttentionNumBuckets {
				t.Errorf("distance %d falls into bucket %d of %d: %s", distance, b, c.RelativeAttentionNumBuckets, section)
			}
		}
	})
}
