package cpukern

// Embed: Dst[r·Columns+i] = Σ_q Tables[q][Codes[r mod Variations][q][First+i]] + Positions[First+i], added in order
// q = 0, 1, …

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type embedTask struct {
	span // over the rows of Dst
	kern.Embed
	kernels        *simd.Kernels
	tables         []*table
	private        [][]float32
	dst, positions []float32
	codes          []int32
	width          int
}

func (s *stream) Embed(a kern.Embed) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	t := &s.embed
	*t = embedTask{Embed: a, kernels: s.kernels, tables: t.tables[:0]}
	for _, handle := range a.Tables {
		found := s.table("embed", "Tables", handle)
		if found == nil {
			return
		}
		if t.width != 0 && found.cols != t.width {
			s.shapef("embed", "Tables: got widths %d and %d, want the same", t.width, found.cols)
			return
		}
		t.tables, t.width = append(t.tables, found), found.cols
	}
	width := t.width
	t.dst = s.floats("embed", "Dst", a.Dst, kern.Product(a.Rows, a.Columns, width))
	t.codes = s.ints("embed", "Codes", a.Codes, kern.Product(a.Variations, len(a.Tables), a.Stride))
	t.positions = s.optional("embed", "Positions", a.Positions, kern.Product(a.First+a.Columns, width))
	s.apart("embed", "Positions", t.dst, t.positions)
	if s.err != nil || !s.codesInTables(t) {
		return
	}
	t.span = s.pool.cut(a.Rows*a.Columns, 2*len(a.Tables)*width)
	s.growPrivate(width)
	t.private = s.private
	s.run(t, t.chunks())
}

// codesInTables looks at the codes that Rows rows will read.
func (s *stream) codesInTables(t *embedTask) bool {
	for v := range min(t.Variations, t.Rows) {
		for q, table := range t.tables {
			for i := t.First; i < t.First+t.Columns; i++ {
				if code := t.code(v, q, i); code < 0 || int(code) >= table.rows {
					s.shapef("embed", "Codes[%d][%d][%d]: got %d, want 0 to %d", v, q, i, code, table.rows-1)
					return false
				}
			}
		}
	}
	return true
}

func (t *embedTask) code(variation, q, column int) int32 {
	return t.codes[(variation*len(t.Tables)+q)*t.Stride+column]
}

func (t *embedTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for n := from; n < to; n++ {
		row, column := n/t.Columns, t.First+n%t.Columns
		dst := t.dst[n*t.width:][:t.width]
		clear(dst)
		for q, table := range t.tables {
			code := int(t.code(row%t.Variations, q, column))
			row := t.private[thread][:t.width]
			table.widen(t.kernels, row, code)
			t.kernels.Add(dst, row)
		}
		if t.positions != nil {
			t.kernels.Add(dst, t.positions[column*t.width:][:t.width])
		}
	}
}
