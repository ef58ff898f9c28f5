package encodec

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"segue/engine/kern"
)

// released is the audio_encoder section of the MusicGen models, as far as it matters.
func released() map[string]any {
	return map[string]any{
		"model_type": "encodec", "sampling_rate": 32000, "audio_channels": 1, "normalize": false,
		"chunk_length_s": nil, "overlap": nil, "hidden_size": 128, "num_filters": 64, "num_residual_layers": 1,
		"upsampling_ratios": []int{8, 5, 4, 4}, "norm_type": "weight_norm", "kernel_size": 7, "last_kernel_size": 7,
		"residual_kernel_size": 3, "dilation_growth_rate": 2, "use_causal_conv": false, "pad_mode": "reflect",
		"compress": 2, "num_lstm_layers": 2, "trim_right_ratio": 1.0, "codebook_size": 2048, "codebook_dim": 128,
		"use_conv_shortcut": false, "target_bandwidths": []float64{2.2},
	}
}

func parse(t testing.TB, section map[string]any) (Config, error) {
	t.Helper()
	raw, err := json.Marshal(section)
	if err != nil {
		t.Fatal(err)
	}
	return ParseConfig(raw)
}

func TestParseConfig(t *testing.T) {
	got, err := parse(t, released())
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		SamplingRate: 32000, HiddenSize: 128, NumFilters: 64, UpsamplingRatios: []int{8, 5, 4, 4},
		NumResidualLayers: 1, NumLSTMLayers: 2, KernelSize: 7, LastKernelSize: 7, ResidualKernelSize: 3,
		DilationGrowthRate: 2, Compress: 2, PadMode: kern.PadReflect, TrimRightRatio: 1, CodebookSize: 2048, Codebooks: 4,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.Hop() != 640 || got.width() != 1024 {
		t.Errorf("got hop %d and width %d, want 640 and 1024", got.Hop(), got.width())
	}
}

// TestParseConfigDefaults: transformers leaves out keys that have its default.
func TestParseConfigDefaults(t *testing.T) {
	sparse := released()
	for _, key := range []string{"audio_channels", "hidden_size", "pad_mode", "compress", "norm_type", "kernel_size", "codebook_dim", "trim_right_ratio"} {
		delete(sparse, key)
	}
	got, err := parse(t, sparse)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := parse(t, released()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCodebooks(t *testing.T) {
	for _, row := range []struct {
		bandwidth float64
		entries   int
		want      int
	}{{2.2, 2048, 4}, {1.4, 128, 4}, {1.1, 2048, 2}, {4.4, 2048, 8}, {0.1, 2048, 1}, {3, 1024, 6}, {2.2, 2047, 4}} {
		c := Config{SamplingRate: 32000, UpsamplingRatios: []int{8, 5, 4, 4}, CodebookSize: row.entries}
		if got := codebooks(row.bandwidth, c); got != row.want {
			t.Errorf("%g kbit/s of %d entries: got %d codebooks, want %d", row.bandwidth, row.entries, got, row.want)
		}
	}
}

// TestParseConfigRefuses: the error names the key.
func TestParseConfigRefuses(t *testing.T) {
	for key, values := range map[string][]any{
		"model_type":           {"dac"},
		"audio_channels":       {2},
		"normalize":            {true, "no"},
		"chunk_length_s":       {1.0},
		"overlap":              {0.01},
		"norm_type":            {"time_group_norm"},
		"pad_mode":             {"replicate"},
		"codebook_dim":         {64},
		"trim_right_ratio":     {-0.5, 2},
		"target_bandwidths":    {[]float64{1.5, 3}, []float64{}, []float64{0}, []float64{1e30}},
		"hidden_size":          {0, 1 << 40},
		"num_filters":          {-1, 4096 + 1, 8192},
		"num_residual_layers":  {-1, 100},
		"upsampling_ratios":    {[]int{}, []int{0}, []int{64, 64, 64, 64}, []int{-8, -5}},
		"dilation_growth_rate": {0},
		"num_lstm_layers":      {0},
		"compress":             {0, 65},
		"codebook_size":        {1, 1 << 20},
		"sampling_rate":        {0, "fast"},
	} {
		for _, value := range values {
			section := maps.Clone(released())
			section[key] = value
			if _, err := parse(t, section); err == nil || !strings.Contains(err.Error(), key) {
				t.Errorf("%s = %v: got error %v, want one that names the key", key, value, err)
			}
		}
	}
	for _, raw := range []string{"", "null and void", "[]"} {
		if _, err := ParseConfig(json.RawMessage(raw)); err == nil {
			t.Errorf("%q: no error", raw)
		}
	}
}

// FuzzParseConfig: what is accepted has shapes that can be trusted.
func FuzzParseConfig(f *testing.F) {
	raw, err := json.Marshal(released())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"target_bandwidths":[6]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseConfig(raw)
		if err != nil {
			return
		}
		for what, n := range map[string]int{
			"hop": c.Hop(), "width": c.width(), "codebooks": c.Codebooks, "hidden channels": c.NumFilters / c.Compress,
		} {
			if n < 1 || n > 1<<16 {
				t.Errorf("%s is %d in %s", what, n, raw)
			}
		}
	})
}
