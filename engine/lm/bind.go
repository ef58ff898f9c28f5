package lm

import (
	"fmt"
	"math"

	"segue/weights"
)

// Weights are the decoder's tensors as the checkpoint holds them, named as there.
type Weights struct {
	Embed                      []*weights.Tensor // Q × [V+1, D]
	Positions                  *weights.Tensor   // [positions, D]: stored, or computed
	Layers                     []LayerWeights
	Norm                       NormTensors
	Heads                      []*weights.Tensor // Q × [V, D]
	Projection, ProjectionBias *weights.Tensor   // enc_to_dec_proj [D, text width], [D]; nil where the widths agree
	Chroma, ChromaBias         *weights.Tensor   // audio_enc_to_dec_proj [D, bins], [D]; melody models only
}

// NormTensors are the parameters of one layer norm, [D] each.
type NormTensors struct{ Weight, Bias *weights.Tensor }

// AttentionTensors are one attention's projections, [D, D] each, without biases.
type AttentionTensors struct{ Q, K, V, Out *weights.Tensor }

// LayerWeights is one decoder layer.
type LayerWeights struct {
	SelfNorm, FinalNorm NormTensors // FinalNorm comes before the feed-forward, despite its name
	Self                AttentionTensors
	CrossNorm           NormTensors      // not in melody models
	Cross               AttentionTensors // likewise
	FC1, FC2            *weights.Tensor  // [FFN, D], [D, FFN]
}

// Bind takes the decoder's tensors from a checkpoint. Problems stay in the binder.
func Bind(b *weights.Binder, c Config) *Weights {
	const model = "decoder.model.decoder."
	w := &Weights{Norm: bindNorm(b, model+"layer_norm", c)}
	for q := range c.Codebooks {
		w.Embed = append(w.Embed, b.Tensor(fmt.Sprintf("%sembed_tokens.%d.weight", model, q), c.Entries+1, c.Width))
		w.Heads = append(w.Heads, b.Tensor(fmt.Sprintf("decoder.lm_heads.%d.weight", q), c.Entries, c.Width))
	}
	// Older checkpoints store the table; its last digits differ from a computed one, so it is used as it is.
	if w.Positions = b.Optional(model+"embed_positions.weights", c.Positions, c.Width); w.Positions == nil {
		stored := w.Embed[0].DType
		w.Positions = weights.Derive("embed_positions.weights",
			func() []float32 { return sinusoids(c.Positions, c.Width, stored) }, c.Positions, c.Width)
	}
	for i := range c.Layers {
		w.Layers = append(w.Layers, bindLayer(b, fmt.Sprintf("%slayers.%d.", model, i), c))
	}
	if c.TextWidth != c.Width { // the reference makes no projection where none is needed
		w.Projection = b.Tensor("enc_to_dec_proj.weight", c.Width, c.TextWidth)
		w.ProjectionBias = b.Tensor("enc_to_dec_proj.bias", c.Width)
	} else if w.Projection = b.Optional("enc_to_dec_proj.weight", c.Width, c.TextWidth); w.Projection != nil {
		w.ProjectionBias = b.Tensor("enc_to_dec_proj.bias", c.Width)
	}
	if c.Chroma > 0 {
		w.Chroma = b.Tensor("audio_enc_to_dec_proj.weight", c.Width, c.Chroma)
		w.ChromaBias = b.Tensor("audio_enc_to_dec_proj.bias", c.Width)
	}
	return w
}

func bindLayer(b *weights.Binder, prefix string, c Config) LayerWeights {
	attention := func(name string) AttentionTensors {
		projection := func(p string) *weights.Tensor {
			return b.Tensor(prefix+name+"."+p+"_proj.weight", c.Width, c.Width)
		}
		return AttentionTensors{Q: projection("q"), K: projection("k"), V: projection("v"), Out: projection("out")}
	}
	l := LayerWeights{
		SelfNorm:  bindNorm(b, prefix+"self_attn_layer_norm", c),
		FinalNorm: bindNorm(b, prefix+"final_layer_norm", c),
		Self:      attention("self_attn"),
		FC1:       b.Tensor(prefix+"fc1.weight", c.FFN, c.Width),
		FC2:       b.Tensor(prefix+"fc2.weight", c.Width, c.FFN),
	}
	if c.Chroma == 0 {
		l.CrossNorm, l.Cross = bindNorm(b, prefix+"encoder_attn_layer_norm", c), attention("encoder_attn")
	}
	return l
}

func bindNorm(b *weights.Binder, name string, c Config) NormTensors {
	return NormTensors{Weight: b.Tensor(name+".weight", c.Width), Bias: b.Tensor(name+".bias", c.Width)}
}

// sinusoids is the position table as the reference computes it: frequencies exp(-i·ln(10000)/(D/2-1)) and their product
// with the position rounded to float32, then all cosines, then all sines. That rounding moves the phase by up to 1e-4 near
// the end of the table, so it is repeated here. A reference that holds the model in half precision holds its table in it too:
// stored is the precision of the other weights.
func sinusoids(positions, width int, stored weights.DType) []float32 {
	half := width / 2
	table := make([]float32, positions*width)
	scale := float32(math.Log(10000) / float64(max(half-1, 1)))
	for i := range half {
		frequency := float32(math.Exp(float64(-float32(i) * scale)))
		for p := range positions {
			phase := float64(float32(p) * frequency)
			table[p*width+i] = float32(math.Cos(phase))
			table[p*width+half+i] = float32(math.Sin(phase))
		}
	}
	if stored == weights.F16 || stored == weights.BF16 {
		for i, v := range table {
			table[i] = stored.Round(v)
		}
	}
	return table
}
