package encodec

// The codec on a device: weights uploaded, geometry fixed, and the LSTM that encoder and decoder share in form.

import (
	"context"
	"fmt"

	"segue/engine/kern"
	"segue/weights"
)

// chunkFrames is how many frames the convolutions handle at once: 10 MB for the widest activation of the 32 kHz
// codec. The frame of margin on either side is then a small share of the work.
const chunkFrames = 64

// Codec converts between samples and codes. It may be used from several goroutines, each with its own stream.
type Codec struct {
	backend kern.Backend
	config  Config
	chunk   int // frames per chunk

	encoder     stack
	encoderLSTM []lstm
	encoderOut  conv

	decoderIn   conv
	decoderLSTM []lstm
	decoder     stack

	books kern.Slice // [Q, V, D]

	owned []kern.Object
}

// lstm is one layer; bias is the sum of its two.
type lstm struct {
	input, hidden kern.Matrix // [4W, W]
	bias          kern.Slice  // [4W]
}

// Load uploads the weights, until ctx ends. They must be complete: ask the Binder for its error first. precision is that of the LSTM's
// matrices; convolutions run in float32.
func Load(ctx context.Context, k kern.Backend, c Config, w *Weights, precision kern.Precision) (*Codec, error) {
	codec := &Codec{backend: k, config: c, chunk: chunkFrames}
	l := &loader{kern.Uploader{Context: ctx, Backend: k}, c, precision}
	codec.encoder, codec.encoderLSTM, codec.encoderOut = l.stack(w.encoder), l.lstm(w.encoderLSTM), l.conv(w.encoderOut)
	codec.decoderIn, codec.decoderLSTM, codec.decoder = l.conv(w.decoderIn), l.lstm(w.decoderLSTM), l.stack(w.decoder)
	codec.books = l.books(w.books)
	codec.owned = l.Made
	if l.Err != nil {
		codec.Close()
		return nil, fmt.Errorf("encodec: load: %w", l.Err)
	}
	return codec, nil
}

// Close frees the weights.
func (c *Codec) Close() {
	kern.Free(c.owned)
	c.owned = nil
}

// Bytes is the device memory that the weights hold.
func (c *Codec) Bytes() int64 { return kern.HeldBytes(c.owned) }

// Hop is the number of samples of one frame.
func (c *Codec) Hop() int { return c.config.Hop() }

// Rate is the number of samples per second.
func (c *Codec) Rate() int { return c.config.SamplingRate }

// FrameRate is the number of frames per second.
func (c *Codec) FrameRate() float64 { return float64(c.Rate()) / float64(c.Hop()) }

// Codebooks is Q, the number of codes of one frame.
func (c *Codec) Codebooks() int { return c.config.Codebooks }

// Entries is V, the number of values of one code.
func (c *Codec) Entries() int { return c.config.CodebookSize }

// recur adds to st.x what the LSTM makes of it, over all frames.
func recur(ctx context.Context, s kern.Stream, layers []lstm, st *state, frames int) error {
	x := st.x
	for i, layer := range layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.Linear(kern.Linear{Dst: st.gates, X: x, W: layer.input, Rows: frames, Bias: layer.bias})
		op := kern.LSTM{Dst: st.hidden, Gates: st.gates, Hidden: layer.hidden, T: frames}
		if i == len(layers)-1 {
			op.Dst, op.Residual = st.x, st.x // one skip around all layers
		}
		s.LSTM(op)
		x = st.hidden
	}
	return nil
}

// loader uploads into a codec.
type loader struct {
	kern.Uploader
	config    Config
	precision kern.Precision // of the LSTM's matrices
}

func (l *loader) stack(layers []layerWeights) stack {
	k := make(stack, len(layers))
	for i, w := range layers {
		k[i].conv = l.conv(w.conv)
		if w.tail != nil {
			tail := l.conv(*w.tail)
			k[i].tail = &tail
		}
		if w.shortcut != nil {
			shortcut := l.conv(*w.shortcut)
			k[i].shortcut = &shortcut
		}
	}
	return k
}

func (l *loader) conv(w convWeights) conv {
	v := conv{stride: w.stride, dilation: w.dilation, elu: w.elu, pad: l.config.PadMode, bias: l.Vector(w.bias)}
	if v.filter = l.Filter(w.weight, w.transposed); l.Err == nil {
		v.setPadding(l.config)
	}
	return v
}

func (l *loader) lstm(layers []lstmWeights) []lstm {
	var loaded []lstm
	for _, w := range layers {
		loaded = append(loaded, lstm{
			input: l.Matrix(l.precision, w.input), hidden: l.Matrix(l.precision, w.hidden), bias: l.sum(w.inputBias, w.hiddenBias),
		})
	}
	return loaded
}

// sum uploads a+b.
func (l *loader) sum(a, b *weights.Tensor) kern.Slice {
	if a.Len() != b.Len() && l.Err == nil {
		l.Err = fmt.Errorf("%s: got %d values, want the %d of %s", b.Name, b.Len(), a.Len(), a.Name)
	}
	return l.Vector(weights.Derive(a.Name+"+"+b.Name, func() []float32 {
		sum := append([]float32(nil), a.Floats()...)
		for i, x := range b.Floats() {
			sum[i] += x
		}
		return sum
	}, a.Len()))
}

// books uploads the codebooks as one [Q, V, D].
func (l *loader) books(books []*weights.Tensor) kern.Slice {
	c, got := l.config, 0
	for _, book := range books {
		got += book.Len()
	}
	if want := c.Codebooks * c.CodebookSize * c.HiddenSize; got != want && l.Err == nil {
		l.Err = fmt.Errorf("codebooks: got %d values, want %d", got, want)
	}
	return l.Vector(weights.Derive("codebooks", func() []float32 {
		var stacked []float32
		for _, book := range books {
			stacked = append(stacked, book.Floats()...)
		}
		return stacked
	}, c.Codebooks, c.CodebookSize, c.HiddenSize))
}
