package lm

import (
	"context"
	"segue/engine/kern"
	"segue/weights"
)

const layerNormEpsilon = 1e-5

// Precisions are those of a model's parts on the device.
type Precisions struct {
	Linears    kern.Precision // attention, feed-forward, heads, text projection
	Embeddings kern.Precision
	Cache      kern.Precision // keys and values: F32, F16 or Q8
}

// Model is a decoder on a device. One goroutine at a time may use it.
type Model struct {
	Config  Config
	backend kern.Backend
	cached  kern.Precision // of keys and values

	embed      []kern.Matrix
	positions  kern.Slice // [positions, D]
	layers     []layer
	norm       kern.NormWeights
	heads      kern.Matrix // [Q·V, D], codebook by codebook
	projection kern.Matrix // nil where text states have the decoder's width
	bias       kern.Slice  // of the projection
	chroma     kern.Matrix // [D, bins]; nil but in melody models
	chromaBias kern.Slice

	state state
	owned []kern.Object
}

type layer struct {
	selfNorm, crossNorm, finalNorm kern.NormWeights
	qkv, out                       kern.Matrix // [3D, D], [D, D]
	crossQ, crossKV, crossOut      kern.Matrix // [D, D], [2D, D], [D, D]; nil in melody models
	fc1, fc2                       kern.Matrix // [FFN, D], [D, FFN]
}

// Load uploads a decoder, until ctx ends. The tensors are no longer needed when it returns, unless the backend keeps views of the file.
func Load(ctx context.Context, backend kern.Backend, c Config, w *Weights, p Precisions) (*Model, error) {
	m := &Model{Config: c, backend: backend, cached: p.Cache}
	u := uploader{kern.Uploader{Context: ctx, Backend: backend}, p.Linears}
	for _, t := range w.Embed {
		m.embed = append(m.embed, u.Table(p.Embeddings, t))
	}
	m.positions = u.Vector(w.Positions)
	for i := range w.Layers {
		m.layers = append(m.layers, u.layer(&w.Layers[i], c.Chroma == 0))
	}
	m.norm = u.norm(w.Norm)
	m.heads = u.linear(w.Heads...)
	if w.Projection != nil {
		m.projection, m.bias = u.linear(w.Projection), u.Vector(w.ProjectionBias)
	}
	if w.Chroma != nil {
		m.chroma, m.chromaBias = u.linear(w.Chroma), u.Vector(w.ChromaBias)
	}
	m.owned = u.Made
	if u.Err != nil {
		m.Close()
		return nil, u.Err
	}
	return m, nil
}

// uploader knows the precision of the linears.
type uploader struct {
	kern.Uploader
	precision kern.Precision
}

func (u *uploader) layer(l *LayerWeights, cross bool) layer {
	made := layer{
		selfNorm: u.norm(l.SelfNorm), finalNorm: u.norm(l.FinalNorm),
		qkv: u.linear(l.Self.Q, l.Self.K, l.Self.V), out: u.linear(l.Self.Out),
		fc1: u.linear(l.FC1), fc2: u.linear(l.FC2),
	}
	if cross {
		made.crossNorm = u.norm(l.CrossNorm)
		made.crossQ, made.crossKV, made.crossOut = u.linear(l.Cross.Q), u.linear(l.Cross.K, l.Cross.V), u.linear(l.Cross.Out)
	}
	return made
}

func (u *uploader) linear(parts ...*weights.Tensor) kern.Matrix {
	return u.Matrix(u.precision, parts...)
}

func (u *uploader) norm(t NormTensors) kern.NormWeights {
	return kern.NormWeights{Kind: kern.LayerNorm, Weight: u.Vector(t.Weight), Bias: u.Vector(t.Bias), Epsilon: layerNormEpsilon}
}

// Bytes is the device memory that the weights hold.
func (m *Model) Bytes() int64 { return kern.HeldBytes(m.owned) }

// Close frees the device memory of the model; prefixes made from it must be freed by their owners.
func (m *Model) Close() {
	kern.Free(m.owned)
	m.owned = nil
	m.state.free()
}
