package cpukern

// Embed: Dst[r·Columns+i] = Σ_q Tables[q][Codes[r mod Variations][q][First+i]] + Positions[First+i], added in order
// q = 0, 1, …

import "segue/engine/kern"

type embedTask struct {
	span // over the rows of Dst
	kern.Embed
	private        [][]float32
	dst, positions []float32
	codes          []int32
	width          int
}

func (s *stream) Embed(a kern.Embed) {
	if !s.alive() {
		return
	}
	if len(a.Tables) == 0 || !positive(a.Rows, a.Variations, a.Columns, a.Stride) || a.First < 0 || a.Columns > a.Stride-a.First {
		s.shapef("embed", "got %d tables, %d rows of %d variations, columns %d+%d of %d",
			len(a.Tables), a.Rows, a.Variations, a.First, a.Columns, a.Stride)
		return
	}
	width := 0
	for _, table := range a.Tables {
		m := s.matrix("embed", "Tables", table)
		if m == nil {
			return
		}
		if width != 0 && m.cols != width {
			s.shapef("embed", "Tables: got widths %d and %d, want the same", width, m.cols)
			return
		}
		width = m.cols
	}
	t := &s.embed
	*t = embedTask{Embed: a, width: width}
	t.dst = s.floats("embed", "Dst", a.Dst, product(a.Rows, a.Columns, width))
	t.codes = s.ints("embed", "Codes", a.Codes, product(a.Variations, len(a.Tables), a.Stride))
	t.positions = s.optional("embed", "Positions", a.Positions, product(a.First+a.Columns, width))
	s.apart("embed", "Positions", t.dst, t.positions)
	if s.err != nil || !s.codesInTables(t) {
		return
	}
	t.span = s.pool.cut(a.Rows*a.Columns, 2*len(a.Tables)*width)
	s.growPrivate(width)
	t.private = s.private
	s.pool.run(t, t.chunks())
}

// codesInTables looks at the codes that Rows rows will read.
func (s *stream) codesInTables(t *embedTask) bool {
	for v := range min(t.Variations, t.Rows) {
		for q, table := range t.Tables {
			for i := t.First; i < t.First+t.Columns; i++ {
				if code := t.code(v, q, i); code < 0 || int(code) >= table.Rows() {
					s.shapef("embed", "Codes[%d][%d][%d]: got %d, want 0 to %d", v, q, i, code, table.Rows()-1)
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
		for q, table := range t.Tables {
			code := int(t.code(row%t.Variations, q, column))
			add(dst, table.(*matrix).window(code, code+1, t.private[thread]))
		}
		if t.positions != nil {
			add(dst, t.positions[column*t.width:][:t.width])
		}
	}
}
