package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	halfShape = "func(w *uint16, x *float32, xStride, depth int, dst *float32, stride, panels, valid int)"
	gemmShape = "func(w, x *float32, xStride, depth int, dst *float32, stride, cols int)"
)

// laneMask has ones in those of lanes first…first+15 that are below count, which is less than 64.
func laneMask(count Register, first uint8) Register {
	k, ones := K(), GP64()
	MOVQ(I32(-1), ones)
	BZHIQ(count, ones, ones)
	if first > 0 {
		SHRQ(U8(first), ones)
	}
	KMOVW(ones.As32(), k)
	return k
}

// forInputs runs body over depth inputs in steps of fewer and fewer, the last of one.
func forInputs(prefix string, depth Register, steps []int, body func(inputs int)) {
	count := GP64()
	MOVQ(depth, count)
	for _, step := range steps {
		loop, done := fmt.Sprintf("%sBy%d", prefix, step), fmt.Sprintf("%sBelow%d", prefix, step)
		Label(loop)
		CMPQ(count, U8(step))
		JL(LabelRef(done))
		body(step)
		SUBQ(U8(step), count)
		JMP(LabelRef(loop))
		Label(done)
	}
}

// halfAVX512: 16 halves widen into one register. Even and odd inputs have a sum each, added at the end.
func halfAVX512(rows int) {
	function(fmt.Sprintf("f16x%dAVX512", rows), halfShape)
	w, stride, d0 := param("w"), param("xStride"), param("dst")
	dStride, panels := param("stride"), param("panels")
	byteOffsets(stride, dStride)
	keep := laneMask(param("valid"), 0)
	sums := [2][]VecVirtual{zmms(rows), zmms(rows)}
	Label("panel")
	for n := range rows {
		VPXORD(sums[0][n], sums[0][n], sums[0][n])
		VPXORD(sums[1][n], sums[1][n], sums[1][n])
	}
	pointers, at := rowPointers(param("x"), stride, rows)
	forInputs("inputs", param("depth"), []int{8, 2, 1}, func(inputs int) {
		for i := range inputs {
			weight := ZMM()
			if i%2 == 0 {
				fetchAhead(Mem{Base: w, Disp: 32 * i})
			}
			VCVTPH2PS(Mem{Base: w, Disp: 32 * i}, weight)
			for n := range rows {
				VFMADD231PS_BCST(at(n, 4*i), weight, sums[i%2][n])
			}
		}
		advance(32*inputs, w)
		advance(4*inputs, pointers...)
	})
	d := GP64()
	MOVQ(d0, d)
	for n := range rows {
		VADDPS(sums[1][n], sums[0][n], sums[0][n])
		VMOVUPS(sums[0][n], keep, Mem{Base: d})
		ADDQ(dStride, d)
	}
	advance(64, d0)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// halfAVX2 needs two registers for the 16 rows of a panel. With 4 rows of activations there are not enough for both, so
// a panel is read twice, the second time from the cache.
func halfAVX2(rows int) {
	function(fmt.Sprintf("f16x%dAVX2", rows), halfShape)
	w, stride, d0 := param("w"), param("xStride"), param("dst")
	dStride, panels := param("stride"), param("panels")
	byteOffsets(stride, dStride)
	halves := [][]int{{0, 1}}
	if rows == 4 {
		halves = [][]int{{0}, {1}}
	}
	Label("panel")
	var next Register
	for _, some := range halves {
		next = GP64()
		MOVQ(w, next)
		sums := halfSums(next, stride, rows, some)
		keep := ymms(2)
		firstLanes(param("valid"), keep...)
		d := GP64()
		MOVQ(d0, d)
		for n := range rows {
			for i, half := range some {
				VMASKMOVPS(sums[i][n], keep[half], Mem{Base: d, Disp: 32 * half})
			}
			ADDQ(dStride, d)
		}
	}
	MOVQ(next, w)
	advance(64, d0)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// halfSums leaves w behind the panel and returns the sums of some halves of it, by half and row.
func halfSums(w, stride Register, rows int, halves []int) [][]VecVirtual {
	var sums [2][][]VecVirtual // of even and odd inputs
	for parity := range sums {
		for range halves {
			zero := ymms(rows)
			for _, s := range zero {
				VXORPS(s, s, s)
			}
			sums[parity] = append(sums[parity], zero)
		}
	}
	pointers, at := rowPointers(param("x"), stride, rows)
	forInputs(fmt.Sprintf("half%d", halves[0]), param("depth"), []int{4, 2, 1}, func(inputs int) {
		for i := range inputs {
			weight := ymms(len(halves))
			if i%2 == 0 && halves[0] == 0 {
				fetchAhead(Mem{Base: w, Disp: 32 * i})
			}
			for j, half := range halves {
				VCVTPH2PS(Mem{Base: w, Disp: 32*i + 16*half}, weight[j])
			}
			for n := range rows {
				x := YMM()
				VBROADCASTSS(at(n, 4*i), x)
				for j := range halves {
					VFMADD231PS(x, weight[j], sums[i%2][j][n])
				}
			}
		}
		advance(32*inputs, w)
		advance(4*inputs, pointers...)
	})
	for j := range halves {
		for n := range rows {
			VADDPS(sums[1][j][n], sums[0][j][n], sums[0][j][n])
		}
	}
	return sums[0]
}

// gemmAVX512: a tile of rows × 32 sums stays in registers over all inputs.
func gemmAVX512(rows int) {
	function(fmt.Sprintf("gemm%dx32AVX512", rows), gemmShape)
	w, stride, dStride := param("w"), param("xStride"), param("stride")
	byteOffsets(stride, dStride)
	keep := [2]Register{laneMask(param("cols"), 0), laneMask(param("cols"), 16)}
	sums := [2][]VecVirtual{zmms(rows), zmms(rows)}
	d := param("dst")
	for n := range rows {
		for half := range sums {
			VMOVUPS_Z(Mem{Base: d, Disp: 64 * half}, keep[half], sums[half][n])
		}
		ADDQ(dStride, d)
	}
	pointers, at := rowPointers(param("x"), stride, rows)
	forInputs("inputs", param("depth"), []int{4, 1}, func(inputs int) {
		for i := range inputs {
			weight := zmms(2)
			VMOVUPS(Mem{Base: w, Disp: 128 * i}, weight[0])
			VMOVUPS(Mem{Base: w, Disp: 128*i + 64}, weight[1])
			for n := range rows {
				x := ZMM()
				VBROADCASTSS(at(n, 4*i), x)
				VFMADD231PS(x, weight[0], sums[0][n])
				VFMADD231PS(x, weight[1], sums[1][n])
			}
		}
		advance(128*inputs, w)
		advance(4*inputs, pointers...)
	})
	d = param("dst")
	for n := range rows {
		for half := range sums {
			VMOVUPS(sums[half][n], keep[half], Mem{Base: d, Disp: 64 * half})
		}
		ADDQ(dStride, d)
	}
	VZEROUPPER()
	RET()
}

// gemmAVX2 computes a panel's first 16 columns, then the others: rows × 16 sums fill the registers.
func gemmAVX2(rows int) {
	function(fmt.Sprintf("gemm%dx32AVX2", rows), gemmShape)
	stride, dStride, cols := param("xStride"), param("stride"), param("cols")
	byteOffsets(stride, dStride)
	w0, d0 := param("w"), param("dst")
	sums := [2][]VecVirtual{ymms(rows), ymms(rows)}
	Label("half")
	move := func(do func(sum, keep VecVirtual, m Mem)) {
		keep := ymms(2)
		firstLanes(cols, keep...)
		d := GP64()
		MOVQ(d0, d)
		for n := range rows {
			do(sums[0][n], keep[0], Mem{Base: d})
			do(sums[1][n], keep[1], Mem{Base: d, Disp: 32})
			ADDQ(dStride, d)
		}
	}
	move(func(sum, keep VecVirtual, m Mem) { VMASKMOVPS(m, keep, sum) })
	w := GP64()
	MOVQ(w0, w)
	pointers, at := rowPointers(param("x"), stride, rows)
	forInputs("inputs", param("depth"), []int{4, 1}, func(inputs int) {
		for i := range inputs {
			weight := ymms(2)
			VMOVUPS(Mem{Base: w, Disp: 128 * i}, weight[0])
			VMOVUPS(Mem{Base: w, Disp: 128*i + 32}, weight[1])
			for n := range rows {
				x := YMM()
				VBROADCASTSS(at(n, 4*i), x)
				VFMADD231PS(x, weight[0], sums[0][n])
				VFMADD231PS(x, weight[1], sums[1][n])
			}
		}
		advance(128*inputs, w)
		advance(4*inputs, pointers...)
	})
	move(func(sum, keep VecVirtual, m Mem) { VMASKMOVPS(sum, keep, m) })
	advance(64, w0, d0)
	SUBQ(U8(16), cols)
	JG(LabelRef("half"))
	VZEROUPPER()
	RET()
}
