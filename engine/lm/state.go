package lm

import "segue/engine/kern"

// state is all scratch memory of the decoder. A row is one column of one sequence. It grows to the largest pass asked
// for and stays; the step loop never finds it too small.
type state struct {
	rows int

	x         kern.Buffer // [rows, D]    residual stream
	qkv       kern.Buffer // [rows, 3D]   query, key, value; the cross-attention's query
	attention kern.Buffer // [rows, D]    attention output
	hidden    kern.Buffer // [rows, FFN]  feed-forward
}

func (s *state) grow(backend kern.Backend, c Config, rows int) error {
	if rows <= s.rows {
		return nil
	}
	s.free()
	for _, b := range []struct {
		buffer *kern.Buffer
		width  int
	}{{&s.x, c.Width}, {&s.qkv, 3 * c.Width}, {&s.attention, c.Width}, {&s.hidden, c.FFN}} {
		var err error
		if *b.buffer, err = backend.Floats(rows * b.width); err != nil {
			s.free()
			return err
		}
	}
	s.rows = rows
	return nil
}

func (s *state) free() {
	for _, b := range []kern.Buffer{s.x, s.qkv, s.attention, s.hidden} {
		if b != nil {
			b.Free()
		}
	}
	*s = state{}
}
