package cpukern

// Residual vector quantisation. Distances are taken in float32 in the expanded form -(‖r‖² - 2·r·e + ‖e‖²), the one
// that the reference implementation uses, so that near ties fall the same way.

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

const (
	rvqRows    = 8   // of Z in a chunk: an entry is read from the cache for all of them
	rvqEntries = 256 // of a codebook at a time: 128 KiB at 128 numbers each
)

type rvqEncodeTask struct {
	span // over rows of Z
	kern.RVQEncode
	kernels         *simd.Kernels
	private         [][]float32
	codes           []int32
	z, books, norms []float32 // norms [Q, Entries]: ‖e‖²
}

func (s *stream) RVQEncode(a kern.RVQEncode) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	t := &s.encode
	*t = rvqEncodeTask{RVQEncode: a, kernels: s.kernels, span: s.pool.cut(a.T, a.Q*a.Entries*a.D)}
	t.codes = s.ints("rvq encode", "Codes", a.Codes, kern.Product(a.Q-1, a.Stride)+a.T)
	t.z = s.floats("rvq encode", "Z", a.Z, kern.Product(a.T, a.D))
	t.books = s.floats("rvq encode", "Books", a.Books, kern.Product(a.Q, a.Entries, a.D))
	s.apart("rvq encode", "Books", t.z, t.books)
	if s.err != nil {
		return
	}
	t.norms = s.grow(a.Q * a.Entries)
	for e := range t.norms {
		t.norms[e] = s.kernels.Squares(t.books[e*a.D:][:a.D], 0)
	}
	t.block = min(t.block, rvqRows)
	s.growPrivate(t.block * a.Entries)
	t.private = s.private
	s.run(t, t.chunks())
}

func (t *rvqEncodeTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	dots := t.private[thread][:(to-from)*t.Entries]
	for q := range t.Q {
		book := t.books[q*t.Entries*t.D:][:t.Entries*t.D]
		t.multiply(dots, book, from, to)
		for r := from; r < to; r++ {
			rest := t.z[r*t.D:][:t.D]
			best := nearest(dots[(r-from)*t.Entries:][:t.Entries], t.norms[q*t.Entries:], t.kernels.Squares(rest, 0))
			t.codes[q*t.Stride+r] = int32(best)
			for d, v := range book[best*t.D:][:t.D] {
				rest[d] -= v
			}
		}
	}
}

// multiply: dots[r-from, e] = z[r]·book[e].
func (t *rvqEncodeTask) multiply(dots, book []float32, from, to int) {
	for first := 0; first < t.Entries; first += rvqEntries {
		n := min(rvqEntries, t.Entries-first)
		for r := from; r < to; r++ {
			t.kernels.Dots(dots[(r-from)*t.Entries+first:][:n], t.z[r*t.D:][:t.D], book[first*t.D:], t.D)
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
	kernels    *simd.Kernels
	codes      []int32
	dst, books []float32
}

func (s *stream) RVQDecode(a kern.RVQDecode) {
	if !s.alive() || !s.passes(a.Check()) {
		return
	}
	t := &s.decode
	*t = rvqDecodeTask{RVQDecode: a, kernels: s.kernels, span: s.pool.cut(a.T, a.Q*a.D)}
	t.codes = s.ints("rvq decode", "Codes", a.Codes, kern.Product(a.Q-1, a.Stride)+a.T)
	t.dst = s.floats("rvq decode", "Dst", a.Dst, kern.Product(a.T, a.D))
	t.books = s.floats("rvq decode", "Books", a.Books, kern.Product(a.Q, a.Entries, a.D))
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
	s.run(t, t.chunks())
}

func (t *rvqDecodeTask) run(_, chunk int) {
	from, to := t.at(chunk)
	for r := from; r < to; r++ {
		dst := t.dst[r*t.D:][:t.D]
		clear(dst)
		for q := range t.Q {
			code := int(t.codes[q*t.Stride+r])
			t.kernels.Add(dst, t.books[(q*t.Entries+code)*t.D:][:t.D])
		}
	}
}
