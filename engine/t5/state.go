package t5

import "segue/engine/kern"

// state is every buffer that encoding needs, for texts of up to capacity tokens (L). They grow and are kept; a shorter
// text uses their beginnings.
type state struct {
	capacity int
	ids      kern.Buffer // int32 [L]
	x        kern.Buffer // [L, D], the residual stream
	qkv      kern.Buffer // [L, 3·I]
	attended kern.Buffer // [L, I]
	dense    kern.Buffer // [L, F]
	bias     kern.Buffer // [heads, 2·L-1], relative positions of this length
}

// capacityStep: a text that is a little longer than the last one seldom needs new buffers.
const capacityStep = 64

// grow makes room for length tokens. No op that uses the old buffers may be under way.
func (s *state) grow(k kern.Backend, c Config, length int) error {
	if length <= s.capacity {
		return nil
	}
	s.free()
	capacity := (length + capacityStep - 1) / capacityStep * capacityStep
	var err error
	if s.ids, err = k.Ints(capacity); err != nil {
		return err
	}
	for _, b := range []struct {
		buffer *kern.Buffer
		n      int
	}{
		{&s.x, capacity * c.DModel},
		{&s.qkv, capacity * 3 * c.Inner()},
		{&s.attended, capacity * c.Inner()},
		{&s.dense, capacity * c.DFF},
		{&s.bias, c.NumHeads * (2*capacity - 1)},
	} {
		if *b.buffer, err = k.Floats(b.n); err != nil {
			s.free()
			return err
		}
	}
	s.capacity = capacity
	return nil
}

func (s *state) free() {
	for _, b := range []kern.Buffer{s.ids, s.x, s.qkv, s.attended, s.dense, s.bias} {
		if b != nil {
			b.Free()
		}
	}
	*s = state{}
}
