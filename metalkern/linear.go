package metalkern

// Linear: Dst[r] = act(norm(X[r])·Wᵀ + Bias) + Residual[r]. Up to matvecRows rows are one dispatch, in which norm, bias,
// activation and residual are; more are two: the rows are rounded for matrix units, then multiplied in tiles.

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// linearArgs is LinearArgs of linear.metal.
type linearArgs struct {
	rows, outputs, inputs uint32
	padded, pitch         uint32
	norm                  uint32 // kern.NormKind
	epsilon               float32
	act                   uint32 // kern.Activation
	vector                uint32
	bias, residual        uint32
	parts                 uint32
}

const (
	// matvecRows is up to how many rows W is multiplied with rows rather than tiles. Each eight rows read it anew, all but
	// the first from the cache; and a row's bits do not depend on the others.
	matvecRows = 48
	// tileSize is TILE of linear.metal.
	tileSize = 64
)

// A matvec is a kernel for some rows at a time, of which each simdgroup computes some outputs.
type matvec struct {
	rows, outputs int
	names         [kern.Q4 + 1]kernelName // by precision
}

// matvecThreads are those of a threadgroup, few or many. Whichever kernel and threads are taken, the bits are the same;
// TuneLinear measures all.
var matvecThreads = [...]int{128, 256}

// matvecs by rows, then by outputs.
var matvecs = []matvec{
	newMatvec(1, 1, "1x1"), newMatvec(1, 2, "1x2"), newMatvec(1, 4, "1x4"),
	newMatvec(2, 1, "2x1"), newMatvec(2, 2, "2x2"), newMatvec(2, 4, "2x4"),
	newMatvec(4, 2, "4x2"), newMatvec(4, 4, "4x4"),
	newMatvec(8, 4, "8x4"),
}

func newMatvec(rows, outputs int, size string) matvec {
	m := matvec{rows: rows, outputs: outputs}
	for p := kern.F32; p <= kern.Q4; p++ {
		m.names[p] = kernelName{"linear", "linear_" + p.String() + "_" + size}
	}
	return m
}

var (
	prepareHalf  = kernelName{"linear", "linear_prepare_half"}
	prepareFloat = kernelName{"linear", "linear_prepare_float"}
	tileNames    = [...]kernelName{kern.F32: {"linear", "linear_tile_f32"}, kern.F16: {"linear", "linear_tile_f16"},
		kern.Q8: {"linear", "linear_tile_q8"}, kern.Q4: {"linear", "linear_tile_q4"}}
)

// linearOperands are those of one op, checked.
type linearOperands struct {
	linearArgs
	w                                     *matrix
	dst, x, weight, shift, bias, residual region
}

func (s *stream) Linear(a kern.Linear) {
	o, ok := s.linearOperands(&a)
	switch {
	case !ok:
	case a.Rows <= matvecRows:
		s.matvec(&o, s.chooseLaunch(a.Rows, o.w))
	default:
		s.tiles(&o)
	}
}

func (s *stream) linearOperands(a *kern.Linear) (o linearOperands, ok bool) {
	if !s.alive() {
		return o, false
	}
	w := s.matrix("linear", "W", a.W)
	if w == nil {
		return o, false
	}
	if a.Rows < 1 || a.Act > kern.ReLU {
		s.shapef("linear", "got %d rows, activation %d", a.Rows, a.Act)
		return o, false
	}
	o.w = w
	o.dst = s.floats("linear", "Dst", a.Dst, kern.Product(a.Rows, w.rows))
	o.bias = s.optional("linear", "Bias", a.Bias, w.rows)
	o.residual = s.optional("linear", "Residual", a.Residual, kern.Product(a.Rows, w.rows))
	o.x = s.floats("linear", "X", a.X, kern.Product(a.Rows, w.cols))
	s.apart("linear", "X", o.dst, o.x)
	s.same("linear", "Residual", o.dst, o.residual)
	o.weight, o.shift = s.normWeights("linear", a.Norm, w.cols)
	if s.err != nil {
		return o, false
	}
	o.linearArgs = linearArgs{
		rows: uint32(a.Rows), outputs: uint32(w.rows), inputs: uint32(w.cols), padded: uint32(roundUp(w.cols, weights.GroupSize)),
		pitch: uint32(w.rowBytes()), norm: uint32(a.Norm.Kind), epsilon: a.Norm.Epsilon, act: uint32(a.Act),
		vector: fours(w.cols, o.x, o.weight, o.shift), bias: present(o.bias), residual: present(o.residual),
	}
	return o, true
}

// present is 1 for an operand that is there.
func present(r region) uint32 {
	if r.absent() {
		return 0
	}
	return 1
}

func (s *stream) matvec(o *linearOperands, l launch) {
	p, ok := s.pipeline(l.names[o.w.precision])
	if !ok {
		return
	}
	threads := p.threads(l.threads)
	groups := driver.Size{X: ceilDiv(int(o.rows), l.rows), Y: ceilDiv(o.w.rows, threads/simdWidth*l.outputs), Z: 1}
	s.dispatch(p, groups, threads, constants(s, o.linearArgs),
		o.w.numbers(), o.w.scales(), o.x, o.weight, o.shift, o.bias, o.residual, o.dst.written())
}

// A launch is a kernel and as many threads of a threadgroup as it should have.
type launch struct {
	*matvec
	threads int
}

// chooseLaunch takes the most rows, then outputs, of a simdgroup that leave a threadgroup for every core. Kernels of eight rows need
// so many registers that they want two, small ones, for every core. TuneLinear measures what other choices would give.
func (s *stream) chooseLaunch(rows int, w *matrix) launch {
	few, most := matvecThreads[0], matvecThreads[1]
	for i := len(matvecs) - 1; i >= 0; i-- {
		l := launch{&matvecs[i], most}
		want := s.cores()
		if l.rows == 8 {
			l.threads, want = few, 2*want
		}
		if l.rows < 2*rows && l.threadgroups(rows, w.rows) >= want {
			return l
		}
	}
	return launch{&matvecs[0], most}
}

// threadgroups of a product of rows with a matrix of so many outputs.
func (l launch) threadgroups(rows, outputs int) int {
	return ceilDiv(rows, l.rows) * ceilDiv(outputs, l.threads/simdWidth*l.outputs)
}

// launches are all that may serve so many rows.
func launches(rows int) (all []launch) {
	for i := range matvecs {
		for _, threads := range matvecThreads {
			if m := &matvecs[i]; m.rows <= 2*rows {
				all = append(all, launch{m, threads})
			}
		}
	}
	return all
}

// cores is a guess where the device does not say: the smallest Apple GPUs have eight, the largest eighty.
func (b *backend) cores() int {
	if b.info.Cores > 0 {
		return b.info.Cores
	}
	return 32
}

func (s *stream) tiles(o *linearOperands) {
	size, prepare := 2, prepareHalf // of a number
	o.parts = 1
	switch o.w.precision {
	case kern.F32:
		size, prepare = 4, prepareFloat
	case kern.F16:
		o.parts = 2 // halves, so that no more is lost of x than of W
	}
	first, ok := s.pipeline(prepare)
	second, too := s.pipeline(tileNames[o.w.precision])
	if !ok || !too {
		return
	}
	rounded := int64(size) * int64(o.parts) * int64(o.rows) * int64(o.padded) // rows are whole 16 bytes
	scratch := s.grow(scratchRows, rounded+4*int64(o.rows))
	if s.err != nil {
		return
	}
	x, unscale := scratch, scratch.at(rounded)
	x.to = rounded
	threads := first.threads(128)
	args := constants(s, o.linearArgs)
	s.dispatch(first, driver.Size{X: ceilDiv(int(o.rows), threads/simdWidth), Y: 1, Z: 1}, threads, args,
		o.x, o.weight, o.shift, x.written(), unscale.written())
	groups := driver.Size{X: ceilDiv(o.w.rows, tileSize), Y: ceilDiv(int(o.rows), tileSize), Z: 1}
	s.dispatch(second, groups, second.threads(128), args,
		o.w.numbers(), o.w.scales(), x, unscale, o.bias, o.residual, o.dst.written())
}
