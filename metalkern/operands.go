package metalkern

// Checks of operands: a stream error for each that is absent, freed, another backend's, of the wrong kind, or too short.

import "segue/engine/kern"

// window finds what a window lies in and checks that it holds n elements; nil after an error.
func (s *stream) window(op, name string, w kern.Slice, n int) *buffer {
	if w.Nil() {
		s.shapef(op, "%s: absent", name)
		return nil
	}
	b, ok := w.Buffer.(*buffer)
	switch {
	case !ok || b == nil || b.owner != s.backend:
		s.shapef(op, "%s: buffer of another backend", name)
	case b.freed.Load():
		s.shapef(op, "%s: freed buffer", name)
	case s.passes(w.Check(op, name, b.n, n)):
		return b
	}
	return nil
}

// first is the first n elements of a window of a buffer.
func (b *buffer) first(w kern.Slice, n int) region {
	return region{memory: b.memory, from: 4 * int64(w.Off), to: 4 * (int64(w.Off) + int64(n))}
}

// floats are the first n elements of a window; absent after an error.
func (s *stream) floats(op, name string, w kern.Slice, n int) region {
	b := s.window(op, name, w, n)
	switch {
	case b == nil:
	case b.ints:
		s.shapef(op, "%s: got integers, want floats", name)
	default:
		return b.first(w, n)
	}
	return region{}
}

// optional is floats, or absent for an absent operand.
func (s *stream) optional(op, name string, w kern.Slice, n int) region {
	if w.Nil() {
		return region{}
	}
	return s.floats(op, name, w, n)
}

// ints are the first n elements of a window; absent after an error.
func (s *stream) ints(op, name string, w kern.Slice, n int) region {
	b := s.window(op, name, w, n)
	switch {
	case b == nil:
	case !b.ints:
		s.shapef(op, "%s: got floats, want integers", name)
	default:
		return b.first(w, n)
	}
	return region{}
}

// apart refuses an op whose result would overwrite one of its operands.
func (s *stream) apart(op, name string, dst, operand region) {
	if dst.overlaps(operand) {
		s.shapef(op, "%s: overlaps the result", name)
	}
}

// same allows an operand to be the result itself, element by element.
func (s *stream) same(op, name string, dst, operand region) {
	if dst.overlaps(operand) && dst.from != operand.from {
		s.shapef(op, "%s: overlaps the result in part", name)
	}
}
