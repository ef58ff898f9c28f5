package simd

// Plain Go twins of the product kernels: the meaning of each, and what runs where there is no assembly.

import (
	"encoding/binary"
	"math"
	"unsafe"

	"segue/weights"
)

// generic returns the plain Go kernels, with tiles of four rows and one.
func generic() *Kernels {
	k := &Kernels{
		quantHeights: []int{4, 1}, halfHeights: []int{4, 1}, gemmHeights: []int{4, 1},
		quantize: quantizeGeneric, quantizeWide: quantizeWideGeneric, quantizeVector: quantizeVectorGeneric,
		dotsF32: dotsF32Generic, dotsF16: dotsF16Generic, dotsI8: dotsI8Generic,
		weighF32: weighF32Generic, weighF16: weighF16Generic, weighI8: weighI8Generic,
		gelu: geluGeneric, sigmoid: sigmoidGeneric, tanh: tanhGeneric, elu: eluGeneric,
		add: addGeneric, scale: scaleGeneric, max: maxGeneric, sum: sumGeneric, expSum: expSumGeneric,
		squares: squaresGeneric, layerNorm: layerNormGeneric, rmsNorm: rmsNormGeneric,
		widen: widenGeneric, narrow: narrowGeneric, readSum: readSumGeneric, fetch: fetchGeneric, pause: pauseGeneric,
	}
	for _, n := range k.quantHeights {
		k.q8[n], k.q4[n] = quantGeneric(8, n), quantGeneric(4, n)
		k.f16[n], k.gemm[n] = halfGeneric(n), gemmGeneric(n)
	}
	return k
}

// quantizeGeneric fills one row of a tile of the given number of rows; dst is where that row's first four inputs go.
func quantizeGeneric(dst *byte, rows, bias int, x *float32, groups int) {
	tile := unsafe.Slice(dst, (groups*groupTileBytes-8)*rows+4)
	values := unsafe.Slice(x, groups*weights.GroupSize)
	for g := range groups {
		quantizeGroup(tile[g*groupTileBytes*rows:], rows, bias, values[g*weights.GroupSize:][:weights.GroupSize])
	}
}

// quantizeGroup rounds up to 32 inputs of one row; missing ones are zero.
func quantizeGroup(dst []byte, rows, bias int, x []float32) {
	x = x[:min(len(x), weights.GroupSize)]
	scale, inverse := scaleOf(x)
	sum := int32(0)
	for i := range weights.GroupSize {
		q := int8(0)
		if i < len(x) {
			q = int8(roundEven(x[i] * inverse))
		}
		sum += int32(q)
		dst[i/4*4*rows+i%4] = byte(q)
	}
	binary.LittleEndian.PutUint32(dst[32*rows:], math.Float32bits(scale))
	binary.LittleEndian.PutUint32(dst[36*rows:], uint32(-int32(bias)*sum))
}

func quantizeVectorGeneric(dst *int8, x *float32, n int) float32 {
	out, values := unsafe.Slice(dst, n), unsafe.Slice(x, n)
	scale, inverse := scaleOf(values)
	for i, v := range values {
		out[i] = int8(roundEven(v * inverse))
	}
	return scale
}

// scaleOf returns max|x|/127 and its inverse, both zero where there is next to nothing.
func scaleOf(x []float32) (scale, inverse float32) {
	top := largest(x)
	if top < leastActivation {
		return 0, 0
	}
	return top / 127, 127 / top
}

// largest is max|x|.
func largest(x []float32) float32 {
	top := float32(0)
	for _, v := range x {
		if v < 0 {
			v = -v
		}
		if v > top {
			top = v
		}
	}
	return top
}

// leastActivation is below anything that matters and far enough above zero for 127/x to be finite.
const leastActivation = 1e-30

// roundEven rounds |v| < 2²² to an integer: above 1.5·2²³ float32 has no fraction left.
func roundEven(v float32) float32 {
	const big = 3 << 22
	return float32(v+big) - big
}

func quantGeneric(bits, rows int) quantKernel {
	return func(w, x *byte, dst *float32, stride, pairs, panels, valid int) {
		size := pairBytes(bits)
		packed := unsafe.Slice(w, panels*pairs*size)
		tile := quantTile{unsafe.Slice(x, pairs*2*(groupTileBytes+wideTileBytes)*rows), rows}
		out := unsafe.Slice(dst, (rows-1)*stride+(panels-1)*PanelRows+valid)
		for p := range panels {
			panel := packed[p*pairs*size:][:pairs*size]
			for r := range valid {
				for n := range rows {
					out[n*stride+p*PanelRows+r] = quantDot(panel, tile, bits, n, r)
				}
			}
		}
	}
}

// quantDot is row r of a panel times row n of a tile.
func quantDot(panel []byte, tile quantTile, bits, n, r int) float32 {
	size, total := pairBytes(bits), float32(0)
	for g := range tile.groups() {
		pair := panel[g/2*size:][:size]
		w := pair[g%2*(size-scaleBytes)/2:][:(size-scaleBytes)/2][4*r:]
		x := tile.group(g, n)
		sum := int32(binary.LittleEndian.Uint32(x[36*tile.rows:]))
		if bits == 8 && tile.wide(g) {
			high := tile.high(g, n)
			sum = int32(binary.LittleEndian.Uint32(high[32*tile.rows:]))
			sum = (sum + groupDot(w, high, bits, 4*tile.rows)) << 7
		}
		sum += groupDot(w, x, bits, 4*tile.rows)
		scaleW := weights.F16ToF32(binary.LittleEndian.Uint16(pair[size-scaleBytes+2*(g%2*PanelRows+r):]))
		total = fusedAdd(scaleW*tile.scale(g, n), float32(sum), total)
	}
	return total
}

// groupDot is Σ w·x over 32 inputs, w unsigned; chunks of x lie stride bytes apart.
func groupDot(w, x []byte, bits, stride int) int32 {
	const line = 4 * PanelRows
	sum := int32(0)
	for c := range weights.GroupSize / 4 {
		chunk := x[c*stride:][:4]
		from, shift, mask := c*line, 0, byte(0xff)
		if bits == 4 {
			from, shift, mask = c%4*line, c/4*4, 0xf
		}
		for i, q := range w[from:][:4] {
			sum += int32(q>>shift&mask) * int32(int8(chunk[i]))
		}
	}
	return sum
}

// fusedAdd is a·b+c with one rounding, as the vector instruction does it. The product is exact in float64; where the sum
// is not, its last bit is made odd, so that rounding once more to float32 cannot mistake it for a tie.
func fusedAdd(a, b, c float32) float32 {
	product, addend := float64(a)*float64(b), float64(c)
	sum := product + addend
	virtual := sum - product
	lost := (product - (sum - virtual)) + (addend - virtual)
	if bits := math.Float64bits(sum); lost != 0 && bits&1 == 0 && lost-lost == 0 {
		if (lost > 0) == (sum > 0) {
			bits++
		} else {
			bits--
		}
		sum = math.Float64frombits(bits)
	}
	return float32(sum)
}

func halfGeneric(rows int) halfKernel {
	return func(w *uint16, x *float32, xStride, depth int, dst *float32, stride, panels, valid int) {
		packed := unsafe.Slice(w, panels*depth*PanelRows)
		in := unsafe.Slice(x, (rows-1)*xStride+depth)
		out := unsafe.Slice(dst, (rows-1)*stride+(panels-1)*PanelRows+valid)
		for p := range panels {
			panel := packed[p*depth*PanelRows:][:depth*PanelRows]
			for n := range rows {
				halfRow(out[n*stride+p*PanelRows:][:valid], panel, in[n*xStride:][:depth])
			}
		}
	}
}

// halfRow is one row of activations times a panel.
func halfRow(dst []float32, panel []uint16, x []float32) {
	var sums [2][PanelRows]float32
	for k, v := range x {
		sum := &sums[k%2]
		for r, h := range panel[k*PanelRows:][:PanelRows] {
			sum[r] += float32(v * weights.F16ToF32(h))
		}
	}
	for r := range dst {
		dst[r] = sums[0][r] + sums[1][r]
	}
}

func gemmGeneric(rows int) gemmKernel {
	return func(w, x *float32, xStride, depth int, dst *float32, stride, cols int) {
		panel := unsafe.Slice(w, depth*GemmPanelRows)
		in := unsafe.Slice(x, (rows-1)*xStride+depth)
		out := unsafe.Slice(dst, (rows-1)*stride+cols)
		for n := range rows {
			row := out[n*stride:][:cols]
			for k, v := range in[n*xStride:][:depth] {
				for c, u := range panel[k*GemmPanelRows:][:cols] {
					row[c] += float32(v * u)
				}
			}
		}
	}
}
