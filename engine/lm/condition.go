package lm

import (
	"errors"
	"fmt"

	"segue/engine/kern"
)

// Condition is what a decoder is told beside the prompt: a text, and to a melody model a melody. It is computed once.
//
//	cross-attention models: keys and values of the text for every layer
//	melody models:          rows before the first column, chroma first, then text, positions added; and the rows that
//	                        stand there in the branch without guidance: bin 0 in every chroma row, zeros for the text
type Condition struct {
	keys int         // rows of the text
	kv   kern.Buffer // [layers, keys, 2D]: a key then a value; nil in melody models

	lead int            // rows before the first column
	rows [2]kern.Buffer // [lead, D]: told, and told nothing; melody models only
}

// Condition computes a condition from text states [keys, text width], nil for none, and for a melody model from chroma
// [n, bins], nil for none. Without either, a cross-attention model has no condition, and nil is returned. The caller frees it.
//
// States must belong to real tokens only: the reference zeroes padded rows and gives them no weight, which is the same
// as leaving them out.
func (m *Model) Condition(s kern.Stream, states kern.Buffer, chroma []float32) (*Condition, error) {
	c := &m.Config
	keys := 0
	if states != nil {
		if keys = states.Len() / c.TextWidth; keys == 0 || states.Len()%c.TextWidth != 0 {
			return nil, fmt.Errorf("lm: text states: got %d numbers, want rows of %d", states.Len(), c.TextWidth)
		}
	}
	switch {
	case c.Chroma == 0 && chroma != nil:
		return nil, errors.New("lm: melody: the model takes none, want a melody model")
	case c.Chroma == 0 && states == nil:
		return nil, nil
	}
	t := &Condition{keys: keys}
	compute := m.attendedText
	if c.Chroma > 0 {
		compute = func(s kern.Stream, t *Condition, states kern.Buffer) error {
			return m.leadingRows(s, t, states, chroma)
		}
	}
	if err := compute(s, t, states); err != nil {
		t.Free()
		return nil, err
	}
	return t, nil
}

// attendedText computes every layer's keys and values.
func (m *Model) attendedText(s kern.Stream, t *Condition, states kern.Buffer) (err error) {
	c := &m.Config
	projected, err := m.backend.Floats(t.keys * c.Width)
	if err != nil {
		return err
	}
	defer projected.Free()
	m.project(s, kern.All(projected), states, t.keys, kern.Slice{})
	if t.kv, err = m.backend.Floats(c.Layers * t.keys * 2 * c.Width); err != nil {
		return err
	}
	for i := range m.layers {
		s.Linear(kern.Linear{Dst: t.layer(i, c.Width), X: kern.All(projected), W: m.layers[i].crossKV, Rows: t.keys})
	}
	return kern.Finish(s) // projected is freed on return, and states by the caller
}

// project: dst = states·Pᵀ + b + residual. Where the widths agree there is nothing to project.
func (m *Model) project(s kern.Stream, dst kern.Slice, states kern.Buffer, keys int, residual kern.Slice) {
	if m.projection == nil {
		s.Copy(dst, kern.All(states))
		return
	}
	s.Linear(kern.Linear{Dst: dst, X: kern.All(states), W: m.projection, Rows: keys, Bias: m.bias, Residual: residual})
}

func (t *Condition) layer(i, width int) kern.Slice {
	n := t.keys * 2 * width
	return kern.All(t.kv).At(i*n, n)
}

// objects are what the condition holds on the device.
func (t *Condition) objects() (list []kern.Object) {
	for _, b := range []kern.Buffer{t.kv, t.rows[0], t.rows[1]} {
		if b != nil {
			list = append(list, b)
		}
	}
	return list
}

// Bytes is the device memory that the condition holds; Free returns it.
func (t *Condition) Bytes() int64 { return kern.HeldBytes(t.objects()) }
func (t *Condition) Free()        { kern.Free(t.objects()) }
