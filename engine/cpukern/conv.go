package cpukern

// Conv over [T][C], as a matrix product without a copy of every window: successive windows are rows of one product that
// overlap in memory.
//
//	X ── pad, ELU ──► scratch ── Gemm, a tile of frames × panels of channels per chunk ──► Dst, which holds bias and residual
//
// The sum of an output is made in order of taps and channels whatever the tile, so a signal computed in parts has the same
// bits as the whole.

import (
	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

const (
	convRows = 16 * simd.TileRows // frames of a chunk: enough that its weight comes from cache most times
	convWork = 16 << 20           // multiplications of a chunk at most, where a panel allows it: some 200 µs
)

// A grid cuts a product into chunks of frames × panels of output channels.
type grid struct {
	rows, panels span
}

func (p *pool) grid(frames, outputs, depth int) grid {
	rows := span{n: frames, block: min(frames, convRows)}
	panels := ceilDiv(outputs, simd.GemmPanelRows)
	groups := ceilDiv(4*p.threads(), rows.chunks())
	most := convWork / (rows.block * simd.GemmPanelRows * depth)
	return grid{rows, span{n: panels, block: min(ceilDiv(panels, groups), max(1, most))}}
}

func (g grid) chunks() int { return g.rows.chunks() * g.panels.chunks() }

// at: frames [r0, r1) and panels [p0, p1). Neighbouring chunks share their panels.
func (g grid) at(chunk int) (r0, r1, p0, p1 int) {
	r0, r1 = g.rows.at(chunk % g.rows.chunks())
	p0, p1 = g.panels.at(chunk / g.rows.chunks())
	return r0, r1, p0, p1
}

type convTask struct {
	grid
	kernels                *simd.Kernels
	private                [][]float32
	w                      *filter
	dst, x, bias, residual []float32 // x is padded
	stride, dilation       int
}

func (s *stream) Conv(a kern.Conv) {
	if !s.alive() {
		return
	}
	w := s.filter("conv", a.W, false)
	if w == nil || !s.passes(a.Check(kern.MaxElements)) {
		return
	}
	frames := a.OutT()
	t := &s.conv
	*t = convTask{kernels: s.kernels, w: w, stride: a.Stride, dilation: a.Dilation}
	t.dst = s.floats("conv", "Dst", a.Dst, kern.Product(frames, w.out))
	t.bias = s.floats("conv", "Bias", a.Bias, w.out)
	t.residual = s.optional("conv", "Residual", a.Residual, kern.Product(frames, w.out))
	x := s.floats("conv", "X", a.X, kern.Product(a.T, w.in))
	s.apart("conv", "X", t.dst, x)
	s.same("conv", "Residual", t.dst, t.residual)
	if s.err != nil {
		return
	}
	pad := padTask{x: x, t: a.T, in: w.in, left: a.Left, elu: a.ELU}
	if a.Pad == kern.PadReflect {
		pad.mirror = max(a.T, a.Left+1, a.Right+1)
	}
	t.x = s.padded(pad, a.Right)
	t.grid = s.pool.grid(frames, w.out, w.depth())
	s.growPrivate(2 * t.rows.block)
	t.private = s.private
	s.run(t, t.chunks())
}

func (t *convTask) run(thread, chunk int) {
	r0, r1, p0, p1 := t.at(chunk)
	if t.w.single() {
		t.dots(t.private[thread][:2*(r1-r0)], r0, r1)
		return
	}
	c0, c1 := p0*simd.GemmPanelRows, min(p1*simd.GemmPanelRows, t.w.out)
	for r := r0; r < r1; r++ {
		t.begin(r*t.w.out, c0, c1)
	}
	parts, depth := t.parts()
	for j := range parts {
		t.kernels.Gemm(simd.Gemm{
			Dst: t.dst[r0*t.w.out+c0:], Stride: t.w.out,
			W: t.w.packed[c0*t.w.depth()+j*depth*simd.GemmPanelRows:], PanelStride: simd.GemmPanelRows * t.w.depth(),
			N: c1 - c0, K: depth, X: t.window(r0, j), XStride: t.stride * t.w.in, Rows: r1 - r0,
		})
	}
}

// parts is how many products make up one output, and the inputs of each: with a dilation, taps have gaps between them.
func (t *convTask) parts() (n, depth int) {
	if t.dilation == 1 {
		return 1, t.w.depth()
	}
	return t.w.kernel, t.w.in
}

// window is what frame r sees of part j.
func (t *convTask) window(r, j int) []float32 { return t.x[(r*t.stride+j*t.dilation)*t.w.in:] }

// begin puts bias and residual where a product will be added: channels [c0, c1) of the frame that starts at element at.
func (t *convTask) begin(at, c0, c1 int) {
	dst, bias := t.dst[at+c0:at+c1], t.bias[c0:c1]
	if t.residual == nil {
		copy(dst, bias)
		return
	}
	copy(dst, t.residual[at+c0:at+c1]) // perhaps itself
	t.kernels.Add(dst, bias)
}

// dots computes frames [r0, r1) of a filter with one output, in scratch, since Dst may be the residual.
func (t *convTask) dots(scratch []float32, r0, r1 int) {
	sums, part := scratch[:r1-r0], scratch[r1-r0:]
	for i := range sums {
		sums[i] = t.bias[0]
	}
	parts, depth := t.parts()
	for j := range parts {
		t.kernels.Dots(part, t.w.packed[j*depth:][:depth], t.window(r0, j), t.stride*t.w.in)
		t.kernels.Add(sums, part)
	}
	if t.residual != nil {
		t.kernels.Add(sums, t.residual[r0:r1])
	}
	copy(t.dst[r0:], sums)
}
