package lm

// What the bench and the verification ask of a decoder, and generating does not: what it says along given codes, the bytes that
// a step reads, and a step's linears alone.

import (
	"context"

	"segue/engine/kern"
)

// TeacherForced returns the logits [rows, Q, V] that follow each row: a melody model's leading rows, then each column of
// tokens [Q][columns], fed as they are, without a delay and without guidance: what the reference calls a forward pass.
func (m *Model) TeacherForced(ctx context.Context, s kern.Stream, condition *Condition, tokens []int32, columns int) ([]float32, error) {
	c := &m.Config
	cache, err := m.pass(ctx, s, condition, tokens, 1, columns, false)
	if err != nil {
		return nil, err
	}
	defer cache.Free()
	rows := condition.leadRows() + columns
	out := make([]float32, rows*c.Codebooks*c.Entries)
	logits, err := m.backend.Floats(len(out))
	if err != nil {
		return nil, err
	}
	defer logits.Free()
	m.logits(s, kern.All(logits), kern.All(m.state.x).At(0, rows*c.Width), rows)
	return out, s.Download(out, kern.All(logits))
}

// Guided returns the logits [columns, Q, V] that follow each column of tokens [Q][columns], fed as they are, mixed by guidance
// as kern.Sample mixes them.
func (m *Model) Guided(ctx context.Context, s kern.Stream, condition *Condition, tokens []int32, columns int, guidance float32) ([]float32, error) {
	told, err := m.afterColumns(ctx, s, condition, tokens, columns)
	if err != nil || guidance == 1 {
		return told, err
	}
	untold, err := m.afterColumns(ctx, s, condition.Nothing(), tokens, columns)
	if err != nil {
		return nil, err
	}
	for i, u := range untold {
		told[i] = u + guidance*(told[i]-u)
	}
	return told, nil
}

// afterColumns leaves out what TeacherForced returns of the rows before the first column.
func (m *Model) afterColumns(ctx context.Context, s kern.Stream, condition *Condition, tokens []int32, columns int) ([]float32, error) {
	logits, err := m.TeacherForced(ctx, s, condition, tokens, columns)
	if err != nil {
		return nil, err
	}
	return logits[condition.leadRows()*m.Config.Codebooks*m.Config.Entries:], nil
}

// WeightBytes is what a step reads of the weights: every layer's linears and the heads, each once however many rows there
// are. attended says that some rows attend to a text.
func (m *Model) WeightBytes(attended bool) int64 { return m.LayerBytes(attended) + m.heads.Bytes() }

// LayerBytes is WeightBytes without the heads.
func (m *Model) LayerBytes(attended bool) (total int64) {
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

// Linears records the layers' linears of one step of variations sequences, and nothing else, on whatever the scratch memory holds:
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
