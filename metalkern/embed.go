package metalkern

// Embed: Dst[r·Columns+i] = Σ_q Tables[q][Codes[r mod Variations][q][First+i]] + Positions[First+i]. One dispatch for up to
// embedTables tables of one precision; more add to it.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

// embedTables is how many tables a kernel takes.
const embedTables = 8

var embedNames = [...]kernelName{kern.F32: {"embed", "embed_f32"}, kern.F16: {"embed", "embed_f16"},
	kern.Q8: {"embed", "embed_q8"}, kern.Q4: {"embed", "embed_q4"}}

// embedArgs is EmbedArgs of embed.metal.
type embedArgs struct {
	width, pitch, groups uint32
	columns, variations  uint32
	stride, first        uint32
	tables, from, count  uint32
	positions            uint32
	entries              [embedTables]uint32
}

func (s *stream) Embed(a kern.Embed) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	width := 0
	for _, handle := range a.Tables {
		found := s.matrix("embed", "Tables", handle)
		if found == nil {
			return
		}
		if width != 0 && found.cols != width {
			s.shapef("embed", "Tables: got widths %d and %d, want the same", width, found.cols)
			return
		}
		width = found.cols
	}
	dst := s.floats("embed", "Dst", a.Dst, kern.Product(a.Rows, a.Columns, width))
	codes := s.ints("embed", "Codes", a.Codes, kern.Product(a.Variations, len(a.Tables), a.Stride))
	positions := s.optional("embed", "Positions", a.Positions, kern.Product(a.First+a.Columns, width))
	s.apart("embed", "Positions", dst, positions)
	for from := 0; from < len(a.Tables) && s.err == nil; {
		from = s.embedSome(&a, from, dst, codes, positions)
	}
}

// embedSome adds the tables from the given one on that one kernel can take, and returns the next.
func (s *stream) embedSome(a *kern.Embed, from int, dst, codes, positions region) int {
	var operands [3 + embedTables]region
	first := a.Tables[from].(*matrix)
	args := embedArgs{
		width: uint32(first.cols), pitch: uint32(first.rowBytes()), groups: uint32(first.scalePitch()),
		columns: uint32(a.Columns), variations: uint32(a.Variations), stride: uint32(a.Stride), first: uint32(a.First),
		tables: uint32(len(a.Tables)), from: uint32(from),
	}
	for _, handle := range a.Tables[from:] {
		table := handle.(*matrix)
		if table.precision != first.precision || args.count == embedTables {
			break
		}
		operands[3+args.count] = table.part(0, table.bytes)
		args.entries[args.count] = uint32(table.rows)
		args.count++
	}
	next := from + int(args.count)
	if next == len(a.Tables) {
		args.positions = present(positions)
	}
	operands[0], operands[1], operands[2] = codes, positions, dst.written()
	if p, ok := s.pipeline(embedNames[first.precision]); ok {
		threads := p.threads(min(256, roundUp(first.cols, simdWidth)))
		groups := driver.Size{X: a.Rows * a.Columns, Y: ceilDiv(first.cols, threads), Z: 1}
		s.dispatch(p, groups, threads, constants(s, args), operands[:]...)
	}
	return next
}
