package lm

import (
	"fmt"

	"segue/engine/kern"
)

// Condition is a text as the decoder's layers see it: keys and values of cross-attention, computed once.
type Condition struct {
	keys int
	kv   kern.Buffer // [layers, keys, 2D]: a key then a value
}

// Condition projects text states [keys, text width] and computes every layer's keys and values. The caller frees it.
// States must belong to real tokens only: the reference zeroes padded rows and gives them no weight, which is the same
// as leaving them out.
func (m *Model) Condition(s kern.Stream, states kern.Buffer) (*Condition, error) {
	c := &m.Config
	keys := states.Len() / c.TextWidth
	if keys == 0 || states.Len()%c.TextWidth != 0 {
		return nil, fmt.Errorf("lm: text states: got %d numbers, want rows of %d", states.Len(), c.TextWidth)
	}
	projected := states
	if m.projection != nil {
		var err error
		if projected, err = m.backend.Floats(keys * c.Width); err != nil {
			return nil, err
		}
		defer projected.Free()
		s.Linear(kern.Linear{Dst: kern.All(projected), X: kern.All(states), W: m.projection, Rows: keys, Bias: m.bias})
	}
	kv, err := m.backend.Floats(c.Layers * keys * 2 * c.Width)
	if err != nil {
		return nil, err
	}
	text := &Condition{keys: keys, kv: kv}
	for i := range m.layers {
		s.Linear(kern.Linear{Dst: text.layer(i, c.Width), X: kern.All(projected), W: m.layers[i].crossKV, Rows: keys})
	}
	fence, err := s.Submit()
	if err == nil {
		err = s.Wait(fence) // projected is freed on return
	}
	if err != nil {
		text.Free()
		return nil, err
	}
	return text, nil
}

func (t *Condition) layer(i, width int) kern.Slice {
	n := t.keys * 2 * width
	return kern.All(t.kv).At(i*n, n)
}

// Free returns the device memory.
func (t *Condition) Free() { t.kv.Free() }

// Bytes is the device memory that the condition holds.
func (t *Condition) Bytes() int64 { return int64(t.kv.Len()) * 4 }
