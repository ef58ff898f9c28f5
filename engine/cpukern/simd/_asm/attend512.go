package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Attention over bytes by VPDPBUSD, for heads of 64, the width of all published models. Widening bytes to float32 costs more
// than memory takes to give them; here one instruction multiplies 64 of them. The float32 factor is rounded to 16 bits and
// split into two bytes, high and low: 256·high + low. Integer sums are exact, so their order does not matter.

// most16 is 127·256 + 127: the largest number of two signed bytes.
const most16 = 127*256 + 127

// dotsI8AVX512: the query's bytes are signed, so keys become unsigned by adding 128, whose product is subtracted again.
//
//	dst[j] = float(Σ_d q16[d]·keys[j][d]) · (max|q|/32639) · scales[j],  q16 = round(q·32639/max|q|)
func dotsI8AVX512() {
	function("dotsI8x64AVX512", "func(dst, q *float32, keys *int8, scales *float32, stride, n int)")
	dst, keys, scales := param("dst"), param("keys"), param("scales")
	stride, n := param("stride"), param("n")
	high, low, factor := splitQuery(param("q"))
	offset := ZMM()
	VPBROADCASTD(words(0x80808080), offset)
	less := ZMM()
	VPBROADCASTD(foldLanes(dotted(offset, high, low)), less)

	Label("sixteen")
	CMPQ(n, U8(16))
	JL(LabelRef("lessThanSixteen"))
	sums := make([]VecVirtual, 16)
	at := GP64()
	MOVQ(keys, at)
	for j := range sums {
		fetchFar(Mem{Base: at})
		key := ZMM()
		VPXORD(Mem{Base: at}, offset, key)
		sums[j] = dotted(key, high, low)
		ADDQ(stride, at)
	}
	MOVQ(at, keys)
	total := foldSixteen(sums)
	VPSUBD(less, total, total)
	VCVTDQ2PS(total, total)
	VMULPS(factor, total, total)
	VMULPS(Mem{Base: scales}, total, total)
	VMOVUPS(total, Mem{Base: dst})
	advance(64, dst, scales)
	SUBQ(U8(16), n)
	JMP(LabelRef("sixteen"))
	Label("lessThanSixteen")
	TESTQ(n, n)
	JE(LabelRef("none"))
	Label("one")
	key := ZMM()
	VPXORD(Mem{Base: keys}, offset, key)
	sum := foldLanes(dotted(key, high, low)).AsX()
	VPSUBD(less.AsX(), sum, sum)
	VCVTDQ2PS(sum, sum)
	VMULSS(factor.AsX(), sum, sum)
	VMULSS(Mem{Base: scales}, sum, sum)
	VMOVSS(sum, Mem{Base: dst})
	ADDQ(stride, keys)
	advance(4, dst, scales)
	DECQ(n)
	JNE(LabelRef("one"))
	Label("none")
	VZEROUPPER()
	RET()
}

// splitQuery rounds 64 numbers to 16 bits: their high and low bytes, and the value of one, in all lanes.
func splitQuery(q Register) (high, low, factor VecVirtual) {
	values, magnitudes := zmms(4), zmms(4)
	for i, v := range values {
		VMOVUPS(Mem{Base: q, Disp: 64 * i}, v)
		VPANDD_BCST(words(0x7fffffff), v, magnitudes[i])
	}
	for _, m := range magnitudes[1:] {
		VMAXPS(m, magnitudes[0], magnitudes[0])
	}
	factor, inverse := factorOf(largestLane(magnitudes[0]), most16)
	high, low = ZMM(), ZMM()
	for i, v := range values {
		VMULPS(inverse, v, v)
		VCVTPS2DQ(v, v)
		insertBytes(v, low, i)
		VPADDD_BCST(words(128), v, v)
		VPSRAD(U8(8), v, v)
		insertBytes(v, high, i)
	}
	return high, low, factor
}

// insertBytes puts the low bytes of 16 words into a quarter of dst.
func insertBytes(words, dst VecVirtual, quarter int) {
	narrow := XMM()
	VPMOVDB(words, narrow)
	if quarter == 0 {
		VMOVDQA64(narrow.AsZ(), dst)
		return
	}
	VINSERTI32X4(U8(uint8(quarter)), narrow, dst, dst)
}

// largestLane folds a register of magnitudes into lane 0.
func largestLane(v VecVirtual) VecVirtual { return reduce512(v, VMAXPS) }

// reduce512 folds the 16 lanes of v into lane 0, by instructions that reach all 32 registers.
func reduce512(v VecVirtual, fold func(...Op)) VecVirtual {
	half, quarter, low := YMM(), XMM(), v.AsX().(VecVirtual)
	VEXTRACTI64X4(U8(1), v, half)
	fold(half, v.AsY(), v.AsY())
	VEXTRACTI32X4(U8(1), v.AsY(), quarter)
	fold(quarter, low, low)
	VPSHUFD(U8(0x4e), low, quarter)
	fold(quarter, low, low)
	VPSHUFD(U8(0xb1), low, quarter)
	fold(quarter, low, low)
	return low
}

// factorOf returns top/most and most/top in all lanes, or zeros where top is next to nothing.
func factorOf(top VecVirtual, most float64) (factor, inverse VecVirtual) {
	f, i, all, enough := XMM(), XMM(), ZMM(), K()
	VMOVSS(floats(most), i)
	VDIVSS(i, top, f)
	VDIVSS(top, i, i)
	VBROADCASTSS(top, all)
	VCMPPS_BCST(U8(13), floats(1e-30), all, enough) // ≥
	factor, inverse = ZMM(), ZMM()
	VBROADCASTSS_Z(f, enough, factor)
	VBROADCASTSS_Z(i, enough, inverse)
	return factor, inverse
}

// dotted is 256·(x·high) + x·low, in sums of four, of unsigned x.
func dotted(x, high, low VecVirtual) VecVirtual {
	sum := ZMM()
	VPXORD(sum, sum, sum)
	VPDPBUSD(high, x, sum)
	VPSLLD(U8(8), sum, sum)
	VPDPBUSD(low, x, sum)
	return sum
}

// foldSixteen adds up the lanes of 16 registers: lane j of the result is the sum of register j.
func foldSixteen(v []VecVirtual) VecVirtual {
	fold := func(low, high func(a, b, dst VecVirtual), v []VecVirtual) []VecVirtual {
		for i := 0; i < len(v); i += 2 {
			t := ZMM()
			high(v[i], v[i+1], t)
			low(v[i], v[i+1], v[i/2])
			VPADDD(t, v[i/2], v[i/2])
		}
		return v[:len(v)/2]
	}
	quarters := func(select_ uint8) func(a, b, dst VecVirtual) {
		return func(a, b, dst VecVirtual) { VSHUFI32X4(U8(select_), b, a, dst) }
	}
	v = fold(func(a, b, dst VecVirtual) { VPUNPCKLDQ(b, a, dst) }, func(a, b, dst VecVirtual) { VPUNPCKHDQ(b, a, dst) }, v)
	v = fold(func(a, b, dst VecVirtual) { VPUNPCKLQDQ(b, a, dst) }, func(a, b, dst VecVirtual) { VPUNPCKHQDQ(b, a, dst) }, v)
	v = fold(quarters(0x88), quarters(0xdd), v)
	return fold(quarters(0x88), quarters(0xdd), v)[0]
}

// foldLanes adds the 16 lanes of v up in lane 0.
func foldLanes(v VecVirtual) VecVirtual { return reduce512(v, VPADDD) }

// weighI8AVX512: shares are not negative, so their bytes are the unsigned factor and values stay as they are. Four values are
// interleaved so that a 32-bit word holds one input of each.
//
//	dst[d] += (top/65535)·Σ_j share16[j]·values[j][d],  share16 = round(p·scale·65535/top), top = max p·scale
func weighI8AVX512() {
	function("weighI8x64AVX512", "func(dst, p *float32, values *int8, scales *float32, stride, n int)")
	digits := AllocLocal(32) // of 16 shares: high bytes, low bytes
	dst, p, values, scales := param("dst"), param("p"), param("values"), param("scales")
	stride, n := param("stride"), param("n")
	factor, inverse := factorOf(largestShare(p, scales, n), 65535)
	sums := [2][]VecVirtual{zmms(4), zmms(4)}
	for i := range 4 {
		VPXORD(sums[0][i], sums[0][i], sums[0][i])
		VPXORD(sums[1][i], sums[1][i], sums[1][i])
	}
	some := GP64()
	Label("sixteen")
	MOVQ(U32(16), some)
	CMPQ(n, some)
	CMOVQLT(n, some)
	share := loadShares(p, scales, some)
	VMULPS(inverse, share, share)
	VCVTPS2DQ(share, share)
	VPMOVDB(share, digits.Offset(16))
	VPSRLD(U8(8), share, share)
	VPMOVDB(share, digits)
	SUBQ(some, n)
	advance(64, p, scales)
	next := GP64()
	LEAQ(digits, next)
	Label("four")
	CMPQ(some, U8(4))
	JL(LabelRef("lessThanFour"))
	var v []VecVirtual
	for range 4 {
		fetchFar(Mem{Base: values})
		one := ZMM()
		VMOVDQU32(Mem{Base: values}, one)
		ADDQ(stride, values)
		v = append(v, one)
	}
	shares := zmms(2)
	VPBROADCASTD(Mem{Base: next}, shares[0])
	VPBROADCASTD(Mem{Base: next, Disp: 16}, shares[1])
	addFour(sums, shares, v)
	advance(4, next)
	SUBQ(U8(4), some)
	JMP(LabelRef("four"))
	Label("lessThanFour")
	TESTQ(some, some)
	JE(LabelRef("done"))
	Label("one")
	alone, zero, digit := ZMM(), ZMM(), GP32()
	VMOVDQU32(Mem{Base: values}, alone)
	ADDQ(stride, values)
	VPXORD(zero, zero, zero)
	for i, s := range shares {
		MOVBLZX(Mem{Base: next, Disp: 16 * i}, digit)
		VPBROADCASTD(digit, s)
	}
	addFour(sums, shares, []VecVirtual{alone, zero, zero, zero})
	INCQ(next)
	DECQ(some)
	JNE(LabelRef("one"))
	Label("done")
	TESTQ(n, n)
	JNE(LabelRef("sixteen"))
	addWeighed(dst, sums, factor)
	VZEROUPPER()
	RET()
}

// loadShares are the products of up to 16 shares and scales, zero beyond.
func loadShares(p, scales, some Register) VecVirtual {
	keep, share, scale := laneMask(some, 0), ZMM(), ZMM()
	VMOVUPS_Z(Mem{Base: p}, keep, share)
	VMOVUPS_Z(Mem{Base: scales}, keep, scale)
	VMULPS(scale, share, share)
	return share
}

// largestShare is the largest product of n shares and scales, in lane 0.
func largestShare(p, scales, n Register) VecVirtual {
	at, scaleAt, left, some, top := GP64(), GP64(), GP64(), GP64(), ZMM()
	MOVQ(p, at)
	MOVQ(scales, scaleAt)
	MOVQ(n, left)
	VPXORD(top, top, top)
	Label("largest")
	MOVQ(U32(16), some)
	CMPQ(left, some)
	CMOVQLT(left, some)
	VMAXPS(loadShares(at, scaleAt, some), top, top)
	advance(64, at, scaleAt)
	SUBQ(some, left)
	JNE(LabelRef("largest"))
	return largestLane(top)
}

// addFour adds four values times the bytes of their shares. Word i of a quarter of the sums k is input 4k + i of the 16 that
// the quarter holds.
func addFour(sums [2][]VecVirtual, shares, v []VecVirtual) {
	pairs := zmms(4) // inputs 0…7 and 8…15 of each quarter, of values 0 and 1, then of 2 and 3
	VPUNPCKLBW(v[1], v[0], pairs[0])
	VPUNPCKHBW(v[1], v[0], pairs[1])
	VPUNPCKLBW(v[3], v[2], pairs[2])
	VPUNPCKHBW(v[3], v[2], pairs[3])
	for k := range 4 {
		words := ZMM()
		if k%2 == 0 {
			VPUNPCKLWD(pairs[2+k/2], pairs[k/2], words)
		} else {
			VPUNPCKHWD(pairs[2+k/2], pairs[k/2], words)
		}
		for i, s := range shares {
			VPDPBUSD(words, s, sums[i][k])
		}
	}
}

// addWeighed adds 256·high + low, as what they stand for, to 64 numbers.
func addWeighed(dst Register, sums [2][]VecVirtual, factor VecVirtual) {
	factor256 := ZMM()
	VMULPS_BCST(floats(256), factor, factor256)
	r := sums[0]
	for k := range 4 {
		VCVTDQ2PS(sums[0][k], sums[0][k])
		VCVTDQ2PS(sums[1][k], sums[1][k])
		VMULPS(factor, sums[1][k], sums[1][k])
		VFMADD213PS(sums[1][k], factor256, r[k])
	}
	halves := zmms(4) // quarters 0 and 2, or 1 and 3, of two sums each
	VSHUFF32X4(U8(0x88), r[1], r[0], halves[0])
	VSHUFF32X4(U8(0xdd), r[1], r[0], halves[1])
	VSHUFF32X4(U8(0x88), r[3], r[2], halves[2])
	VSHUFF32X4(U8(0xdd), r[3], r[2], halves[3])
	for i := range 4 {
		row := ZMM()
		VSHUFF32X4(U8([]uint8{0x88, 0x88, 0xdd, 0xdd}[i]), halves[2+i%2], halves[i%2], row)
		VADDPS(Mem{Base: dst, Disp: 64 * i}, row, row)
		VMOVUPS(row, Mem{Base: dst, Disp: 64 * i})
	}
}
