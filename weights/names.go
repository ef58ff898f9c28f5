package weights

import (
	"regexp"
	"strings"
)

// Every upstream spelling of a tensor's name is translated here and nowhere else. Ours are those of Hugging Face's first
// MusicGen files; a name that no rule knows is kept, so that the binder reports it as extra instead of losing it.
//
//	transformer.layers.3.self_attn.in_proj_weight [3H, H]  ──►  decoder.model.decoder.layers.3.self_attn.{q,k,v}_proj.weight

// Names that two spellings of the T5 embedding may both have in one file.
const (
	sharedEmbedding = "text_encoder.shared.weight"
	aliasEmbedding  = "text_encoder.encoder.embed_tokens.weight"
)

// weightNorm: torch ≥ 2.1 stores g and v of a normalised weight under other names.
var weightNorm = strings.NewReplacer(
	".parametrizations.weight.original0", ".weight_g",
	".parametrizations.weight.original1", ".weight_v",
)

// A rename replaces the part of a name that matches.
type rename struct {
	match *regexp.Regexp
	ours  string
}

func renames(pairs ...string) []rename {
	rules := []rename{}
	for i := 0; i < len(pairs); i += 2 {
		rules = append(rules, rename{regexp.MustCompile(pairs[i]), pairs[i+1]})
	}
	return rules
}

// decoderNames: audiocraft's language model. A key starts with its module, so every rule is anchored; layers come
// first and their parts follow.
var decoderNames = renames(
	`\.mha\.`, `.`, // attention wrapped in a stock torch module
	`^emb\.(\d+)\.`, `decoder.model.decoder.embed_tokens.$1.`,
	`^linears\.(\d+)\.`, `decoder.lm_heads.$1.`,
	`^out_norm\.`, `decoder.model.decoder.layer_norm.`,
	`^transformer\.layers\.(\d+)\.`, `decoder.model.decoder.layers.$1.`,
	`^(decoder\.model\.decoder\.layers\.\d+\.)norm1\.`, `${1}self_attn_layer_norm.`,
	`^(decoder\.model\.decoder\.layers\.\d+\.)norm_cross\.`, `${1}encoder_attn_layer_norm.`,
	`^(decoder\.model\.decoder\.layers\.\d+\.)norm2\.`, `${1}final_layer_norm.`,
	`^(decoder\.model\.decoder\.layers\.\d+\.)linear(1|2)\.`, `${1}fc$2.`,
	`^(decoder\.model\.decoder\.layers\.\d+\.)cross_attention\.`, `${1}encoder_attn.`,
	`^condition_provider\.conditioners\.description\.output_proj\.`, `enc_to_dec_proj.`,
	`^condition_provider\.conditioners\.self_wav\.output_proj\.`, `audio_enc_to_dec_proj.`,
)

// codecNames: audiocraft's EnCodec wraps each convolution twice (conv.conv, convtr.convtr).
var codecNames = renames(
	`^(encoder|decoder)\.model\.`, `$1.layers.`,
	`\.conv\.conv\.`, `.conv.`,
	`\.convtr\.convtr\.`, `.conv.`,
	`^quantizer\.vq\.layers\.(\d+)\._codebook\.`, `quantizer.layers.$1.codebook.`,
	`^`, `audio_encoder.`,
)

// unusedAudiocraft are constants that audiocraft stores and we compute.
const unusedAudiocraft = "condition_provider.conditioners.self_wav.chroma."

func translate(name string, rules []rename) string {
	for _, rule := range rules {
		name = rule.match.ReplaceAllString(name, rule.ours)
	}
	return weightNorm.Replace(name)
}

// named is t under another name, sharing its data.
func (t *Tensor) named(name string) *Tensor {
	renamed := *t
	renamed.Name = name
	return &renamed
}

func fromHuggingFace(tensors map[string]*Tensor) []*Tensor {
	ours := []*Tensor{}
	for name, t := range tensors {
		ours = append(ours, t.named(weightNorm.Replace(name)))
	}
	return ours
}

// dropAliases leaves one name for the T5 embedding, which torch files may hold under two.
func (c *Checkpoint) dropAliases() {
	alias := c.tensors[aliasEmbedding]
	if alias == nil {
		return
	}
	if c.tensors[sharedEmbedding] == nil {
		c.tensors[sharedEmbedding] = alias.named(sharedEmbedding)
	}
	delete(c.tensors, aliasEmbedding)
}

func decoderFromAudiocraft(tensors map[string]*Tensor) []*Tensor {
	ours := []*Tensor{}
	for name, t := range tensors {
		if strings.HasPrefix(name, unusedAudiocraft) {
			continue
		}
		name = translate(name, decoderNames)
		if prefix, fused := strings.CutSuffix(name, ".in_proj_weight"); fused && len(t.Shape) == 2 && t.Shape[0] > 0 && t.Shape[0]%3 == 0 {
			ours = append(ours, splitProjection(t, prefix)...)
			continue
		}
		ours = append(ours, t.named(name))
	}
	return ours
}

// splitProjection: [3H, H] holds the rows of q, then k, then v.
func splitProjection(t *Tensor, prefix string) []*Tensor {
	h := t.Shape[0] / 3
	return []*Tensor{
		t.Rows(prefix+".q_proj.weight", 0, h),
		t.Rows(prefix+".k_proj.weight", h, 2*h),
		t.Rows(prefix+".v_proj.weight", 2*h, 3*h),
	}
}

func codecFromAudiocraft(tensors map[string]*Tensor) []*Tensor {
	ours := []*Tensor{}
	for name, t := range tensors {
		ours = append(ours, t.named(translate(name, codecNames)))
	}
	return ours
}
