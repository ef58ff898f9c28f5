package lm

import (
	"errors"

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
	positions  kern.Buffer // [positions, D]
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

// Load uploads a decoder. The tensors are no longer needed when it returns, unless the backend keeps views of the file.
func Load(backend kern.Backend, c Config, w *Weights, p Precisions) (*Model, error) {
	m := &Model{Config: c, backend: backend, cached: p.Cache}
	u := uploader{model: m, precision: p.Linears}
	for _, t := range w.Embed {
		m.embed = append(m.embed, u.keep(backend.Table(p.Embeddings, t)))
	}
	m.positions = u.buffer(backend.Vector(kern.Ready(backend, w.Positions)))
	for i := range w.Layers {
		m.layers = append(m.layers, u.layer(&w.Layers[i], c.Chroma == 0))
	}
	m.norm = u.norm(w.Norm)
	m.heads = u.matrix(w.Heads...)
	if w.Projection != nil {
		m.projection = u.matrix(w.Projection)
		m.bias = kern.All(u.buffer(backend.Vector(w.ProjectionBias)))
	}
	if w.Chroma != nil {
		m.chroma = u.matrix(w.Chroma)
		m.chromaBias = kern.All(u.buffer(backend.Vector(w.ChromaBias)))
	}
	if u.err != nil {
		m.Close()
		return nil, u.err
	}
	return m, nil
}

// uploader keeps what was uploaded for Close, and the first error.
type uploader struct {
	model     *Model
	precision kern.Precision
	err       error
}

func (u *uploader) layer(l *LayerWeights, cross bool) layer {
	made := layer{
		selfNorm: u.norm(l.SelfNorm), finalNorm: u.norm(l.FinalNorm),
		qkv: u.matrix(l.Self.Q, l.Self.K, l.Self.V), out: u.matrix(l.Self.Out),
		fc1: u.matrix(l.FC1), fc2: u.matrix(l.FC2),
	}
	if cross {
		made.crossNorm = u.norm(l.CrossNorm)
		made.crossQ, made.crossKV, made.crossOut = u.matrix(l.Cross.Q), u.matrix(l.Cross.K, l.Cross.V), u.matrix(l.Cross.Out)
	}
	return made
}

func (u *uploader) matrix(parts ...*weights.Tensor) kern.Matrix {
	return u.keep(u.model.backend.Matrix(u.precision, parts...))
}

func (u *uploader) keep(w kern.Matrix, err error) kern.Matrix {
	if err != nil {
		u.err = errors.Join(u.err, err)
		return nil
	}
	u.model.owned = append(u.model.owned, w)
	return w
}

func (u *uploader) buffer(b kern.Buffer, err error) kern.Buffer {
	if err != nil {
		u.err = errors.Join(u.err, err)
		return emptyBuffer{}
	}
	u.model.owned = append(u.model.owned, b)
	return b
}

func (u *uploader) norm(t NormTensors) kern.NormWeights {
	vector := func(t *weights.Tensor) kern.Slice { return kern.All(u.buffer(u.model.backend.Vector(t))) }
	return kern.NormWeights{Kind: kern.LayerNorm, Weight: vector(t.Weight), Bias: vector(t.Bias), Epsilon: layerNormEpsilon}
}

// emptyBuffer stands in for one that failed to upload until Load reports the error.
type emptyBuffer struct{}

func (emptyBuffer) Len() int     { return 0 }
func (emptyBuffer) Bytes() int64 { return 0 }
func (emptyBuffer) Free()        {}

// Bytes is the device memory that the weights hold.
func (m *Model) Bytes() int64 { return kern.HeldBytes(m.owned) }

// Close frees the device memory of the model; prefixes made from it must be freed by their owners.
func (m *Model) Close() {
	kern.Free(m.owned)
	m.owned = nil
	m.state.free()
}
