package cpukern

// Residual vector quantisation. Distances are taken in float32 in the expanded form -(‖r‖² - 2·r·e + ‖e‖²), the one
// that the reference implementation uses, so that near ties fall the same way.

import "segue/engine/kern"

type rvqEncodeTask struct {
	span // over rows of Z
	kern.RVQEncode
	private         [][]float32
	codes           []int32
	z, books, norms []float32 // norms [Q, Entries]: ‖e‖²
}

func (s *stream) RVQEncode(a kern.RVQEncode) {
	if !s.alive() || !s.rvqFits("rvq encode", a.Q, a.Entries, a.T, a.D, a.Stride) {
		return
	}
	t := &s.encode
	*t = rvqEncodeTask{RVQEncode: a, span: s.pool.cut(a.T, a.Q*a.Entries*a.D)}
	t.codes = s.ints("rvq encode", "Codes", a.Codes, product(a.Q-1, a.Stride)+a.T)
	t.z = s.floats("rvq encode", "Z", a.Z, product(a.T, a.D))
	t.books = s.floats("rvq encode", "Books", a.Books, product(a.Q, a.Entries, a.D))
	s.apart("rvq encode", "Books", t.z, t.books)
	if s.err != nil {
		return
	}
	t.norms = s.grow(a.Q * a.Entries)
	for e := range t.norms {
		entry := t.books[e*a.D:][:a.D]
		t.norms[e] = dot(entry, entry)
	}
	t.block = min(t.block, 8)
	s.growPrivate(t.block * a.Entries)
	t.private = s.private
	s.pool.run(t, t.chunks())
}

func (s *stream) rvqFits(op string, q, entries, t, d, stride int) bool {
	if !positive(q, entries, t, d) || stride < t {
		s.shapef(op, "got %d codebooks of %d entries, %d rows of %d, stride %d", q, entries, t, d, stride)
		return false
	}
	return true
}

func (t *rvqEncodeTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	for q := range t.Q {
		book := t.books[q*t.Entries*t.D:][:t.Entries*t.D]
		out := t.private[thread][:(to-from)*t.Entries]
		clear(out)
		product := gemm{
			out: out, outStride: t.Entries,
			x: t.z[from*t.D:], xStride: t.D,
			w: book, wStride: t.D,
			rows: to - from, cols: t.Entries, depth: t.D,
		}
		product.add()
		for r := from; r < to; r++ {
			rest := t.z[r*t.D:][:t.D]
			best := nearest(out[(r-from)*t.Entries:][:t.Entries], t.norms[q*t.Entries:], dot(rest, rest))
			t.codes[q*t.Stride+r] = int32(best)
			for d, v := range book[best*t.D:][:t.D] {
				rest[d] -= v
			}
		}
	}
}

// nearest is the first entry of the greatest -(norm - 2·dots[e] + norms[e]).
func nearest(dots, norms []float32, norm float32) int {
	best, most := 0, float32(0)
	for e, d := range dots {
		if near := -(norm - 2*d + norms[e]); e == 0 || near > most {
			best, most = e, near
		}
	}
	return best
}

type rvqDecodeTask struct {
	span // over rows of Dst
	kern.RVQDecode
	codes      []int32
	dst, books []float32
}

func (s *stream) RVQDecode(a kern.RVQDecode) {
	if !s.alive() || !s.rvqFits("rvq decode", a.Q, a.Entries, a.T, a.D, a.Stride) {
		return
	}
	t := &s.decode
	*t = rvqDecodeTask{RVQDecode: a, span: s.pool.cut(a.T, a.Q*a.D)}
	t.codes = s.ints("rvq decode", "Codes", a.Codes, product(a.Q-1, a.Stride)+a.T)
	t.dst = s.floats("rvq decode", "Dst", a.Dst, product(a.T, a.D))
	t.books = s.floats("rvq decode", "Books", a.Books, product(a.Q, a.Entries, a.D))
	s.apart("rvq decode", "Books", t.dst, t.books)
	if s.err != nil {
		return
	}
	for q := range a.Q {
		for i, code := range t.codes[q*a.Stride:][:a.T] {
			if code < 0 || int(code) >= a.Entries {
				s.shapef("rvq decode", "Codes[%d][%d]: got %d, want 0 to %d", q, i, code, a.Entries-1)
				return
			}
		}
	}
	s.pool.run(t, t.chunks())
}

func (t *rvqDecodeTask) run(_, chunk int) {
	from, to := t.at(chunk)
	for r := from; r < to; r++ {
		dst := t.dst[r*t.D:][:t.D]
		clear(dst)
		for q := range t.Q {
			code := int(t.codes[q*t.Stride+r])
			add(dst, t.books[(q*t.Entries+code)*t.D:][:t.D])
		}
	}
}
