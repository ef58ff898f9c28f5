package encodec

import (
	"context"

	"segue/engine/kern"
)

// Encode turns the samples of one channel into codes [Q, T], T = ⌈samples/hop⌉ frames. The last frame of a signal that
// is no multiple of hop sees padding.
func (c *Codec) Encode(ctx context.Context, s kern.Stream, samples []float32) (codes []int32, frames int, err error) {
	st, frames, err := c.embed(ctx, s, samples)
	if err != nil || frames == 0 {
		return nil, 0, err
	}
	defer st.free()
	s.RVQEncode(kern.RVQEncode{
		Codes: st.codes, Z: st.z, Books: c.books,
		Q: c.config.Codebooks, Entries: c.config.CodebookSize, T: frames, D: c.config.HiddenSize, Stride: frames,
	})
	codes = make([]int32, st.codes.N)
	if err := s.DownloadInts(codes, st.codes); err != nil {
		return nil, 0, err
	}
	return codes, frames, nil
}

// Embeddings is what Encode quantises, z [T, D]: for verification.
func (c *Codec) Embeddings(ctx context.Context, s kern.Stream, samples []float32) (z []float32, frames int, err error) {
	st, frames, err := c.embed(ctx, s, samples)
	if err != nil || frames == 0 {
		return nil, 0, err
	}
	defer st.free()
	z = make([]float32, st.z.N)
	if err := s.Download(z, st.z); err != nil {
		return nil, 0, err
	}
	return z, frames, nil
}

// embed records everything before the quantiser and returns a state, to be freed, whose z holds the embeddings.
func (c *Codec) embed(ctx context.Context, s kern.Stream, samples []float32) (*state, int, error) {
	if len(samples) == 0 {
		return nil, 0, nil
	}
	frames := (len(samples)-1)/c.Hop() + 1
	p := c.encoder.plan(len(samples), cut(0, frames, c.chunk))
	st, err := c.newState(s, frames, p)
	if err != nil {
		return nil, 0, err
	}
	if err := c.downsample(ctx, s, samples, p, st); err != nil {
		st.free()
		return nil, 0, err
	}
	if err := recur(ctx, s, c.encoderLSTM, st, frames); err != nil {
		st.free()
		return nil, 0, err
	}
	c.encoderOut.whole(s, st.z, st.x, frames)
	return st, frames, nil
}

// downsample runs the encoder's convolutions, chunk by chunk, into st.x.
func (c *Codec) downsample(ctx context.Context, s kern.Stream, samples []float32, p plan, st *state) error {
	frames, width := p.lengths[len(p.lengths)-1], c.config.width()
	for i, out := range cut(0, frames, c.chunk) {
		in := p.chunks[i][0]
		x := window{st.slots[1].At(0, in.len()), in, 1}
		s.Upload(x.data, samples[in.from:in.to])
		y, err := c.encoder.run(ctx, s, x, p, i, st.slots)
		if err != nil {
			return err
		}
		s.Copy(st.x.At(out.from*width, out.len()*width), y.at(out))
		if err := kern.Finish(s); err != nil { // so work in flight stays small, and cancelling is quick
			return err
		}
	}
	return nil
}
