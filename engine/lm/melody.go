package lm

import (
	"fmt"

	"segue/engine/kern"
)

// leadingRows computes the rows that a melody model sees before the first column. The chroma is cut or repeated to
// ChromaRows rows; none stands for bin 0 in each. A text that is not there is one row of zeros.
func (m *Model) leadingRows(s kern.Stream, t *Condition, states kern.Buffer, chroma []float32) (err error) {
	c := &m.Config
	if len(chroma)%c.Chroma != 0 {
		return fmt.Errorf("lm: chroma: got %d numbers, want rows of %d", len(chroma), c.Chroma)
	}
	text := max(t.keys, 1)
	t.lead = c.ChromaRows + text
	if t.lead >= c.Positions {
		return fmt.Errorf("lm: text: got %d tokens, want fewer than %d", text, c.Positions-c.ChromaRows)
	}
	for i := range t.rows {
		if t.rows[i], err = m.backend.Floats(t.lead * c.Width); err != nil {
			return err
		}
		if i == 1 {
			chroma = nil
		}
		if err := m.projectChroma(s, t.rows[i], c.chromaRows(chroma)); err != nil {
			return err
		}
		// Masked or absent, a text is rows of zeros: what is left is their positions.
		from, n := c.ChromaRows*c.Width, text*c.Width
		dst, positions := kern.All(t.rows[i]).At(from, n), m.positions.At(from, n)
		if i == 0 && states != nil {
			m.project(s, dst, states, text, positions)
		} else {
			s.Copy(dst, positions)
		}
	}
	return kern.Finish(s)
}

// projectChroma: the first rows of dst = chroma·Wᵀ + b + positions.
func (m *Model) projectChroma(s kern.Stream, dst kern.Buffer, chroma []float32) error {
	c := &m.Config
	input, err := m.backend.Floats(len(chroma))
	if err != nil {
		return err
	}
	defer input.Free()
	s.Upload(kern.All(input), chroma)
	n := c.ChromaRows * c.Width
	s.Linear(kern.Linear{
		Dst: kern.All(dst).At(0, n), X: kern.All(input), W: m.chroma, Rows: c.ChromaRows, Bias: m.chromaBias,
		Residual: m.positions.At(0, n),
	})
	return kern.Finish(s)
}

// chromaRows cuts or repeats chroma to ChromaRows rows; nil stands for bin 0 in each.
func (c *Config) chromaRows(chroma []float32) []float32 {
	rows := make([]float32, c.ChromaRows*c.Chroma)
	for i := range rows {
		switch {
		case len(chroma) > 0:
			rows[i] = chroma[i%len(chroma)]
		case i%c.Chroma == 0:
			rows[i] = 1
		}
	}
	return rows
}

// leading are the rows before the columns of each branch: what the condition tells, and for a second branch nothing.
func (t *Condition) leading(branches int) []kern.Slice {
	if t == nil || t.lead == 0 {
		return nil
	}
	slices := make([]kern.Slice, branches)
	for b := range slices {
		slices[b] = kern.All(t.rows[b])
	}
	return slices
}

// leadRows counts the rows before the first column.
func (t *Condition) leadRows() int {
	if t == nil {
		return 0
	}
	return t.lead
}

// Nothing is the condition of the branch without guidance: nil where that branch has none. It lives as long as t.
func (t *Condition) Nothing() *Condition {
	if t == nil || t.lead == 0 {
		return nil
	}
	return &Condition{lead: t.lead, rows: [2]kern.Buffer{t.rows[1], t.rows[1]}}
}
