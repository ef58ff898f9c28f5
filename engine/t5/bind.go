package t5

import (
	"fmt"

	"segue/weights"
)

// Weights are the encoder's tensors as the checkpoint holds them: D model width, I = heads·d_kv, F ffn width.
type Weights struct {
	Shared       *weights.Tensor // [vocab, D]
	RelativeBias *weights.Tensor // [buckets, heads], of block 0, used by all
	Blocks       []Block
	FinalNorm    *weights.Tensor // [D]
}

// Block is one layer: self-attention and feed-forward, each behind its norm. None has biases.
type Block struct {
	AttentionNorm *weights.Tensor // [D]
	Q, K, V       *weights.Tensor // [I, D]
	O             *weights.Tensor // [D, I]
	DenseNorm     *weights.Tensor // [D]
	WI            *weights.Tensor // [F, D]
	WO            *weights.Tensor // [D, F]
}

// Bind looks up the tensors by their Hugging Face names. What is missing or of another shape, b.Err() tells.
func Bind(b *weights.Binder, c Config) *Weights {
	const encoder = "text_encoder.encoder."
	d, inner := c.DModel, c.Inner()
	w := &Weights{
		Shared: b.Tensor("text_encoder.shared.weight", c.VocabSize, d),
		RelativeBias: b.Tensor(encoder+"block.0.layer.0.SelfAttention.relative_attention_bias.weight",
			c.RelativeAttentionNumBuckets, c.NumHeads),
		Blocks:    make([]Block, c.NumLayers),
		FinalNorm: b.Tensor(encoder+"final_layer_norm.weight", d),
	}
	for i := range w.Blocks {
		attention := fmt.Sprintf("%sblock.%d.layer.0.", encoder, i)
		dense := fmt.Sprintf("%sblock.%d.layer.1.", encoder, i)
		w.Blocks[i] = Block{
			AttentionNorm: b.Tensor(attention+"layer_norm.weight", d),
			Q:             b.Tensor(attention+"SelfAttention.q.weight", inner, d),
			K:             b.Tensor(attention+"SelfAttention.k.weight", inner, d),
			V:             b.Tensor(attention+"SelfAttention.v.weight", inner, d),
			O:             b.Tensor(attention+"SelfAttention.o.weight", d, inner),
			DenseNorm:     b.Tensor(dense+"layer_norm.weight", d),
			WI:            b.Tensor(dense+"DenseReluDense.wi.weight", c.DFF, d),
			WO:            b.Tensor(dense+"DenseReluDense.wo.weight", d, c.DFF),
		}
	}
	return w
}
