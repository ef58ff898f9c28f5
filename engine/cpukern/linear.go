package cpukern

// Linear: Dst[r] = act(norm(X[r])·Wᵀ + Bias) + Residual[r].
//
//	X ── norm ── round, for quantised weights ──► operand ── panels, claimed by threads ──► Dst
//
// The weight passes once. A thread multiplies a run of panels with a block of rows into scratch of its own, which bias,
// activation and residual follow while it is in the cache; Dst, which may be the residual, is written last.

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type linearTask struct {
	span                // over panels of w
	kernels             *simd.Kernels
	private             [][]float32
	w                   *matrix
	x                   operand
	dst, bias, residual []float32
	act                 kern.Activation
}

const (
	// linearRows bounds the rows multiplied before their epilogue: whole tiles, and scratch that fits a cache.
	linearRows = 4 * simd.TileRows
	// linearBytes bounds the weight of a chunk: about as much as simd reads in one call.
	linearBytes = 256 << 10
	// stepBytes is the weight of a chunk for few rows: a thread reads one after the other in one stream, and ends a
	// microsecond after the others at most.
	stepBytes = 32 << 10
)

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
	*t = linearTask{kernels: s.kernels, w: w, act: a.Act}
	t.dst = s.floats("linear", "Dst", a.Dst, kern.Product(a.Rows, w.rows))
	t.bias = s.optional("linear", "Bias", a.Bias, w.rows)
	t.residual = s.optional("linear", "Residual", a.Residual, kern.Product(a.Rows, w.rows))
	x := s.floats("linear", "X", a.X, kern.Product(a.Rows, w.cols))
	s.apart("linear", "X", t.dst, x)
	s.same("linear", "Residual", t.dst, t.residual)
	s.kernels.Fetch(w.packed[:min(len(w.packed), fetchBytes)]) // the weight is on its way while X is prepared
	if a.Norm.Kind != kern.NoNorm {
		x = s.normalised(a.Norm, x, a.Rows, w.cols)
	}
	if s.err != nil {
		return
	}
	t.x = s.operand(w, x, a.Rows)
	t.span = s.linearSpan(w, a.Rows)
	s.growPrivate(min(a.Rows, linearRows) * t.block * w.panelRows())
	t.private = s.private
	s.run(t, t.chunks())
}

// linearSpan cuts a weight into many chunks per thread; for many rows, into no smaller ones than threads need, since the rows
// are read again for each.
func (b *backend) linearSpan(w *matrix, rows int) span {
	most := stepBytes
	if rows > simd.TileRows {
		most = linearBytes
	}
	share := ceilDiv(w.panels(), 4*b.pool.threads())
	return span{n: w.panels(), block: min(share, max(1, most/w.panelBytes()))}
}

func (t *linearTask) run(thread, chunk int) {
	from, to := t.at(chunk)
	first, end := from*t.w.panelRows(), min(to*t.w.panelRows(), t.w.rows)
	for r := 0; r < t.x.rows; r += linearRows {
		rows := min(linearRows, t.x.rows-r)
		out := t.private[thread][:rows*(end-first)]
		t.w.multiply(t.kernels, out, end-first, from, to, t.x.from(r, rows, t.w.cols))
		t.finish(out, r, first, end)
	}
}

// finish adds what follows the product to outputs [first, end) of the rows from r on, and writes them.
func (t *linearTask) finish(out []float32, r, first, end int) {
	for len(out) > 0 {
		row := out[:end-first]
		if t.bias != nil {
			t.kernels.Add(row, t.bias[first:end])
		}
		switch t.act {
		case kern.GELU:
			t.kernels.GELU(row)
		case kern.ReLU:
			relu(row)
		}
		at := r * t.w.rows
		if t.residual != nil {
			t.kernels.Add(row, t.residual[at+first:at+end])
		}
		copy(t.dst[at+first:], row)
		out, r = out[len(row):], r+1
	}
}

func relu(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

// quantizeTask rounds activations, tile by tile.
type quantizeTask struct {
	span    // over tiles of simd.TileRows rows
	kernels *simd.Kernels
	tiles   []byte
	x       []float32
	bits    int
	rows    int
	cols    int
}

// operand prepares x [rows, K] for products with w.
func (s *stream) operand(w *matrix, x []float32, rows int) operand {
	if !w.quantized() {
		return operand{rows: rows, floats: x}
	}
	tiles := s.growTiles(simd.QuantizedBytes(rows, w.cols))
	t := &s.quantize
	*t = quantizeTask{kernels: s.kernels, tiles: tiles, x: x, bits: w.precision.Bits(), rows: rows, cols: w.cols}
	t.span = s.pool.cut(ceilDiv(rows, simd.TileRows), simd.TileRows*w.cols)
	s.run(t, t.chunks())
	return operand{rows: rows, tiles: tiles}
}

func (t *quantizeTask) run(_, chunk int) {
	from, to := t.at(chunk)
	first, end := from*simd.TileRows, min(to*simd.TileRows, t.rows)
	t.kernels.Quantize(t.tiles[simd.QuantizedBytes(first, t.cols):], t.bits, t.x[first*t.cols:], t.cols, end-first, t.cols)
}
