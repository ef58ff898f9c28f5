// Package t5 turns the description of a piece of music into states for the language model: a Unigram tokenizer and the
// encoder of T5.
//
//	text ── Tokenizer ──► ids [L] ── Encoder ──► states [L, D]
//
// The encoder, for L tokens at once, without a mask and without absolute positions:
//
//	x = shared[ids]
//	per layer:  x += O·attention(q, k, v of rms(x)) with scores q·k + bias, not scaled
//	            x += Wo·relu(Wi·rms(x))
//	states = rms(x)
package t5

import (
	"context"
	"errors"
	"fmt"

	"segue/engine/kern"
	"segue/weights"
)

// Encoder is a T5 encoder on a device. It belongs to one goroutine at a time: texts share its buffers.
type Encoder struct {
	backend      kern.Backend
	config       Config
	shared       []kern.Matrix // the one table of Embed
	blocks       []block
	finalNorm    kern.NormWeights
	relativeBias []float32 // [buckets, heads], on the host
	state        state
	owned        []kern.Object
}

type block struct {
	attentionNorm, denseNorm kern.NormWeights
	qkv, o, wi, wo           kern.Matrix // [3·I, D], [D, I], [F, D], [D, F]
}

// Load uploads the weights, until ctx ends. Their checkpoint must stay open as long as the encoder: a backend may read the mapped file.
// precision is that of the linear weights.
func Load(ctx context.Context, k kern.Backend, c Config, w *Weights, precision kern.Precision) (*Encoder, error) {
	u := uploader{kern.Uploader{Context: ctx, Backend: k}, precision, float32(c.LayerNormEpsilon)}
	e := &Encoder{
		backend: k, config: c,
		shared:       []kern.Matrix{u.Table(kern.Stored, w.Shared)},
		blocks:       make([]block, len(w.Blocks)),
		relativeBias: w.RelativeBias.Floats(),
	}
	for i, b := range w.Blocks {
		e.blocks[i] = block{
			attentionNorm: u.norm(b.AttentionNorm), denseNorm: u.norm(b.DenseNorm),
			qkv: u.linear(b.Q, b.K, b.V), o: u.linear(b.O), wi: u.linear(b.WI), wo: u.linear(b.WO),
		}
	}
	e.finalNorm = u.norm(w.FinalNorm)
	e.owned = u.Made
	if u.Err != nil {
		e.Close()
		return nil, fmt.Errorf("t5: upload: %w", u.Err)
	}
	return e, nil
}

// Width is D, the width of the states.
func (e *Encoder) Width() int { return e.config.DModel }

// Close returns the device memory. States that Encode returned stay.
func (e *Encoder) Close() {
	e.state.free()
	kern.Free(e.owned)
	e.owned = nil
}

// Bytes is the device memory that the weights hold.
func (e *Encoder) Bytes() int64 { return kern.HeldBytes(e.owned) }

// Encode returns the states [len(ids), D] of a text in a new buffer, which is the caller's. It waits for the device, so
// that what a caller keeps is known to be whole. Work is quadratic in len(ids): callers bound it.
func (e *Encoder) Encode(ctx context.Context, s kern.Stream, ids []int32) (kern.Buffer, error) {
	if len(ids) == 0 {
		return nil, errors.New("t5: encode: got no ids, want at least that of " + endOfText)
	}
	for _, id := range ids {
		if id < 0 || int(id) >= e.config.VocabSize {
			return nil, fmt.Errorf("t5: encode: got id %d, want below vocab_size %d: tokenizer and model do not belong together", id, e.config.VocabSize)
		}
	}
	if err := e.state.grow(e.backend, e.config, len(ids)); err != nil {
		return nil, fmt.Errorf("t5: encode: %w", err)
	}
	states, err := e.backend.Floats(len(ids) * e.config.DModel)
	if err != nil {
		return nil, fmt.Errorf("t5: encode: %w", err)
	}
	// Even after a cancel what was recorded is finished: the next text may replace the buffers it uses.
	err = errors.Join(e.record(ctx, s, ids, kern.All(states)), kern.Finish(s))
	if err != nil {
		states.Free()
		return nil, fmt.Errorf("t5: encode: %w", err)
	}
	return states, nil
}

// record is the forward pass. Its error is that of the context; the stream keeps its own.
func (e *Encoder) record(ctx context.Context, s kern.Stream, ids []int32, states kern.Slice) error {
	l, d := len(ids), e.config.DModel
	x, tokens := kern.All(e.state.x).At(0, l*d), kern.All(e.state.ids).At(0, l)
	bias := kern.All(e.state.bias).At(0, e.config.NumHeads*(2*l-1))
	s.UploadInts(tokens, ids)
	s.Upload(bias, e.config.relativeBias(e.relativeBias, l))
	s.Embed(kern.Embed{Dst: x, Tables: e.shared, Codes: tokens, Stride: l, Rows: 1, Variations: 1, Columns: l})
	for _, b := range e.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		e.attention(s, b, x, bias, l)
		e.dense(s, b, x, l)
	}
	s.Norm(kern.Norm{Dst: states, X: x, Rows: l, Norm: e.finalNorm})
	return nil
}

// attention: x += O·attention(rms(x)·QKV).
func (e *Encoder) attention(s kern.Stream, b block, x, bias kern.Slice, l int) {
	inner := e.config.Inner()
	stride := 3 * inner
	qkv, attended := kern.All(e.state.qkv).At(0, l*stride), kern.All(e.state.attended).At(0, l*inner)
	s.Linear(kern.Linear{Dst: qkv, X: x, W: b.qkv, Rows: l, Norm: b.attentionNorm})
	s.Attention(kern.Attention{
		Dst: attended,
		Q:   qkv, K: qkv.At(inner, l*stride-inner), V: qkv.At(2*inner, l*stride-2*inner),
		QStride: stride, KVStride: stride, Rows: l, Keys: l,
		Heads: e.config.NumHeads, HeadDim: e.config.DKV, Scale: 1, Bias: bias,
	})
	s.Linear(kern.Linear{Dst: x, X: attended, W: b.o, Rows: l, Residual: x})
}

// dense: x += Wo·relu(Wi·rms(x)).
func (e *Encoder) dense(s kern.Stream, b block, x kern.Slice, l int) {
	hidden := kern.All(e.state.dense).At(0, l*e.config.DFF)
	s.Linear(kern.Linear{Dst: hidden, X: x, W: b.wi, Rows: l, Norm: b.denseNorm, Act: kern.ReLU})
	s.Linear(kern.Linear{Dst: x, X: hidden, W: b.wo, Rows: l, Residual: x})
}

// uploader knows what all linears, and all norms, have in common.
type uploader struct {
	kern.Uploader
	precision kern.Precision
	epsilon   float32
}

func (u *uploader) linear(parts ...*weights.Tensor) kern.Matrix {
	return u.Matrix(u.precision, parts...)
}

func (u *uploader) norm(t *weights.Tensor) kern.NormWeights {
	return kern.NormWeights{Kind: kern.RMSNorm, Weight: u.Vector(t), Epsilon: u.epsilon}
}
