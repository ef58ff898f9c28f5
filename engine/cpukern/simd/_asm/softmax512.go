package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The two passes of a softmax, 16 lanes at a time, the last ones under a mask. Beside attention over bytes, those of 8 lanes
// take a tenth of the time.

// bySixteen runs body over n numbers at x, 16 at a time, and over those that are left with ones in keep for them; keep is nil
// for whole registers.
func bySixteen(x, n Register, body func(at Mem, keep Register)) {
	Label("sixteen")
	CMPQ(n, U8(16))
	JL(LabelRef("lessThanSixteen"))
	body(Mem{Base: x}, nil)
	advance(64, x)
	SUBQ(U8(16), n)
	JMP(LabelRef("sixteen"))
	Label("lessThanSixteen")
	TESTQ(n, n)
	JE(LabelRef("none"))
	body(Mem{Base: x}, laneMask(n, 0))
	Label("none")
}

func broadcast(f float64) VecVirtual {
	v := ZMM()
	VBROADCASTSS(floats(f), v)
	return v
}

func max512() {
	function("maxAVX512", "func(x *float32, n int) float32")
	x, top := param("x"), ZMM()
	VBROADCASTSS(Mem{Base: x}, top)
	bySixteen(x, param("n"), func(at Mem, keep Register) {
		if keep == nil {
			VMAXPS(at, top, top)
		} else {
			VMAXPS(at, top, keep, top)
		}
	})
	Store(largestLane(top), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func expSum512() {
	function("expSumAVX512", "func(x *float32, offset float32, n int) float32")
	total, top := ZMM(), ZMM()
	VPXORD(total, total, total)
	VBROADCASTSS(Load(Param("offset"), XMM()), top)
	exp := exp512()
	bySixteen(param("x"), param("n"), func(at Mem, keep Register) {
		v := ZMM()
		if keep == nil {
			VMOVUPS(at, v)
			VSUBPS(top, v, v)
			e := exp(v)
			VMOVUPS(e, at)
			VADDPS(e, total, total)
			return
		}
		VMOVUPS_Z(at, keep, v)
		VSUBPS(top, v, v)
		e := exp(v)
		VMOVUPS(e, keep, at)
		VADDPS(e, total, keep, total)
	})
	Store(reduce512(total, VADDPS), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// exp512 keeps its constants in registers; they are explained in generic_vector.go.
func exp512() func(x VecVirtual) VecVirtual {
	least, most, log2e := broadcast(-60), broadcast(88), broadcast(math.Log2E)
	high, low, bias := broadcast(0.693359375), broadcast(-2.12194440e-4), ZMM()
	VPBROADCASTD(words(127), bias)
	var coefficients []VecVirtual
	for _, c := range []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		coefficients = append(coefficients, broadcast(c))
	}
	return func(x VecVirtual) VecVirtual {
		n, squared, q := ZMM(), ZMM(), ZMM()
		VMAXPS(least, x, x)
		VMINPS(most, x, x)
		VMULPS(log2e, x, n)
		VRNDSCALEPS(U8(0), n, n)
		VFNMADD231PS(high, n, x)
		VFNMADD231PS(low, n, x)
		VMOVAPS(coefficients[0], q)
		for _, c := range coefficients[1:] {
			VFMADD213PS(c, x, q)
		}
		VMULPS(x, x, squared)
		VFMADD213PS(x, squared, q)
		VCVTPS2DQ(n, n)
		VPADDD(bias, n, n)
		VPSLLD(U8(23), n, n)
		VFMADD213PS(n, n, q)
		return q
	}
}
