package metalkern

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

var (
	rvqEncode = kernelName{"rvq", "rvq_encode"}
	rvqDecode = kernelName{"rvq", "rvq_decode"}
)

const (
	rvqRows    = 4   // RVQ_ROWS of rvq.metal: a threadgroup quantises them together
	rvqThreads = 256 // RVQ_SIMDGROUPS at most
)

// rvqArgs is RVQArgs of rvq.metal.
type rvqArgs struct {
	rows, width, books, entries, stride uint32
}

func (s *stream) rvqIndexable(op string, q, entries, t, d, stride int) bool {
	return s.indexable(op, q, entries, d) && s.indexable(op, t, d) && s.indexable(op, q, stride)
}

func (s *stream) RVQEncode(a kern.RVQEncode) {
	if !s.alive() || !s.passes(a.Check()) || !s.rvqIndexable("rvq encode", a.Q, a.Entries, a.T, a.D, a.Stride) {
		return
	}
	codes := s.ints("rvq encode", "Codes", a.Codes, kern.Product(a.Q-1, a.Stride)+a.T)
	z := s.floats("rvq encode", "Z", a.Z, kern.Product(a.T, a.D))
	books := s.floats("rvq encode", "Books", a.Books, kern.Product(a.Q, a.Entries, a.D))
	s.apart("rvq encode", "Books", z, books)
	if p, ok := s.pipeline(rvqEncode); ok {
		args := rvqArgs{uint32(a.T), uint32(a.D), uint32(a.Q), uint32(a.Entries), uint32(a.Stride)}
		groups := driver.Size{X: ceilDiv(a.T, rvqRows), Y: 1, Z: 1}
		s.dispatch(p, groups, p.threads(rvqThreads), constants(s, args), books, z.written(), codes.written())
	}
}

func (s *stream) RVQDecode(a kern.RVQDecode) {
	if !s.alive() || !s.passes(a.Check()) || !s.rvqIndexable("rvq decode", a.Q, a.Entries, a.T, a.D, a.Stride) {
		return
	}
	codes := s.ints("rvq decode", "Codes", a.Codes, kern.Product(a.Q-1, a.Stride)+a.T)
	dst := s.floats("rvq decode", "Dst", a.Dst, kern.Product(a.T, a.D))
	books := s.floats("rvq decode", "Books", a.Books, kern.Product(a.Q, a.Entries, a.D))
	s.apart("rvq decode", "Books", dst, books)
	if p, ok := s.pipeline(rvqDecode); ok {
		args := rvqArgs{uint32(a.T), uint32(a.D), uint32(a.Q), uint32(a.Entries), uint32(a.Stride)}
		threads := p.threads(rvqThreads)
		groups := driver.Size{X: ceilDiv(a.T*a.D, threads), Y: 1, Z: 1}
		s.dispatch(p, groups, threads, constants(s, args), books, codes, dst.written())
	}
}
