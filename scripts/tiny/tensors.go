package main

// The random weights. A matrix has values of deviation gain/√inputs, so that signals keep their size from layer to layer;
// the codec's last convolution is set so that the noise comes out near -20 dBFS.

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"segue/weights"
)

const (
	gain     = 1.4
	loudness = 0.035 // deviation of the last convolution's weights over 1/√inputs: about -20 dBFS at the output
)

// builder collects tensors in the order in which they are drawn.
type builder struct {
	random *rand.Rand
	list   []*weights.Tensor
}

func tensors() []*weights.Tensor {
	b := &builder{random: rand.New(rand.NewPCG(32000, 640))}
	b.decoder()
	b.text()
	b.codec()
	return b.list
}

// add stores values as float16.
func (b *builder) add(name string, values []float64, shape ...int) {
	data := make([]byte, 0, 2*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint16(data, weights.F32ToF16(float32(v)))
	}
	b.list = append(b.list, &weights.Tensor{Name: name, DType: weights.F16, Shape: shape, Data: data})
}

// normal draws a tensor of the given deviation.
func (b *builder) normal(name string, deviation float64, shape ...int) {
	b.add(name, b.draw(deviation, product(shape)), shape...)
}

func (b *builder) draw(deviation float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = deviation * b.random.NormFloat64()
	}
	return values
}

// linear draws a matrix [out][in], without bias.
func (b *builder) linear(name string, out, in int) {
	b.normal(name+".weight", gain/math.Sqrt(float64(in)), out, in)
}

// norm adds a neutral layer norm, with a bias if it has one.
func (b *builder) norm(name string, n int, bias bool) {
	ones := make([]float64, n)
	for i := range ones {
		ones[i] = 1
	}
	b.add(name+".weight", ones, n)
	if bias {
		b.add(name+".bias", make([]float64, n), n)
	}
}

func (b *builder) decoder() {
	for k := range codebooks {
		b.normal(fmt.Sprintf("decoder.model.decoder.embed_tokens.%d.weight", k), 1, entries+1, width)
		b.linear(fmt.Sprintf("decoder.lm_heads.%d", k), entries, width)
	}
	for i := range layers {
		layer := fmt.Sprintf("decoder.model.decoder.layers.%d.", i)
		for _, attention := range []string{"self_attn", "encoder_attn"} {
			for _, part := range []string{"q", "k", "v", "out"} {
				b.linear(layer+attention+"."+part+"_proj", width, width)
			}
			b.norm(layer+attention+"_layer_norm", width, true)
		}
		b.linear(layer+"fc1", feed, width)
		b.linear(layer+"fc2", width, feed)
		b.norm(layer+"final_layer_norm", width, true)
	}
	b.norm("decoder.model.decoder.layer_norm", width, true)
	b.linear("enc_to_dec_proj", width, textWidth)
	b.add("enc_to_dec_proj.bias", make([]float64, width), width)
}

func (b *builder) text() {
	b.normal("text_encoder.shared.weight", 1, textWords, textWidth)
	for i := range textLayers {
		block := fmt.Sprintf("text_encoder.encoder.block.%d.layer.", i)
		for _, part := range []string{"q", "k", "v", "o"} {
			b.linear(block+"0.SelfAttention."+part, textWidth, textWidth)
		}
		if i == 0 {
			b.normal(block+"0.SelfAttention.relative_attention_bias.weight", 1, 32, textHeads)
		}
		b.norm(block+"0.layer_norm", textWidth, false)
		b.linear(block+"1.DenseReluDense.wi", textFeed, textWidth)
		b.linear(block+"1.DenseReluDense.wo", textWidth, textFeed)
		b.norm(block+"1.layer_norm", textWidth, false)
	}
	b.norm("text_encoder.encoder.final_layer_norm", textWidth, false)
}

// codec numbers its layers as the reference does: activations own an index but no tensors.
func (b *builder) codec() {
	channels, top := filters, filters<<len(ratios)
	at := func(side string, index int) string { return fmt.Sprintf("audio_encoder.%s.layers.%d", side, index) }
	b.conv(at("encoder", 0), filters, 1, kernel)
	for i := range ratios {
		stride := ratios[len(ratios)-1-i]
		b.residual(at("encoder", 3*i+1), channels)
		b.conv(at("encoder", 3*i+3), 2*channels, channels, 2*stride)
		channels *= 2
	}
	b.lstm(at("encoder", 13), top)
	b.conv(at("encoder", 15), latent, top, kernel)
	b.conv(at("decoder", 0), top, latent, kernel)
	b.lstm(at("decoder", 1), top)
	for i, stride := range ratios {
		b.transposed(at("decoder", 3*i+3), channels, channels/2, 2*stride)
		channels /= 2
		b.residual(at("decoder", 3*i+4), channels)
	}
	b.last(at("decoder", 15), filters, kernel)
	for q := range codebooks {
		b.normal(fmt.Sprintf("audio_encoder.quantizer.layers.%d.codebook.embed", q), 0.5, entries, latent)
	}
}

// conv draws a filter [out][in][taps].
func (b *builder) conv(name string, out, in, taps int) {
	b.normal(name+".conv.weight", gain/math.Sqrt(float64(in*taps)), out, in, taps)
	b.add(name+".conv.bias", make([]float64, out), out)
}

// last draws the filter [1][in][taps] that makes samples. Each input's taps sum to zero: the noise has no offset.
func (b *builder) last(name string, in, taps int) {
	values := b.draw(loudness/math.Sqrt(float64(in*taps)), in*taps)
	for row := 0; row < len(values); row += taps {
		sum := 0.0
		for _, v := range values[row : row+taps] {
			sum += v
		}
		for i := range taps {
			values[row+i] -= sum / float64(taps)
		}
	}
	b.add(name+".conv.weight", values, 1, in, taps)
	b.add(name+".conv.bias", []float64{0}, 1)
}

// transposed draws a filter [in][out][taps]; two taps of every input reach an output sample.
func (b *builder) transposed(name string, in, out, taps int) {
	b.normal(name+".conv.weight", gain/math.Sqrt(float64(2*in)), in, out, taps)
	b.add(name+".conv.bias", make([]float64, out), out)
}

func (b *builder) residual(name string, channels int) {
	b.conv(name+".block.1", channels/2, channels, residual)
	b.conv(name+".block.3", channels, channels/2, 1)
}

// lstm draws two stacked layers; the four gates lie one below the other.
func (b *builder) lstm(name string, n int) {
	for layer := range 2 {
		for _, part := range []string{"ih", "hh"} {
			suffix := fmt.Sprintf("_%s_l%d", part, layer)
			b.normal(name+".lstm.weight"+suffix, gain/math.Sqrt(float64(n)), 4*n, n)
			b.add(name+".lstm.bias"+suffix, make([]float64, 4*n), 4*n)
		}
	}
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}
