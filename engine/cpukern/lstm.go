package cpukern

// LSTM: one region of the pool per step, because each needs the whole of the last one's h. Threads share out the panels
// of the weight; the gates follow on the caller.

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type lstmTask struct {
	span                 // over panels of w
	kernels              *simd.Kernels
	w                    *matrix
	x                    operand
	dst, gates, residual []float32
	c, h, tanhC          []float32 // [H]
	sums                 []float32 // [4H] = W_hh·h, then the gates
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
	*t = lstmTask{kernels: s.kernels, w: w, hidden: n, span: s.linearSpan(w, 1)}
	t.dst = s.floats("lstm", "Dst", a.Dst, kern.Product(a.T, n))
	t.gates = s.floats("lstm", "Gates", a.Gates, kern.Product(a.T, 4, n))
	t.residual = s.optional("lstm", "Residual", a.Residual, kern.Product(a.T, n))
	s.apart("lstm", "Gates", t.dst, t.gates)
	s.same("lstm", "Residual", t.dst, t.residual)
	if s.err != nil {
		return
	}
	scratch := s.grow(7 * n)
	t.c, t.h, t.tanhC, t.sums = scratch[:n], scratch[n:2*n], scratch[2*n:3*n], scratch[3*n:]
	clear(scratch)
	for t.step = range a.T {
		t.x = s.operand(w, t.h, 1)
		s.run(t, t.chunks())
		t.finish()
	}
}

func (t *lstmTask) run(_, chunk int) {
	from, to := t.at(chunk)
	t.w.multiply(t.kernels, t.sums[from*t.w.panelRows():], 4*t.hidden, from, to, t.x)
}

// finish takes c, h and the result from the sums of a step.
func (t *lstmTask) finish() {
	k, n := t.kernels, t.hidden
	k.Add(t.sums, t.gates[t.step*4*n:][:4*n])
	k.Sigmoid(t.sums[:2*n])
	k.Tanh(t.sums[2*n : 3*n])
	k.Sigmoid(t.sums[3*n:])
	i, f, g, o := t.sums[:n], t.sums[n:2*n], t.sums[2*n:3*n], t.sums[3*n:]
	for u := range n {
		t.c[u] = float32(f[u]*t.c[u]) + float32(i[u]*g[u])
	}
	copy(t.tanhC, t.c)
	k.Tanh(t.tanhC)
	for u := range n {
		t.h[u] = float32(o[u] * t.tanhC[u])
	}
	dst := t.dst[t.step*n:][:n]
	if t.residual == nil {
		copy(dst, t.h)
		return
	}
	copy(dst, t.residual[t.step*n:]) // perhaps itself
	k.Add(dst, t.h)
}
