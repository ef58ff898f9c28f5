package cpukern

// LSTM: one region of the pool per step, because each needs the whole of the last one's h. Threads share out the hidden
// units; a unit's four gates are one tile.

import (
	"math"

	"segue/engine/kern"
)

type lstmTask struct {
	span                           // over hidden units
	w                    []float32 // [4H, H]
	dst, gates, residual []float32
	c, h, next           []float32 // h is the last step's, next this one's
	hidden, step         int
}

func (s *stream) LSTM(a kern.LSTM) {
	if !s.alive() {
		return
	}
	w := s.matrix("lstm", "Hidden", a.Hidden)
	if w == nil {
		return
	}
	if a.T < 1 || w.rows != 4*w.cols {
		s.shapef("lstm", "got %d steps, hidden weight [%d, %d], want [4H, H]", a.T, w.rows, w.cols)
		return
	}
	t, n := &s.lstm, w.cols
	*t = lstmTask{hidden: n, span: s.pool.cut(n, 4*n)}
	t.dst = s.floats("lstm", "Dst", a.Dst, product(a.T, n))
	t.gates = s.floats("lstm", "Gates", a.Gates, product(a.T, 4, n))
	t.residual = s.optional("lstm", "Residual", a.Residual, product(a.T, n))
	s.apart("lstm", "Gates", t.dst, t.gates)
	s.same("lstm", "Residual", t.dst, t.residual)
	if s.err != nil {
		return
	}
	scratch := s.grow(3*n + 4*n*n) // the weight is converted once for all steps
	t.c, t.h, t.next = scratch[:n], scratch[n:2*n], scratch[2*n:3*n]
	t.w = w.window(0, 4*n, scratch[3*n:])
	clear(scratch[:3*n])
	for t.step = range a.T {
		s.pool.run(t, t.chunks())
		t.h, t.next = t.next, t.h
	}
}

func (t *lstmTask) run(_, chunk int) {
	n := t.hidden
	gates := t.gates[t.step*4*n:][:4*n]
	dst := t.dst[t.step*n:][:n]
	from, to := t.at(chunk)
	for u := from; u < to; u++ {
		i, f, g, o := dot1x4(t.h, t.w[u*n:][:n], t.w[(n+u)*n:][:n], t.w[(2*n+u)*n:][:n], t.w[(3*n+u)*n:][:n])
		i, f, g, o = i+gates[u], f+gates[n+u], g+gates[2*n+u], o+gates[3*n+u]
		c := float64(sigmoid(f)*float64(t.c[u])) + float64(sigmoid(i)*math.Tanh(float64(g)))
		h := float32(sigmoid(o) * math.Tanh(c))
		t.c[u], t.next[u] = float32(c), h
		if t.residual != nil {
			h += t.residual[t.step*n+u]
		}
		dst[u] = h
	}
}
