package lm

// What the bench needs to know of a step: the bytes that it reads, and its linears alone.

import "segue/engine/kern"

// WeightBytes is what a step reads of the weights: every layer's linears and the heads, each once however many rows there
// are. attended says that some rows attend to a text.
func (m *Model) WeightBytes(attended bool) int64 {
	total := m.heads.Bytes()
	for i := range m.layers {
		l := &m.layers[i]
		for _, w := range []kern.Matrix{l.qkv, l.out, l.fc1, l.fc2} {
			total += w.Bytes()
		}
		if attended && l.crossQ != nil {
			total += l.crossQ.Bytes() + l.crossOut.Bytes()
		}
	}
	return total
}

// StepBytes is what one step of variations sequences reads that each see columns columns, those of p among them: weights, the
// text's keys and values, the prefix's once for all variations, and each sequence's own.
func (p *Prefix) StepBytes(m *Model, variations, columns int) int64 {
	total := m.WeightBytes(p.condition != nil) + p.cache.Bytes()
	if p.condition != nil && p.condition.kv != nil {
		total += 4 * int64(p.condition.kv.Len())
	}
	perColumn := p.cache.Bytes() / int64(p.branches*p.length())
	own := columns - p.columns()
	return total + perColumn*int64(own*p.branches*variations)
}

// Rows is how many rows a step of variations sequences has.
func (p *Prefix) Rows(variations int) int { return p.branches * variations }

// Linears records the linears of one step of variations sequences, and nothing else, on whatever the scratch memory holds:
// the part of a step whose speed memory sets. Scratch is left bounded, so that it can be recorded again and again.
func (p *Prefix) Linears(m *Model, s kern.Stream, variations int) error {
	c, rows := &m.Config, p.Rows(variations)
	if err := m.state.grow(m.backend, *c, rows); err != nil {
		return err
	}
	x := kern.All(m.state.x).At(0, rows*c.Width)
	qkv := kern.All(m.state.qkv).At(0, rows*3*c.Width)
	attention := kern.All(m.state.attention).At(0, rows*c.Width)
	hidden := kern.All(m.state.hidden).At(0, rows*c.FFN)
	for i := range m.layers {
		l := &m.layers[i]
		s.Linear(kern.Linear{Dst: qkv, X: x, W: l.qkv, Rows: rows, Norm: l.selfNorm})
		s.Linear(kern.Linear{Dst: x, X: attention, W: l.out, Rows: rows})
		if p.condition != nil && l.crossQ != nil {
			s.Linear(kern.Linear{Dst: attention.At(0, variations*c.Width), X: x.At(0, variations*c.Width), W: l.crossQ, Rows: variations, Norm: l.crossNorm})
			s.Linear(kern.Linear{Dst: x.At(0, variations*c.Width), X: attention.At(0, variations*c.Width), W: l.crossOut, Rows: variations})
		}
		s.Linear(kern.Linear{Dst: hidden, X: x, W: l.fc1, Rows: rows, Norm: l.finalNorm, Act: kern.GELU})
		s.Linear(kern.Linear{Dst: attention, X: hidden, W: l.fc2, Rows: rows})
	}
	return s.Err()
}
