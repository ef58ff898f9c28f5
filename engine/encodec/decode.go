package encodec

import (
	"context"
	"fmt"

	"segue/engine/kern"
)

// Decode turns codes [Q, T], T = frames, into samples and hands those of the frames [from, frames) to emit, in order and
// in chunks; the slice it gets is reused afterwards. The samples are the same whatever from is, only less is computed.
// They do depend on the frames that follow, unless the codec is causal: in MusicGen's codec the last four frames
// sound different once more codes follow.
func (c *Codec) Decode(ctx context.Context, s kern.Stream, codes []int32, frames, from int, emit func(samples []float32) error) error {
	if err := c.checkCodes(codes, frames, from); err != nil {
		return err
	}
	if from == frames {
		return nil
	}
	outputs := cut(from, frames, c.chunk)
	for i := range outputs {
		outputs[i].from *= c.Hop()
		outputs[i].to *= c.Hop()
	}
	p := c.decoder.plan(frames, outputs)
	st, err := c.newState(s, frames, p)
	if err != nil {
		return err
	}
	defer st.free()
	s.UploadInts(st.codes, codes)
	s.RVQDecode(kern.RVQDecode{
		Dst: st.z, Codes: st.codes, Books: c.books,
		Q: c.config.Codebooks, Entries: c.config.CodebookSize, T: frames, D: c.config.HiddenSize, Stride: frames,
	})
	c.decoderIn.whole(s, st.x, st.z, frames)
	if err := recur(ctx, s, c.decoderLSTM, st, frames); err != nil {
		return err
	}
	return c.upsample(ctx, s, outputs, p, st, emit)
}

// upsample runs the decoder's transposed convolutions from st.x, chunk by chunk.
func (c *Codec) upsample(ctx context.Context, s kern.Stream, outputs []span, p plan, st *state, emit func([]float32) error) error {
	x := window{st.x, span{0, p.lengths[0]}, c.config.width()}
	samples := make([]float32, outputs[0].len())
	for i, out := range outputs {
		y, err := c.decoder.run(ctx, s, x, p, i, st.slots)
		if err != nil {
			return err
		}
		samples = samples[:out.len()]
		if err := s.Download(samples, y.at(out)); err != nil {
			return err
		}
		if err := emit(samples); err != nil {
			return err
		}
	}
	return nil
}

// checkCodes keeps what a device would read from the wrong place away from it.
func (c *Codec) checkCodes(codes []int32, frames, from int) error {
	if frames < 0 || from < 0 || from > frames {
		return fmt.Errorf("encodec: decode: frames [%d, %d), want 0 ≤ from ≤ frames", from, frames)
	}
	if len(codes) != c.Codebooks()*frames {
		return fmt.Errorf("encodec: decode: got %d codes, want %d codebooks × %d frames", len(codes), c.Codebooks(), frames)
	}
	for i, code := range codes {
		if code < 0 || int(code) >= c.Entries() {
			return fmt.Errorf("encodec: decode: codebook %d, frame %d: got code %d, want 0 to %d", i/frames, i%frames, code, c.Entries()-1)
		}
	}
	return nil
}
