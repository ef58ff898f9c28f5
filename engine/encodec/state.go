package encodec

import "segue/engine/kern"

// state is all device memory of one Encode or Decode; the Codec itself holds only weights. W is the width of the LSTM.
// It takes 6W + D floats per frame, 25 kB at W = 1024, and two slots whose size is set by the chunk, not by T.
type state struct {
	codes  kern.Slice    // int32 [Q, T]
	z      kern.Slice    // [T, D] before or after RVQ
	x      kern.Slice    // [T, W] into and out of the LSTM
	hidden kern.Slice    // [T, W] between its layers
	gates  kern.Slice    // [T, 4W]
	slots  [2]kern.Slice // activations of one chunk, alternating

	stream  kern.Stream
	buffers []kern.Buffer
}

// newState has room for frames in whole and chunks of the plan p.
func (c *Codec) newState(s kern.Stream, frames int, p plan) (*state, error) {
	st := &state{stream: s}
	width := c.config.width()
	codes, err := c.backend.Ints(c.config.Codebooks * frames)
	if err != nil {
		return nil, err
	}
	st.codes, st.buffers = kern.All(codes), append(st.buffers, codes)
	for _, part := range []struct {
		slice *kern.Slice
		n     int
	}{
		{&st.z, frames * c.config.HiddenSize},
		{&st.x, frames * width},
		{&st.hidden, frames * width},
		{&st.gates, frames * 4 * width},
		{&st.slots[0], p.room},
		{&st.slots[1], p.room},
	} {
		buffer, err := c.backend.Floats(part.n)
		if err != nil {
			st.free()
			return nil, err
		}
		*part.slice, st.buffers = kern.All(buffer), append(st.buffers, buffer)
	}
	return st, nil
}

// free returns the memory once the device has finished with it; a stream that failed has already told its error.
func (st *state) free() {
	_ = kern.Finish(st.stream)
	for _, buffer := range st.buffers {
		buffer.Free()
	}
}
