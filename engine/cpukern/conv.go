package cpukern

// Conv and ConvTranspose over [T][C]. Both are matrix products without a copy of every window: successive windows of a
// convolution are rows of one product that overlap in memory, and the transposed one gives all Stride output frames
// of an input frame as one row.

import (
	"fmt"

	"segue/engine/kern"
	"segue/weights"
)

// filter is packed [out][kernel][in], or [kernel][out][in] when transposed.
type filter struct {
	holding
	in, out, kernel int
	transposed      bool
	packed          []float32
}

func (f *filter) In() int          { return f.in }
func (f *filter) Out() int         { return f.out }
func (f *filter) Kernel() int      { return f.kernel }
func (f *filter) Transposed() bool { return f.transposed }

func (f *filter) Free() {
	if f.release() {
		f.packed = nil
	}
}

func (b *backend) Filter(t *weights.Tensor, transposed bool) (kern.Filter, error) {
	if err := b.checkTensor("filter", t); err != nil {
		return nil, err
	}
	if len(t.Shape) != 3 {
		return nil, fmt.Errorf("cpukern: filter: %s: got shape %v, want three dimensions", t.Name, t.Shape)
	}
	f := &filter{out: t.Shape[0], in: t.Shape[1], kernel: t.Shape[2], transposed: transposed}
	if transposed {
		f.in, f.out = f.out, f.in
	}
	f.packed = f.pack(t.Floats())
	f.hold(b, 4*int64(len(f.packed)))
	return f, nil
}

// pack brings the input channels of one tap together.
func (f *filter) pack(w []float32) []float32 {
	packed := make([]float32, len(w))
	for o := range f.out {
		for j := range f.kernel {
			for i := range f.in {
				if f.transposed {
					packed[(j*f.out+o)*f.in+i] = w[(i*f.out+o)*f.kernel+j]
				} else {
					packed[(o*f.kernel+j)*f.in+i] = w[(o*f.in+i)*f.kernel+j]
				}
			}
		}
	}
	return packed
}

func (s *stream) filter(op string, w kern.Filter, transposed bool) *filter {
	found, ok := w.(*filter)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef(op, "W: absent, or a filter of another backend")
	case found.freed.Load():
		s.shapef(op, "W: freed filter")
	case found.transposed != transposed:
		s.shapef(op, "W: got a filter with transposed %v, want %v", found.transposed, transposed)
	default:
		return found
	}
	return nil
}

// convBlock bounds the output frames and channels of a chunk: its operands stay in the cache.
const convBlock = 64

// tiles cuts a product of rows × cols elements, each of depth multiplications, both ways.
func (p *pool) tiles(rows, cols, depth int) (r, c span) {
	r = span{n: rows, block: min(rows, convBlock)}
	c = p.cut(cols, r.block*depth)
	c.block = min(max(c.block, 4)+3, convBlock) &^ 3
	return r, c
}

// padTask copies X between its padding, through ELU where asked for.
type padTask struct {
	span   // over padded frames
	dst, x []float32
	t, in  int
	left   int
	mirror int // frames of X and of the zeros after it that a reflection sees; 0: pad with zeros
	elu    bool
}

// padded returns the input of a convolution: X itself where nothing is to be done.
func (s *stream) padded(t padTask, right int) []float32 {
	if t.left == 0 && right == 0 && !t.elu {
		return t.x
	}
	frames := t.left + t.t + right
	t.dst = s.grow(frames * t.in)
	t.span = s.pool.cut(frames, 8*t.in)
	s.pad = t
	s.pool.run(&s.pad, t.chunks())
	return t.dst
}

func (t *padTask) run(_, chunk int) {
	from, to := t.at(chunk)
	for p := from; p < to; p++ {
		dst := t.dst[p*t.in:][:t.in]
		i := t.source(p - t.left)
		switch {
		case i < 0 || i >= t.t:
			clear(dst)
		case t.elu:
			elu(dst, t.x[i*t.in:][:t.in])
		default:
			copy(dst, t.x[i*t.in:])
		}
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

type convTask struct {
	rows, cols             span // output frames and channels
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
	if w == nil || !s.convFits(a) {
		return
	}
	frames := a.OutT()
	t := &s.conv
	*t = convTask{w: w, stride: a.Stride, dilation: a.Dilation}
	t.dst = s.floats("conv", "Dst", a.Dst, product(frames, w.out))
	t.bias = s.floats("conv", "Bias", a.Bias, w.out)
	t.residual = s.optional("conv", "Residual", a.Residual, product(frames, w.out))
	x := s.floats("conv", "X", a.X, product(a.T, w.in))
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
	t.rows, t.cols = s.pool.tiles(frames, w.out, w.kernel*w.in)
	s.growPrivate(t.rows.block * t.cols.block)
	t.private = s.private
	s.pool.run(t, t.rows.chunks()*t.cols.chunks())
}

func (s *stream) convFits(a kern.Conv) bool {
	sane := positive(a.T, a.Stride, a.Dilation) && a.Left >= 0 && a.Right >= 0 && a.Pad <= kern.PadReflect &&
		max(a.T, a.Stride, a.Left, a.Right, product(a.W.Kernel(), a.Dilation)) <= maxElements
	if !sane || a.OutT() < 1 || (a.W.Kernel()-1)*a.Dilation >= a.Left+a.T+a.Right {
		s.shapef("conv", "got %d frames, padding %d and %d (mode %d), stride %d, dilation %d: no output",
			a.T, a.Left, a.Right, a.Pad, a.Stride, a.Dilation)
		return false
	}
	return true
}

func (t *convTask) run(thread, chunk int) {
	r0, r1 := t.rows.at(chunk % t.rows.chunks())
	c0, c1 := t.cols.at(chunk / t.rows.chunks())
	in, depth, cols := t.w.in, t.w.kernel*t.w.in, c1-c0
	out := t.private[thread][:(r1-r0)*cols]
	clear(out)
	product := gemm{
		out: out, outStride: cols,
		x: t.x[r0*t.stride*in:], xStride: t.stride * in,
		w: t.w.packed[c0*depth:], wStride: depth,
		rows: r1 - r0, cols: cols, depth: depth,
	}
	if t.dilation == 1 {
		product.add()
	} else {
		t.addTaps(product)
	}
	for r := r0; r < r1; r++ {
		row := out[(r-r0)*cols:][:cols]
		at := r*t.w.out + c0
		add(row, t.bias[c0:c1])
		if t.residual != nil {
			add(row, t.residual[at:at+cols])
		}
		copy(t.dst[at:], row)
	}
}

// addTaps adds one tap at a time: with a dilation their inputs are not neighbours.
func (t *convTask) addTaps(product gemm) {
	x, w := product.x, product.w
	product.depth = t.w.in
	for j := range t.w.kernel {
		product.x = x[j*t.dilation*t.w.in:]
		product.w = w[j*t.w.in:]
		product.add()
	}
}

// transposeTask computes rows of Stride output frames: row u is Σ_m X[u-m]·W[m·Stride … (m+1)·Stride-1].
type transposeTask struct {
	rows, cols   span // input frames and those after them that still sound; output channels of Stride frames
	private      [][]float32
	w            *filter
	dst, x, bias []float32
	t, stride    int
	trim, outT   int
}

func (s *stream) ConvTranspose(a kern.ConvTranspose) {
	if !s.alive() {
		return
	}
	w := s.filter("conv transpose", a.W, true)
	if w == nil {
		return
	}
	if !positive(a.T, a.Stride) || product(a.T, a.Stride) > maxElements ||
		a.TrimLeft < 0 || a.TrimRight < 0 || max(a.TrimLeft, a.TrimRight) > maxElements || a.OutT() < 1 {
		s.shapef("conv transpose", "got %d frames, stride %d, trim %d and %d: no output", a.T, a.Stride, a.TrimLeft, a.TrimRight)
		return
	}
	t := &s.transpose
	*t = transposeTask{w: w, t: a.T, stride: a.Stride, trim: a.TrimLeft, outT: a.OutT()}
	t.dst = s.floats("conv transpose", "Dst", a.Dst, product(t.outT, w.out))
	t.bias = s.floats("conv transpose", "Bias", a.Bias, w.out)
	x := s.floats("conv transpose", "X", a.X, product(a.T, w.in))
	s.apart("conv transpose", "X", t.dst, x)
	if s.err != nil {
		return
	}
	t.x = s.padded(padTask{x: x, t: a.T, in: w.in, elu: a.ELU}, 0)
	t.rows, t.cols = s.pool.tiles(a.T+t.taps()-1, a.Stride*w.out, t.taps()*w.in)
	s.growPrivate(t.rows.block * t.cols.block)
	t.private = s.private
	s.pool.run(t, t.rows.chunks()*t.cols.chunks())
}

// taps is how many input frames an output frame hears.
func (t *transposeTask) taps() int { return ceilDiv(t.w.kernel, t.stride) }

func (t *transposeTask) run(thread, chunk int) {
	r0, r1 := t.rows.at(chunk % t.rows.chunks())
	c0, c1 := t.cols.at(chunk / t.rows.chunks())
	out := t.private[thread][:(r1-r0)*(c1-c0)]
	clear(out)
	for m := range t.taps() {
		t.addTap(out, m, r0, r1, c0, c1)
	}
	for r := r0; r < r1; r++ {
		t.store(out[(r-r0)*(c1-c0):][:c1-c0], (r*t.stride-t.trim)*t.w.out+c0)
	}
}

// addTap adds what input frames u-m contribute to rows [r0, r1), columns [c0, c1).
func (t *transposeTask) addTap(out []float32, m, r0, r1, c0, c1 int) {
	first, last := max(r0, m), min(r1, t.t+m)
	end := min(c1, (t.w.kernel-m*t.stride)*t.w.out) // the last tap may be cut short
	if first >= last || c0 >= end {
		return
	}
	in := t.w.in
	product := gemm{
		out: out[(first-r0)*(c1-c0):], outStride: c1 - c0,
		x: t.x[(first-m)*in:], xStride: in,
		w: t.w.packed[(m*t.stride*t.w.out+c0)*in:], wStride: in,
		rows: last - first, cols: end - c0, depth: in,
	}
	product.add()
}

// store writes consecutive elements of the output, with bias, from element at on; those trimmed away are left out.
func (t *transposeTask) store(row []float32, at int) {
	skip := max(0, -at)
	end := min(len(row), t.outT*t.w.out-at)
	for i := skip; i < end; {
		o := (at + i) % t.w.out
		n := min(t.w.out-o, end-i)
		copy(t.dst[at+i:], row[i:i+n])
		add(t.dst[at+i:], t.bias[o:o+n])
		i += n
	}
}
