package cpukern

// Linear: Dst[r] = act(norm(X[r])·Wᵀ + Bias) + Residual[r]. Threads share out the rows of W; each converts a block of
// them to float32 once and uses it for all rows of X.

import "segue/engine/kern"

type linearTask struct {
	span                   // over the rows of w
	private                [][]float32
	w                      *matrix
	dst, x, bias, residual []float32
	rows                   int
	act                    kern.Activation
}

// linearBlock bounds the rows of W that a thread converts at once, to keep them in its cache.
const linearBlock = 32

func (s *stream) Linear(a kern.Linear) {
	if !s.alive() {
		return
	}
	w := s.matrix("linear", "W", a.W)
	if w == nil {
		return
	}
	if a.Rows < 1 || a.Act > kern.ReLU {
		s.shapef("linear", "got %d rows, activation %d", a.Rows, a.Act)
		return
	}
	t := &s.linear
	n, k := w.rows, w.cols
	*t = linearTask{w: w, rows: a.Rows, act: a.Act}
	t.dst = s.floats("linear", "Dst", a.Dst, product(a.Rows, n))
	t.x = s.floats("linear", "X", a.X, product(a.Rows, k))
	t.bias = s.optional("linear", "Bias", a.Bias, n)
	t.residual = s.optional("linear", "Residual", a.Residual, product(a.Rows, n))
	s.apart("linear", "X", t.dst, t.x)
	s.same("linear", "Residual", t.dst, t.residual)
	if a.Norm.Kind != kern.NoNorm {
		t.x = s.normalised(a.Norm, t.x, a.Rows, k)
	}
	if s.err != nil {
		return
	}
	t.span = s.pool.cut(n, a.Rows*k)
	t.block = min(max(t.block, 4)+3, linearBlock) &^ 3 // whole tiles
	s.growPrivate(t.block * (k + a.Rows))
	t.private = s.private
	s.pool.run(t, t.chunks())
}

func (t *linearTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	n, k, cols := t.w.rows, t.w.cols, to-from
	scratch := t.private[thread]
	out := scratch[t.block*k:][:t.rows*cols]
	clear(out)
	product := gemm{
		out: out, outStride: cols,
		x: t.x, xStride: k,
		w: t.w.window(from, to, scratch), wStride: k,
		rows: t.rows, cols: cols, depth: k,
	}
	product.add()
	for r := range t.rows {
		row := out[r*cols:][:cols]
		if t.bias != nil {
			add(row, t.bias[from:to])
		}
		activate(row, t.act)
		if t.residual != nil {
			add(row, t.residual[r*n+from:r*n+to])
		}
		copy(t.dst[r*n+from:], row)
	}
}

func activate(x []float32, act kern.Activation) {
	switch act {
	case kern.GELU:
		gelu(x)
	case kern.ReLU:
		relu(x)
	}
}
