package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The reverse of names.go, by hand and one way only: what audiocraft would have called our tensors.
var toAudiocraft = strings.NewReplacer(
	"decoder.model.decoder.embed_tokens.", "emb.",
	"decoder.model.decoder.layers.", "transformer.layers.",
	"decoder.model.decoder.layer_norm.", "out_norm.",
	"decoder.lm_heads.", "linears.",
	".self_attn_layer_norm.", ".norm1.",
	".encoder_attn_layer_norm.", ".norm_cross.",
	".final_layer_norm.", ".norm2.",
	".encoder_attn.", ".cross_attention.",
	".fc1.", ".linear1.", ".fc2.", ".linear2.",
	"audio_enc_to_dec_proj.", "condition_provider.conditioners.self_wav.output_proj.",
	"enc_to_dec_proj.", "condition_provider.conditioners.description.output_proj.",
)

// audiocraftState is a checkpoint's decoder as audiocraft stores it: q, k and v in one tensor.
func audiocraftState(t *testing.T, c *Checkpoint) *dict {
	t.Helper()
	d := &dict{}
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		if !strings.HasPrefix(name, "decoder.") && !strings.Contains(name, "enc_to_dec_proj.") {
			continue
		}
		prefix, fused := strings.CutSuffix(name, "q_proj.weight")
		if fused {
			q := c.tensors[name]
			data := slices.Concat(q.Data, c.tensors[prefix+"k_proj.weight"].Data, c.tensors[prefix+"v_proj.weight"].Data)
			shape := []int{3 * q.Shape[0], q.Shape[1]}
			d.entries = append(d.entries, entry{toAudiocraft.Replace(prefix + "in_proj_weight"), &Tensor{DType: q.DType, Shape: shape, Data: data}})
		} else if !strings.Contains(name, "k_proj.") && !strings.Contains(name, "v_proj.") {
			d.entries = append(d.entries, entry{toAudiocraft.Replace(name), c.tensors[name]})
		}
	}
	return d
}

const melodySettings = `
sample_rate: 32000
channels: 1
dataset: {segment_duration: 30}
codebooks_pattern: {modeling: delay}
classifier_free_guidance: {inference_coef: 3.0}
conditioners:
  args: {drop_desc_p: 0.5}
  self_wav:
    model: chroma_stem
    chroma_stem: {sample_rate: "${sample_rate}", n_chroma: 12, radix2_exp: 14, argmax: true}
  description: {model: t5, t5: {name: t5-base, finetune: false}}
fuser: {sum: [], prepend: [self_wav, description], cross: [], input_interpolate: []}
transformer_lm: {dim: 64, num_heads: 4, num_layers: 3, hidden_scale: 2, n_q: 4, card: 128, activation: gelu, norm_first: true}
`

func TestAudiocraftMelody(t *testing.T) {
	melody := openGolden(t, "melody", Options{})
	best := audiocraftState(t, melody)
	best.entries = append(best.entries, entry{unusedAudiocraft + "spec.window", FromFloats("", []float32{1}, 1)})
	var config decoderConfig
	if err := json.Unmarshal(melody.Section("decoder"), &config); err != nil {
		t.Fatal(err)
	}
	lm := fmt.Sprintf("transformer_lm: {dim: %d, num_heads: %d, num_layers: %d, hidden_scale: %d, n_q: %d, card: %d, activation: gelu, norm_first: true}",
		config.HiddenSize, config.Heads, config.Layers, config.FFN/config.HiddenSize, config.Codebooks, config.VocabSize)
	settings := regexp.MustCompile(`(?m)^transformer_lm:.*$`).ReplaceAllLiteralString(melodySettings, lm)
	dir := writeFolder(t, map[string][]byte{stateDictFile: torchFileOf(dictOf("best_state", best, "xp.cfg", settings))})
	c := mustOpen(t, dir, Options{Base: goldens + "melody"})
	requireSameTensors(t, c, melody, "")
	requireSection(t, c, melody, "decoder", "delays", "segment_duration")
	requireSection(t, c, melody, "")
}

const codecSettings = `
sample_rate: 32000
channels: 1
compression_model: encodec
encodec: {autoencoder: seanet, quantizer: rvq, sample_rate: "${sample_rate}", channels: "${channels}", causal: false, renormalize: false}
seanet:
  dimension: %d
  channels: ${channels}
  causal: ${encodec.causal}
  n_filters: %d
  n_residual_layers: 1
  ratios: [8, 5, 4, 4]
  activation: ELU
  activation_params: {alpha: 1.}
  norm: weight_norm
  kernel_size: 7
  residual_kernel_size: 3
  last_kernel_size: 7
  dilation_base: 2
  pad_mode: reflect
  true_skip: true
  compress: 2
  lstm: 2
  decoder: {trim_right_ratio: 1.0, final_activation: null}
rvq: {n_q: 4, bins: %d}
`

var (
	plainConv      = regexp.MustCompile(`\.conv\.`)
	transposedConv = regexp.MustCompile(`^decoder\.model\.(3|6|9|12)\.conv\.conv\.`)
)

func TestAudiocraftCodec(t *testing.T) {
	mono := openGolden(t, "mono", Options{})
	var theirs codecConfig
	if err := json.Unmarshal(mono.Section("audio_encoder"), &theirs); err != nil {
		t.Fatal(err)
	}
	best := &dict{}
	for _, name := range slices.Sorted(maps.Keys(mono.tensors)) {
		ours, isCodec := strings.CutPrefix(name, "audio_encoder.")
		if !isCodec {
			continue
		}
		ours = plainConv.ReplaceAllString(ours, ".conv.conv.")
		ours = strings.NewReplacer("coder.layers.", "coder.model.", "quantizer.layers.", "quantizer.vq.layers.", ".codebook.", "._codebook.").Replace(ours)
		ours = transposedConv.ReplaceAllString(ours, "decoder.model.$1.convtr.convtr.")
		best.entries = append(best.entries, entry{ours, mono.tensors[name]})
	}
	settings := fmt.Sprintf(codecSettings, theirs.HiddenSize, theirs.Filters, theirs.CodebookSize)
	dir := writeFolder(t, map[string][]byte{
		stateDictFile:   readGolden(t, "mono-audiocraft/state_dict.bin"),
		compressionFile: torchFileOf(dictOf("best_state", best, "xp.cfg", settings)),
	})
	c := mustOpen(t, dir, Options{Base: goldens + "mono"})
	requireSameTensors(t, c, mono, "")
	requireSection(t, c, mono, "audio_encoder", "target_bandwidths")
	var ours codecConfig
	if err := json.Unmarshal(c.Section("audio_encoder"), &ours); err != nil {
		t.Fatal(err)
	}
	if d := ours.Bandwidths[0] - theirs.Bandwidths[0]; d < 0 || d > 1e-9 {
		t.Errorf("target_bandwidths: got %v, want %v", ours.Bandwidths, theirs.Bandwidths)
	}
	_, err := Open(dir, Options{})
	var needed *BaseError
	if !errors.As(err, &needed) || strings.Contains(needed.Parts, "codec") {
		t.Errorf("got %v, want a BaseError that does not ask for the codec", err)
	}
}

func TestCodecPointers(t *testing.T) {
	state := readGolden(t, "mono-audiocraft/state_dict.bin")
	for pointer, want := range map[any]string{
		"facebook/encodec_32khz": "", "//pretrained/facebook/encodec_32khz": "", "dac_44khz": "dac_44khz",
		"/root/mine/compression_state_dict.bin": "/root/mine", 7: "pretrained",
	} {
		dir := writeFolder(t, map[string][]byte{stateDictFile: state, compressionFile: torchFileOf(dictOf("pretrained", pointer))})
		c, err := Open(dir, Options{Base: goldens + "mono"})
		if want == "" && err == nil {
			c.Close()
		} else if want == "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want %q", pointer, err, want)
		}
	}
}

// Some trainers save the bare tensors, without best_state and xp.cfg: the configuration is then the base's.
func TestAudiocraftBareState(t *testing.T) {
	mono := openGolden(t, "mono", Options{})
	dir := writeFolder(t, map[string][]byte{stateDictFile: torchFileOf(audiocraftState(t, mono))})
	c := mustOpen(t, dir, Options{Base: goldens + "mono"})
	requireSameTensors(t, c, mono, "")
	if string(c.Section("decoder")) != string(mono.Section("decoder")) {
		t.Errorf("decoder: got %s", c.Section("decoder"))
	}
	object := torchFileOf(dictOf("best_state", audiocraftState(t, mono), "xp.cfg", raw("comegaconf\nDictConfig\n)R")))
	_, err := Open(writeFolder(t, map[string][]byte{stateDictFile: object}), Options{Base: goldens + "mono"})
	var unsupported *UnsupportedError
	if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "export") {
		t.Errorf("got %v, want the advice to export", err)
	}
	var needed *BaseError
	if _, err := Open(dir, Options{Base: goldens + "stereo"}); !errors.As(err, &needed) || needed.Want != "facebook/musicgen-small" {
		t.Errorf("base of another shape: got %v, want a BaseError", err)
	}
}

func TestTranslate(t *testing.T) {
	for name, want := range map[string]string{
		"transformer.layers.11.self_attn.mha.in_proj_weight": "decoder.model.decoder.layers.11.self_attn.in_proj_weight",
		"transformer.layers.0.layer_scale_1.scale":           "decoder.model.decoder.layers.0.layer_scale_1.scale", // extra, so refused
		"condition_provider.conditioners.other.x":            "condition_provider.conditioners.other.x",
	} {
		if got := translate(name, decoderNames); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	const shortcut = "encoder.model.1.shortcut.conv.conv.weight_g"
	if got := translate(shortcut, codecNames); got != "audio_encoder.encoder.layers.1.shortcut.conv.weight_g" {
		t.Errorf("%s: got %s", shortcut, got)
	}
}

func TestSettingsReferences(t *testing.T) {
	s, err := parseSettings(`
a: {b: 7, list: [1, "${a.b}", 3]}
direct: ${a.b}
chain: ${direct}
whole: ${a}
alias: &anchor {x: 1.5}
other: *anchor
empty: null
home: ${oc.env:HOME}
loop: ${pool}
pool: ${loop}
self: ${self.x}
`)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{"a.b": 7, "direct": 7, "chain": 7, "whole.b": 7, "empty": -1, "absent": -1, "a.b.c": -1} {
		if got := value(s, key, -1); got != want {
			t.Errorf("%s: got %d, want %d", key, got, want)
		}
	}
	if got := value(s, "other.x", 0.0); got != 1.5 {
		t.Errorf("other.x: got %g, want 1.5", got)
	}
	if got := values(s, "whole.list", []int{}); !slices.Equal(got, []int{1, 7, 3}) {
		t.Errorf("whole.list: got %v", got)
	}
	if got := value(s, "home", ""); got != "${oc.env:HOME}" {
		t.Errorf("home: got %q", got)
	}
	if len(s.problems) != 0 {
		t.Errorf("got problems %q", s.problems)
	}
	for _, key := range []string{"loop", "self", "a", "a.list"} {
		before := len(s.problems)
		if got := value(s, key, 5); got != 5 || len(s.problems) != before+1 {
			t.Errorf("%s: got %d and problems %q", key, got, s.problems[before:])
		}
	}
	if got := values(s, "a.b", []int{9}); !slices.Equal(got, []int{9}) {
		t.Errorf("a number as a list: got %v", got)
	}
}

func TestParseSettingsRefuses(t *testing.T) {
	for _, text := range []string{"", "[1]", "text", "a: [", "\t", strings.Repeat(" ", maxSettings+1)} {
		if _, err := parseSettings(text); err == nil {
			t.Errorf("%.20q was accepted", text)
		}
	}
}

func TestDecoderVariants(t *testing.T) {
	bad := `
lm_model: transformer_lm_magnet
channels: 2
transformer_lm: {norm_first: false, positional_embedding: rope, layer_scale: 0.1, past_context: 10, kv_repeat: 2,
  bias_ff: true, bias_attn: true, bias_proj: true, qk_layer_norm: true, qk_layer_norm_cross: true, causal: false,
  norm: rms_norm, max_period: 5000, positional_scale: 0.5}
codebooks_pattern: {modeling: parallel, delay: {flatten_first: 1, empty_initial: 2}}
interleave_stereo_codebooks: {use: false, per_timestep: true}
conditioners: {description: {model: clap, t5: {name: google/flan-t5-base, finetune: true, normalize_text: true}}, style: {model: style}}
fuser: {cross: [description, style], prepend: [style], sum: [x], input_interpolate: [y], cross_attention_pos_emb: true}
`
	s, err := parseSettings(bad)
	if err != nil {
		t.Fatal(err)
	}
	var unsupported *UnsupportedError
	if err := (&state{path: "state_dict.bin", settings: s}).refuseDecoder(); !errors.As(err, &unsupported) {
		t.Fatalf("got %v, want an UnsupportedError", err)
	}
	for _, key := range []string{"lm_model", "channels", "norm_first", "positional_embedding", "layer_scale", "past_context", "kv_repeat",
		"bias_ff", "bias_attn", "bias_proj", "qk_layer_norm", "qk_layer_norm_cross", "causal", "transformer_lm.norm", "max_period", "positional_scale",
		"modeling", "flatten_first", "empty_initial", "per_timestep", "description.model", "t5.name", "finetune", "normalize_text", "conditioners:",
		"fuser.cross:", "fuser.prepend", "fuser.sum", "fuser.input_interpolate", "cross_attention_pos_emb"} {
		if !strings.Contains(unsupported.Error(), key) {
			t.Errorf("%s is not among the reasons", key)
		}
	}
	for _, text := range []string{"seanet: {activation: ReLU}", "seanet: {decoder: {final_activation: Tanh}}", "encodec: {quantizer: no_quant}", "compression_model: dac"} {
		s, _ := parseSettings(text)
		if err := (&state{settings: s}).refuseCodec(); !errors.As(err, &unsupported) {
			t.Errorf("%s: got %v, want an UnsupportedError", text, err)
		}
	}
}

func TestDecoderSizes(t *testing.T) {
	base := decoderConfig{HiddenSize: 64, Layers: 3, Heads: 4, Codebooks: 4, VocabSize: 128}
	s, _ := parseSettings("transformer_lm: {num_layers: 5}")
	c := s.decoderConfig(base)
	if c.Layers != 5 || c.HiddenSize != 64 || c.FFN != 256 || c.Pad != 128 || !slices.Equal(c.Delays, []int{0, 1, 2, 3}) || len(s.problems) != 0 {
		t.Errorf("got %+v, problems %q", c, s.problems)
	}
	for _, text := range []string{
		"transformer_lm: {dim: 0}", "transformer_lm: {dim: -4}", "transformer_lm: {dim: many}", "transformer_lm: {n_q: 9999999999}",
		"transformer_lm: {num_heads: [1]}", "codebooks_pattern: {delay: {delays: [0, 1]}}", "codebooks_pattern: {delay: {delays: [0, 1, -2, 3]}}",
		"codebooks_pattern: {delay: {delays: 3}}", "dataset: {segment_duration: -1}", "dataset: {segment_duration: .nan}", "dataset: {segment_duration: .inf}",
	} {
		s, err := parseSettings(text)
		if err != nil {
			t.Fatal(err)
		}
		if s.decoderConfig(base); len(s.problems) == 0 {
			t.Errorf("%s was accepted", text)
		}
	}
}

// How samples were drawn in training is how codes are drawn, unless those were the likeliest ones.
func TestGenerationSettings(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1": `{"guidance_scale":3}`,
		"classifier_free_guidance: {inference_coef: 2.5}":                                              `{"guidance_scale":2.5}`,
		"generate: {lm: {use_sampling: true}}":                                                         `{"guidance_scale":3,"temperature":1,"top_k":250}`,
		"generate: {lm: {use_sampling: true, temp: 0.9, top_k: 20, top_p: 0.0}}":                       `{"guidance_scale":3,"temperature":0.9,"top_k":20}`,
		"generate: {lm: {use_sampling: true, temperature: 0.8, top_k: 0}}":                             `{"guidance_scale":3,"temperature":0.8,"top_k":0}`,
		"generate: {lm: {use_sampling: true, top_k: 20, top_p: 0.9}}":                                  `{"guidance_scale":3,"temperature":1,"top_k":0,"top_p":0.9}`,
		"generate: {lm: {use_sampling: false, temp: 1.0, top_k: 0, top_p: 0.0}}":                       `{"guidance_scale":3}`,
		"generate: {lm: {use_sampling: true, temp: 0.0, top_k: 20}}":                                   `{"guidance_scale":3}`,
		"generate: {lm: {use_sampling: true, temp: 1, top_k: null}}\nclassifier_free_guidance: {a: 1}": `{"guidance_scale":3,"temperature":1,"top_k":250}`,
		"generate: {lm: {use_sampling: true, top_k: 1.5}}":                                             `{"guidance_scale":3,"temperature":1,"top_k":1.5}`, // refused later
		"k: 30\ngenerate: {lm: {use_sampling: true, top_k: \"${k}\"}}":                                 `{"guidance_scale":3,"temperature":1,"top_k":30}`,
	} {
		s, err := parseSettings(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := json.Marshal(s.generationConfig()); err != nil || string(got) != want || len(s.problems) != 0 {
			t.Errorf("%s: got %s, %v, problems %q, want %s", text, got, err, s.problems, want)
		}
	}
	for _, text := range []string{"temp: hot", "temp: .nan", "top_k: [1]", "top_k: many", "top_p: .inf", "temperature: {}"} {
		s, err := parseSettings("generate: {lm: {use_sampling: true, " + text + "}}")
		if err != nil {
			t.Fatal(err)
		}
		if s.generationConfig(); len(s.problems) == 0 {
			t.Errorf("%s was accepted", text)
		}
	}
}

// FuzzConfig: whatever the settings say, what is not refused is a configuration that can be written as JSON.
func FuzzConfig(f *testing.F) {
	f.Add(melodySettings)
	f.Add(fmt.Sprintf(codecSettings, 24, 4, 128))
	f.Add("a: ${b}\nb: ${a}\ntransformer_lm: ${a}\n")
	f.Add("a: &a [*b]\n")
	f.Add("generate: {lm: {use_sampling: true, temp: 0.9, top_k: 20, top_p: 0.5}}\n")
	if data, err := os.ReadFile(goldens + "stereo-audiocraft/state_dict.bin"); err == nil {
		if root, err := parseTorch("", data); err == nil {
			f.Add(root.get("xp.cfg").(string))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSettings(text)
		if err != nil {
			return
		}
		st := &state{settings: s}
		st.refuseDecoder()
		st.refuseCodec()
		decoder, codec, top, generation := s.decoderConfig(decoderConfig{}), s.codecConfig(), s.topConfig(), s.generationConfig()
		if len(s.problems) > 0 {
			return
		}
		if _, err := json.Marshal([]any{decoder, codec, top, generation}); err != nil {
			t.Fatal(err)
		}
		if decoder.HiddenSize < 1 || decoder.VocabSize < 1 || len(decoder.Delays) != decoder.Codebooks {
			t.Fatalf("accepted %+v", decoder)
		}
	})
}
