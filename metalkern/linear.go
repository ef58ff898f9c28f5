package metalkern

// Linear: Dst[r] = act(norm(X[r])·Wᵀ + Bias) + Residual[r]. Up to matvecRows rows are one dispatch, in which norm, bias,
// activation and residual are; more are two: the rows are rounded for matrix units, then multiplied in tiles.

import (
	"fmt"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// linearArgs is LinearArgs of linear_common.metal.
type linearArgs struct {
	rows, outputs, inputs uint32
	padded                uint32
	pitch, groups         uint32
	norm                  uint32 // kern.NormKind
	epsilon, inverse      float32
	act                   uint32 // kern.Activation
	vector                uint32
	stride                uint32
	slices, blocks        uint32
	bias, residual        uint32
	wide                  uint32
	parts                 uint32
	rounds                uint32
	even                  uint32
}

const (
	// matvecRows is up to how many rows W is multiplied with rows rather than tiles. Each sixteen rows read it anew, all but
	// the first from the cache; and a row's bits do not depend on the others.
	matvecRows = 48
	// These are BLOCK and SLICES of linear_common.metal.
	blockInputs = 128
	mostSlices  = 16
	// These are its EVEN_INPUTS, EVEN_OUTPUTS and EVEN_ROWS: what of a product leaves no rest.
	evenInputs, evenOutputs, evenRows = 1, 2, 4
)

// A matvec is a kernel for some rows at a time and some panels of panelRows outputs.
type matvec struct {
	rows, panels int
	names        [kern.Q4 + 1]kernelName // by precision
}

// matvecs by rows, then by panels. Whichever is taken, the bits are the same; TuneLinear measures all.
var matvecs = []matvec{
	newMatvec(1, 1), newMatvec(1, 2), newMatvec(2, 1), newMatvec(2, 2), newMatvec(4, 1), newMatvec(4, 2),
	newMatvec(8, 1), newMatvec(8, 2), newMatvec(16, 1), newMatvec(16, 2),
}

func newMatvec(rows, panels int) matvec {
	m := matvec{rows: rows, panels: panels}
	for p := kern.F32; p <= kern.Q4; p++ {
		m.names[p] = kernelName{"linear", fmt.Sprintf("linear_%v_%dx%d", p, rows, panels)}
	}
	return m
}

var (
	prepareHalf  = kernelName{"linear_tile", "linear_prepare_half"}
	prepareFloat = kernelName{"linear_tile", "linear_prepare_float"}
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
		s.matvec(&o, s.chooseMatvec(a.Rows, o.w))
	default:
		s.tile(&o, s.chooseTile(a.Rows, o.w))
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
		pitch: uint32(w.rowBytes()), groups: uint32(w.scalePitch()), norm: uint32(a.Norm.Kind), epsilon: a.Norm.Epsilon,
		inverse: 1 / float32(w.cols), act: uint32(a.Act),
		vector: fours(w.cols, o.x, o.weight, o.shift), stride: uint32(w.cols), bias: present(o.bias), residual: present(o.residual),
		wide: fours(w.rows, o.dst, o.bias, o.residual), parts: 1,
	}
	o.slices, o.blocks = slicesOf(int(o.padded))
	return o, true
}

// present is 1 for an operand that is there.
func present(r region) uint32 {
	if r.absent() {
		return 0
	}
	return 1
}

// slicesOf inputs, of a product with few rows: their number, and of how many blocks each is. They decide the order of its sums.
func slicesOf(inputs int) (count, blocks uint32) {
	all := ceilDiv(inputs, blockInputs)
	each := ceilDiv(all, mostSlices)
	return uint32(ceilDiv(all, each)), uint32(each)
}

func (s *stream) matvec(o *linearOperands, m *matvec) {
	threads := int(o.slices) * simdWidth
	p, ok := s.pipelineOf(m.names[o.w.precision], threads)
	if !ok {
		return
	}
	threads = p.threads(threads)
	args, x := o.linearArgs, o.x
	// A kernel normalises what its simdgroups hold whole, by weights that it reads before the kernels before it have ended.
	if o.vector == 0 || o.norm != uint32(kern.NoNorm) && (o.blocks > 1 || int(o.slices)*simdWidth > threads || s.fresh.has(o.weight) || s.fresh.has(o.shift)) {
		o.stride = o.padded
		x, _ = s.prepare(o, prepareFloat, 4, int(o.rows))
		args.inputs, args.stride, args.norm = o.padded, o.padded, uint32(kern.NoNorm)
	}
	args.rounds = s.rounds(o, m, p, threads)
	args.even = evenInputs*flag(args.inputs == args.slices*args.blocks*blockInputs) |
		evenOutputs*flag(args.outputs%(panelRows*uint32(m.panels)*args.rounds) == 0) |
		evenRows*flag(args.rows%uint32(m.rows) == 0)
	groups := driver.Size{X: ceilDiv(int(o.rows), m.rows), Y: ceilDiv(o.w.rows, panelRows*m.panels*int(args.rounds)), Z: 1}
	s.dispatch(p, groups, threads, constants(s, args),
		o.w.numbers(), o.w.scales(), x, o.weight, o.shift, o.bias, o.residual, o.dst.written())
}

// chooseMatvec takes the rows of a kernel that hold all of them, or else the most, and of its panels the most that leave three
// threadgroups for every four cores. TuneLinear measures what other choices would give.
func (s *stream) chooseMatvec(rows int, w *matrix) *matvec {
	var chosen *matvec
	for i := range matvecs {
		m := &matvecs[i]
		switch {
		case chosen != nil && m.rows > chosen.rows && chosen.rows >= rows:
			return chosen
		case chosen == nil || m.rows > chosen.rows || 4*m.threadgroups(rows, w) >= 3*s.cores():
			chosen = m
		}
	}
	return chosen
}

// rounds is how many panels, or sets of them, each threadgroup goes through, so that all threadgroups are at work at once: what
// was made of x serves for all. A guess at the cores would do harm here.
func (s *stream) rounds(o *linearOperands, m *matvec, p pipeline, threads int) uint32 {
	if s.info.Cores == 0 || o.blocks > 1 || threads < int(o.slices)*simdWidth {
		return 1
	}
	atOnce := s.info.Cores * max(1, p.most/threads)
	return uint32(ceilDiv(m.threadgroups(int(o.rows), o.w), atOnce))
}

// threadgroups of a product of rows with a matrix.
func (m *matvec) threadgroups(rows int, w *matrix) int {
	return ceilDiv(rows, m.rows) * ceilDiv(w.rows, panelRows*m.panels)
}

// cores is a guess where the device does not say: the smallest Apple GPUs have eight, the largest eighty.
func (b *backend) cores() int {
	if b.info.Cores > 0 {
		return b.info.Cores
	}
	return 32
}

// prepare normalises the rows of x into numbers of size bytes, filled up with zeros, and has room for some more rows; unscale belongs
// to halves.
func (s *stream) prepare(o *linearOperands, kernel kernelName, size int64, rows int) (x, unscale region) {
	p, ok := s.pipeline(kernel)
	rounded := size * int64(o.parts) * int64(rows) * int64(o.stride) // rows are whole 16 bytes
	scratch := s.grow(scratchRows, rounded+4*int64(o.rows))
	if !ok || s.err != nil {
		return region{}, region{}
	}
	x, unscale = scratch, scratch.at(rounded)
	x.to = rounded
	threads := p.threads(int(o.slices) * simdWidth)
	s.dispatch(p, driver.Size{X: int(o.rows), Y: 1, Z: 1}, threads, constants(s, o.linearArgs),
		o.x, o.weight, o.shift, x.written(), unscale.written())
	return x, unscale
}

func (s *stream) tile(o *linearOperands, t *tile) {
	size, kernel := int64(2), prepareHalf // of a number
	switch o.w.precision {
	case kern.F32:
		size, kernel = 4, prepareFloat
	case kern.F16:
		o.parts = 2 // halves, so that no more is lost of x than of W
	}
	p, ok := s.pipelineOf(t.kernel, s.boundTile(t, int(o.rows), o.w))
	if !ok {
		return
	}
	o.stride = uint32(roundUp(int(o.padded), t.step))
	x, unscale := s.prepare(o, kernel, size, roundUp(int(o.rows), t.rows))
	groups := driver.Size{X: ceilDiv(o.w.rows, t.outputs), Y: ceilDiv(int(o.rows), t.rows), Z: 1}
	s.dispatch(p, groups, p.threads(t.threads), constants(s, o.linearArgs),
		o.w.numbers(), o.w.scales(), x, unscale, o.bias, o.residual, o.dst.written())
}

// A tile is a kernel for so many rows and outputs at a time, and threads of a threadgroup. Its rows of x are whole steps of so many
// inputs.
type tile struct {
	rows, outputs, threads, step int
	kernel                       kernelName
}

type tilesByPrecision [kern.Q4 + 1][]tile

// Tiles, the smallest first. Whichever is taken, the bits are the same. Two halves of each number of x leave a core too few registers
// for more than the small one.
var tiles = tilesByPrecision{
	kern.F32: {newTile(kern.F32, 64, 64), newTile(kern.F32, 128, 64)},
	kern.F16: {newTile(kern.F16, 64, 64)},
	kern.Q8:  {newTile(kern.Q8, 64, 64), newTile(kern.Q8, 64, 128)},
	kern.Q4:  {newTile(kern.Q4, 64, 64), newTile(kern.Q4, 64, 128)},
}

// Those where simdgroups multiply by fours: each four have 64 outputs. Other bits than from the tiles above.
var warpgroupTiles = tilesByPrecision{
	kern.F32: tiles[kern.F32],
	kern.F16: {newWarpgroupTile(kern.F16)},
	kern.Q8:  {newWarpgroupTile(kern.Q8)},
	kern.Q4:  {newWarpgroupTile(kern.Q4)},
}

func newTile(p kern.Precision, rows, outputs int) tile {
	return tile{rows, outputs, 2 * rows, 1, tileKernel(p, rows, outputs)}
}

func newWarpgroupTile(p kern.Precision) tile {
	const rows, outputs, groups = 80, 64, 2 // GroupTile of mtl_warpgroup.h
	return tile{rows, outputs, groups * 128, groups * 64, tileKernel(p, rows, outputs)}
}

func tileKernel(p kern.Precision, rows, outputs int) kernelName {
	return kernelName{"linear_tile", fmt.Sprintf("linear_tile_%v_%dx%d", p, rows, outputs)}
}

func (s *stream) tiles(p kern.Precision) []tile {
	if s.info.Warpgroups {
		return warpgroupTiles[p]
	}
	return tiles[p]
}

// chooseTile takes the large one, which reads x and W less often, where that leaves at most every other core idle. Where a
// device does not say how many cores it has they were never measured.
func (s *stream) chooseTile(rows int, w *matrix) *tile {
	all := s.tiles(w.precision)
	small, large := &all[0], &all[len(all)-1]
	if s.info.Cores == 0 || 2*large.threadgroups(rows, w) < s.info.Cores {
		return small
	}
	return large
}

func (t *tile) threadgroups(rows int, w *matrix) int {
	return ceilDiv(rows, t.rows) * ceilDiv(w.rows, t.outputs)
}

// boundTile is for how many threads of a core a tile's kernel is to have registers. With all that it wants two threadgroups are
// there at once. Where three would be all of them, they are, at the price of some registers in memory; timed for 4 bits only. Those of
// warpgroups want few.
func (s *stream) boundTile(t *tile, rows int, w *matrix) int {
	n := t.threadgroups(rows, w)
	if w.precision == kern.Q4 && !s.info.Warpgroups && 2*s.info.Cores < n && n <= 3*s.info.Cores {
		return 3 * t.threads
	}
	return t.threads
}
