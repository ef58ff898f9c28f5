package metalkern

// Conv: a matrix product over windows that overlap in memory, padded and activated as they are read (conv.metal).

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
)

const (
	maxIndex  = 1<<31 - 1    // the most numbers that kernels with indices of 32 bits take
	maxLength = maxIndex / 4 // of a convolution's input, padding and window each, so that their sums are such indices
)

// convArgs is ConvArgs of conv.metal.
type convArgs struct {
	rows, phases, outputs, pitch uint32
	kernelTaps, taps             uint32
	tapFirst, tapStep            int32
	channels, frames             uint32
	first                        int32
	stride, dilation, mirror     uint32
	elu, residual                uint32
	trim, limit                  uint32
	y4                           uint32
}

// A convTile is a kernel whose threadgroups compute rows × columns.
type convTile struct {
	name                   kernelName
	rows, columns, threads int
}

// Large tiles read least; small ones are for results of too few tiles to occupy the device.
var (
	wideTiles = []convTile{
		{kernelName{"conv", "conv_64x64"}, 64, 64, 128},
		{kernelName{"conv", "conv_32x64"}, 32, 64, 64},
		{kernelName{"conv", "conv_32x32"}, 32, 32, 32},
	}
	narrowTiles = []convTile{
		{kernelName{"conv", "conv_128x32"}, 128, 32, 128},
		{kernelName{"conv", "conv_32x32"}, 32, 32, 32},
	}
	oddTiles = []convTile{{kernelName{"conv", "conv_odd"}, 32, 32, 32}}
	convThin = kernelName{"conv", "conv_thin"}
)

// thinColumns is how many columns of a result leave most of a tile empty. It looks at the filter and the stride alone:
// the two ways add up in different orders, and parts of a signal must agree with the whole.
const thinColumns = 16

func (s *stream) Conv(a kern.Conv) {
	if !s.alive() {
		return
	}
	w := s.filter("conv", a.W, false)
	if w == nil || !s.passes(a.Check(maxLength)) {
		return
	}
	frames := a.OutT()
	if !s.indexable("conv", a.Left+a.T+a.Right, w.in) || !s.indexable("conv", frames, w.out) {
		return
	}
	x := s.floats("conv", "X", a.X, kern.Product(a.T, w.in))
	bias := s.floats("conv", "Bias", a.Bias, w.out)
	residual := s.optional("conv", "Residual", a.Residual, kern.Product(frames, w.out))
	dst := s.floats("conv", "Dst", a.Dst, kern.Product(frames, w.out))
	s.apart("conv", "X", dst, x)
	s.same("conv", "Residual", dst, residual)
	args := convArgs{
		rows: uint32(frames), phases: 1, outputs: uint32(w.out), pitch: uint32(w.pitch()),
		kernelTaps: uint32(w.kernel), taps: uint32(w.kernel), tapStep: 1,
		channels: uint32(w.in), frames: uint32(a.T), first: int32(-a.Left),
		stride: uint32(a.Stride), dilation: uint32(a.Dilation), elu: flag(a.ELU), residual: present(residual),
		limit: uint32(frames * w.out),
	}
	if a.Pad == kern.PadReflect {
		args.mirror = uint32(max(a.T, a.Left+1, a.Right+1))
	}
	s.convolve(args, w, x, bias, residual, dst)
}

// indexable refuses a shape of more numbers than kernels can count.
func (s *stream) indexable(op string, dims ...int) bool {
	if kern.Product(dims...) > maxIndex {
		s.shapef(op, "got an operand of more than %d numbers", maxIndex)
		return false
	}
	return true
}

// convolve records the product. All operands are checked, or s has an error.
func (s *stream) convolve(args convArgs, w *filter, x, bias, residual, dst region) {
	if s.err != nil {
		return
	}
	args.y4 = flag(w.out%4 == 0 && dst.aligned() && residual.aligned())
	rows, columns := int(args.rows), int(args.phases)*w.pitch()
	if outputs := int(args.phases * args.outputs); outputs < thinColumns {
		if p, ok := s.pipeline(convThin); ok {
			threads := p.threads(256)
			groups := driver.Size{X: ceilDiv(rows*outputs, threads/simdWidth), Y: 1, Z: 1}
			s.dispatch(p, groups, threads, constants(s, args), x, w.region(), bias, residual, dst.written())
		}
		return
	}
	tiles := wideTiles
	switch {
	case w.in%4 != 0 || !x.aligned():
		tiles = oddTiles
	case columns <= 32:
		tiles = narrowTiles
	}
	if p, t, ok := s.convTile(tiles, rows, columns); ok {
		groups := driver.Size{X: ceilDiv(rows, t.rows), Y: ceilDiv(columns, t.columns), Z: 1}
		s.dispatch(p, groups, t.threads, constants(s, args), x, w.region(), bias, residual, dst.written())
	}
}

// convTile picks the first tile that this device runs and that gives every core something to do, or else the last.
func (s *stream) convTile(tiles []convTile, rows, columns int) (p pipeline, t convTile, ok bool) {
	for _, t = range tiles {
		if p, ok = s.pipeline(t.name); !ok {
			return p, t, false
		}
		if p.most >= t.threads && ceilDiv(rows, t.rows)*ceilDiv(columns, t.columns) >= s.info.Cores {
			return p, t, true
		}
	}
	return p, t, true // one simdgroup: every pipeline has that
}

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}
