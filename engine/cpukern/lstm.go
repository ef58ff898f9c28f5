package cpukern

// LSTM: one region of the pool per step, because each needs the whole of the last one's h. Threads share out the panels
// of the weight; the gates follow on the caller.

import (
	"math"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type lstmTask struct {
	span                 // over panels of w
	kernels              *simd.Kernels
	w                    *matrix
	x                    operand
	dst, gates, residual []float32
	c, h, sums           []float32 // sums [4H] = W_hh·h
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
	*t = lstmTask{kernels: s.kernels, w: w, hidden: n, span: s.linearSpan(w)}
	t.dst = s.floats("lstm", "Dst", a.Dst, product(a.T, n))
	t.gates = s.floats("lstm", "Gates", a.Gates, product(a.T, 4, n))
	t.residual = s.optional("lstm", "Residual", a.Residual, product(a.T, n))
	s.apart("lstm", "Gates", t.dst, t.gates)
	s.same("lstm", "Residual", t.dst, t.residual)
	if s.err != nil {
		return
	}
	scratch := s.grow(6 * n)
	t.c, t.h, t.sums = scratch[:n], scratch[n:2*n], scratch[2*n:]
	clear(scratch)
	for t.step = range a.T {
		t.x = s.operand(w, t.h, 1)
		s.pool.run(t, t.chunks())
		t.finish()
	}
}

func (t *lstmTask) run(_, chunk int) {
	from, to := t.at(chunk)
	t.w.multiply(t.kernels, t.sums[from*t.w.panelRows():], 4*t.hidden, from, to, t.x)
}

// finish takes c, h and the result from the sums of a step.
func (t *lstmTask) finish() {
	n := t.hidden
	dst := t.dst[t.step*n:][:n]
	t.kernels.Add(t.sums, t.gates[t.step*4*n:][:4*n])
	for u := range n {
		i, f, g, o := t.sums[u], t.sums[n+u], t.sums[2*n+u], t.sums[3*n+u]
		c := float64(sigmoid(f)*float64(t.c[u])) + float64(sigmoid(i)*math.Tanh(float64(g)))
		t.c[u], t.h[u] = float32(c), float32(sigmoid(o)*math.Tanh(c))
		out := t.h[u]
		if t.residual != nil {
			out += t.residual[t.step*n+u]
		}
		dst[u] = out // may be the residual's place
	}
}
