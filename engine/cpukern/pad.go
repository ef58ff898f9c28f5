package cpukern

import "segue/engine/cpukern/simd"

// padTask copies X of a convolution between its padding, through ELU where asked for, once for all windows that see it.
type padTask struct {
	span    // over padded frames
	kernels *simd.Kernels
	dst, x  []float32
	t, in   int
	left    int
	mirror  int // frames of X and of the zeros after it that a reflection sees; 0: pad with zeros
	elu     bool
}

// padded returns the input of a convolution: X itself where nothing is to be done.
func (s *stream) padded(t padTask, right int) []float32 {
	if t.left == 0 && right == 0 && !t.elu {
		return t.x
	}
	frames := t.left + t.t + right
	t.kernels, t.dst = s.kernels, s.grow(frames*t.in)
	t.span = s.pool.cut(frames, t.in)
	s.pad = t
	s.run(&s.pad, t.chunks())
	return t.dst
}

func (t *padTask) run(_, chunk int) {
	from, to := t.at(chunk)
	first, last := max(from, t.left), min(to, t.left+t.t)
	for p := from; p < min(first, to); p++ {
		t.fill(p, t.source(p-t.left), 1)
	}
	if first < last {
		t.fill(first, first-t.left, last-first)
	}
	for p := max(last, from); p < to; p++ {
		t.fill(p, t.source(p-t.left), 1)
	}
}

// fill writes n padded frames from p on with those of X from i on, or zeros for a frame outside.
func (t *padTask) fill(p, i, n int) {
	dst := t.dst[p*t.in:][:n*t.in]
	switch {
	case i < 0 || i >= t.t:
		clear(dst)
	case t.elu:
		t.kernels.ELU(dst, t.x[i*t.in:][:n*t.in])
	default:
		copy(dst, t.x[i*t.in:])
	}
}

// source is the frame of X that is seen at time i; outside X there is zero.
func (t *padTask) source(i int) int {
	if t.mirror == 0 {
		return i
	}
	if i < 0 {
		i = -i
	}
	if i >= t.mirror {
		i = 2*(t.mirror-1) - i
	}
	return i
}
