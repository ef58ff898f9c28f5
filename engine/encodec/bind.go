package encodec

// Which tensors the codec has: their names, shapes and place in the network, all computed from the Config.
// layers.{i} counts as torch's module list does, so ELUs own an index but no tensors. Convolution weights come
// out of the Binder with the weight norm folded in.

import (
	"fmt"

	"segue/weights"
)

// Weights are the codec's tensors in the order they are used.
type Weights struct {
	encoder     []layerWeights // samples → [T, width]
	encoderLSTM []lstmWeights
	encoderOut  convWeights // [T, width] → z [T, D]

	decoderIn   convWeights // z → [T, width]
	decoderLSTM []lstmWeights
	decoder     []layerWeights // [T, width] → samples

	books []*weights.Tensor // Q of [V, D]
}

// layerWeights is one convolution or, with tail, one residual block: skip(x) + tail(ELU(conv(ELU(x)))). The skip
// is the identity where shortcut is nil.
type layerWeights struct {
	conv           convWeights
	tail, shortcut *convWeights
}

// convWeights is a convolution: weight [out, in, kernel], or [in, out, kernel] when transposed; bias [out].
type convWeights struct {
	weight, bias     *weights.Tensor
	stride, dilation int
	transposed, elu  bool // elu: of the input
}

// lstmWeights is one layer: input and hidden [4H, H], the two biases [4H], gates in the order i, f, g, o.
type lstmWeights struct {
	input, hidden, inputBias, hiddenBias *weights.Tensor
}

// source is where tensors come from: a weights.Binder, or chance in tests.
type source interface {
	Tensor(name string, shape ...int) *weights.Tensor
	Conv(prefix string, shape ...int) *weights.Tensor
	Ignore(pattern string)
}

// Bind takes the codec's tensors from a checkpoint. What is missing or misshapen is in b.Err().
func Bind(b *weights.Binder, c Config) *Weights { return bind(b, c) }

func bind(b source, c Config) *Weights {
	w := &Weights{}
	bindEncoder(&binder{b, c, "audio_encoder.encoder.layers"}, w)
	bindDecoder(&binder{b, c, "audio_encoder.decoder.layers"}, w)
	for q := range c.Codebooks {
		name := fmt.Sprintf("audio_encoder.quantizer.layers.%d.codebook.embed", q)
		w.books = append(w.books, b.Tensor(name, c.CodebookSize, c.HiddenSize))
	}
	for _, state := range []string{"embed_avg", "cluster_size", "inited"} { // of the codebooks' training
		b.Ignore("audio_encoder.quantizer.layers.*.codebook." + state)
	}
	return w
}

func bindEncoder(b *binder, w *Weights) {
	c, channels := b.config, b.config.NumFilters
	w.encoder = []layerWeights{{conv: b.conv(0, false, 1, channels, c.KernelSize, 1)}}
	layer := 1
	for i := len(c.UpsamplingRatios) - 1; i >= 0; i-- {
		w.encoder = append(w.encoder, b.residuals(layer, channels)...)
		layer += c.NumResidualLayers + 1 // and an ELU
		ratio := c.UpsamplingRatios[i]
		w.encoder = append(w.encoder, layerWeights{conv: b.conv(layer, true, channels, 2*channels, 2*ratio, ratio)})
		layer, channels = layer+1, 2*channels
	}
	w.encoderLSTM = b.lstm(layer, channels)
	w.encoderOut = b.conv(layer+2, true, channels, c.HiddenSize, c.LastKernelSize, 1)
}

func bindDecoder(b *binder, w *Weights) {
	c, channels := b.config, b.config.width()
	w.decoderIn = b.conv(0, false, c.HiddenSize, channels, c.KernelSize, 1)
	w.decoderLSTM = b.lstm(1, channels)
	layer := 3 // 2 is an ELU
	for _, ratio := range c.UpsamplingRatios {
		w.decoder = append(w.decoder, layerWeights{conv: b.transposed(layer, channels, channels/2, ratio)})
		layer, channels = layer+1, channels/2
		w.decoder = append(w.decoder, b.residuals(layer, channels)...)
		layer += c.NumResidualLayers + 1
	}
	w.decoder = append(w.decoder, layerWeights{conv: b.conv(layer, true, channels, 1, c.LastKernelSize, 1)})
}

// binder names and shapes the layers of one half of the codec.
type binder struct {
	source
	config Config
	prefix string
}

func (b *binder) conv(layer int, elu bool, in, out, kernel, stride int) convWeights {
	return b.named(fmt.Sprintf("%s.%d.conv", b.prefix, layer), elu, in, out, kernel, stride, 1)
}

func (b *binder) named(prefix string, elu bool, in, out, kernel, stride, dilation int) convWeights {
	return convWeights{
		weight: b.Conv(prefix, out, in, kernel), bias: b.Tensor(prefix+".bias", out),
		stride: stride, dilation: dilation, elu: elu,
	}
}

func (b *binder) transposed(layer, in, out, ratio int) convWeights {
	prefix := fmt.Sprintf("%s.%d.conv", b.prefix, layer)
	return convWeights{
		weight: b.Conv(prefix, in, out, 2*ratio), bias: b.Tensor(prefix+".bias", out),
		stride: ratio, dilation: 1, transposed: true, elu: true,
	}
}

// residuals are the blocks that begin at layer: a dilated convolution to the hidden width and one of kernel 1 back.
func (b *binder) residuals(layer, channels int) []layerWeights {
	c, dilation := b.config, 1
	hidden := channels / c.Compress
	var blocks []layerWeights
	for i := range c.NumResidualLayers {
		prefix := fmt.Sprintf("%s.%d", b.prefix, layer+i)
		tail := b.named(prefix+".block.3.conv", true, hidden, channels, 1, 1, 1)
		block := layerWeights{
			conv: b.named(prefix+".block.1.conv", true, channels, hidden, c.ResidualKernelSize, 1, dilation),
			tail: &tail,
		}
		if c.UseConvShortcut {
			shortcut := b.named(prefix+".shortcut.conv", false, channels, channels, 1, 1, 1)
			block.shortcut = &shortcut
		}
		blocks = append(blocks, block)
		dilation *= c.DilationGrowthRate
	}
	return blocks
}

func (b *binder) lstm(layer, width int) []lstmWeights {
	var layers []lstmWeights
	for i := range b.config.NumLSTMLayers {
		name := func(part string) string { return fmt.Sprintf("%s.%d.lstm.%s_l%d", b.prefix, layer, part, i) }
		layers = append(layers, lstmWeights{
			input: b.Tensor(name("weight_ih"), 4*width, width), hidden: b.Tensor(name("weight_hh"), 4*width, width),
			inputBias: b.Tensor(name("bias_ih"), 4*width), hiddenBias: b.Tensor(name("bias_hh"), 4*width),
		})
	}
	return layers
}
