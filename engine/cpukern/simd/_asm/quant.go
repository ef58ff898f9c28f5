package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	groupRow   = 44 // bytes of one group of one row in an activation tile
	wideRow    = 36 // and in its second part, the high plane of wide groups
	quantShape = "func(w, x *byte, dst *float32, stride, pairs, panels, valid int)"
)

// lines of 64 bytes in a group of packed weights.
func lines(bits int) int { return bits }

// scales is where the float16 scales of a pair of groups begin.
func scales(bits int) int { return 2 * lines(bits) * 64 }

// groupTile is where a kernel finds one group of a tile: bytes of the low plane and what belongs to it, and of the high plane.
type groupTile struct{ low, high func(offset int) Mem }

// aside are parts of a kernel that are seldom run: they stand behind its end, out of the way.
type aside []func()

// ifWide runs body where some row of the tile has the group wide.
func (a *aside) ifWide(x groupTile, rows int, label string, body func()) {
	CMPL(x.low(40*rows), U8(0))
	JNE(LabelRef(label))
	Label(label + "back")
	*a = append(*a, func() {
		Label(label)
		body()
		JMP(LabelRef(label + "back"))
	})
}

func (a aside) write() {
	for _, part := range a {
		part()
	}
}

// forPanels runs a panel's body over all of them: clear and store around the loop over pairs of groups.
func forPanels(bits, rows int, clear func(), group func(w Register, x groupTile, g int), store func(d, stride Register)) {
	w, x0, d0, stride := param("w"), param("x"), param("dst"), param("stride")
	pairs, panels := param("pairs"), param("panels")
	byteOffsets(stride)
	high0 := GP64()
	if bits == 8 {
		IMUL3Q(I32(2*groupRow*rows), pairs, high0)
		ADDQ(x0, high0)
	}
	Label("panel")
	clear()
	x, high, count := GP64(), GP64(), GP64()
	MOVQ(x0, x)
	if bits == 8 {
		MOVQ(high0, high)
	}
	MOVQ(pairs, count)
	Label("pair")
	for g := range 2 {
		group(w, groupTile{
			low:  func(offset int) Mem { return Mem{Base: x, Disp: g*groupRow*rows + offset} },
			high: func(offset int) Mem { return Mem{Base: high, Disp: g*wideRow*rows + offset} },
		}, g)
	}
	advance(scales(bits)+64, w)
	advance(2*groupRow*rows, x)
	if bits == 8 {
		advance(2*wideRow*rows, high)
	}
	DECQ(count)
	JNE(LabelRef("pair"))
	d := GP64()
	MOVQ(d0, d)
	store(d, stride)
	advance(64, d0)
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// quantAVX512: a line of weights is one register and a chunk of activations a broadcast operand of VPDPBUSD, so rows of
// activations cost one instruction each per line. The integer sums begin from the corrections, and in a wide group from 128
// times those of the high plane.
func quantAVX512(bits, rows int) {
	function(fmt.Sprintf("q%dx%dAVX512", bits, rows), quantShape)
	total, sum := zmms(rows), zmms(rows)
	mask := ZMM()
	if bits == 4 {
		VPBROADCASTD(words(0x0f0f0f0f), mask)
	}
	keep := laneMask(param("valid"), 0)
	var wide aside
	clear := func() {
		for _, t := range total {
			VPXORD(t, t, t)
		}
	}
	group := func(w Register, x groupTile, g int) {
		tile := x.low
		line := func(c int) Mem { return Mem{Base: w, Disp: (g*lines(bits) + c) * 64} }
		for n, s := range sum {
			VPBROADCASTD(tile(36*rows+4*n), s)
		}
		if bits == 8 {
			wide.ifWide(x, rows, fmt.Sprintf("group%d", g), func() { highSums512(sum, x.high, line) })
		}
		for c := range lines(bits) {
			weight, at := ZMM(), line(c)
			fetchNear(at)
			fetchFar(at)
			VMOVDQU32(at, weight)
			if bits == 8 {
				for n, s := range sum {
					VPDPBUSD_BCST(tile(4*(c*rows+n)), weight, s)
				}
				continue
			}
			low, high := ZMM(), ZMM()
			VPANDD(mask, weight, low)
			VPSRLD(U8(4), weight, high)
			VPANDD(mask, high, high)
			for n, s := range sum {
				VPDPBUSD_BCST(tile(4*(c*rows+n)), low, s)
			}
			for n, s := range sum {
				VPDPBUSD_BCST(tile(4*((c+4)*rows+n)), high, s)
			}
		}
		scale, both := ZMM(), ZMM()
		VCVTPH2PS(Mem{Base: w, Disp: scales(bits) + 32*g}, scale)
		for n, s := range sum {
			VCVTDQ2PS(s, s)
			VMULPS_BCST(tile(32*rows+4*n), scale, both)
			VFMADD231PS(both, s, total[n])
		}
	}
	forPanels(bits, rows, clear, group, func(d, stride Register) {
		for n, t := range total {
			VMOVUPS(t, keep, Mem{Base: d})
			if n < rows-1 {
				ADDQ(stride, d)
			}
		}
	})
	wide.write()
}

// highSums512 leaves 128 times the sums of the high plane.
func highSums512(sum []VecVirtual, tile, line func(int) Mem) {
	rows := len(sum)
	for n, s := range sum {
		VPBROADCASTD(tile(32*rows+4*n), s)
	}
	for c := range lines(8) {
		weight := ZMM()
		VMOVDQU32(line(c), weight)
		for n, s := range sum {
			VPDPBUSD_BCST(tile(4*(c*rows+n)), weight, s)
		}
	}
	for _, s := range sum {
		VPSLLD(U8(7), s, s)
	}
}

// quantAVX2 takes a group in two halves of 8 rows of weights, which leaves registers for 4 rows of activations.
//
// Products of pairs go into 16 bits and must not saturate. 8 bits: |w|·(x with w's sign), at most 2·127², widened line by
// line; the offset of 128 is undone first, so there is no correction. 4 bits: at most 2·15·127 a line, 8 lines fit.
func quantAVX2(bits, rows int) {
	function(fmt.Sprintf("q%dx%dAVX2", bits, rows), quantShape)
	total := [][]VecVirtual{ymms(rows), ymms(rows)}
	sum := ymms(rows)
	var wide aside
	clear := func() {
		for _, half := range total {
			for _, t := range half {
				VXORPS(t, t, t)
			}
		}
	}
	group := func(w Register, x groupTile, g int) {
		tile := x.low
		for half := range 2 {
			line := func(c int) Mem { return Mem{Base: w, Disp: (g*lines(bits)+c)*64 + 32*half} }
			at := func(c int) Mem {
				if half == 0 {
					fetchAhead(line(c))
				}
				return line(c)
			}
			if bits == 8 {
				zero(sum)
				wide.ifWide(x, rows, fmt.Sprintf("group%dhalf%d", g, half), func() { highSums(sum, x.high, line) })
				addSums8(sum, tile, at)
			} else {
				sums4(sum, tile, at)
			}
			scale, both := YMM(), YMM()
			VCVTPH2PS(Mem{Base: w, Disp: scales(bits) + 32*g + 16*half}, scale)
			for n, s := range sum {
				VCVTDQ2PS(s, s)
				VBROADCASTSS(tile(32*rows+4*n), both)
				VMULPS(scale, both, both)
				VFMADD231PS(both, s, total[half][n])
			}
		}
	}
	forPanels(bits, rows, clear, group, func(d, stride Register) {
		keep := ymms(2)
		firstLanes(param("valid"), keep...)
		for n := range rows {
			VMASKMOVPS(total[0][n], keep[0], Mem{Base: d})
			VMASKMOVPS(total[1][n], keep[1], Mem{Base: d, Disp: 32})
			if n < rows-1 {
				ADDQ(stride, d)
			}
		}
	})
	wide.write()
}

// highSums makes sums of zero 128 times those of the high plane.
func highSums(sum []VecVirtual, tile, at func(int) Mem) {
	addSums8(sum, tile, at)
	for _, s := range sum {
		VPSLLD(U8(7), s, s)
	}
}

func zero(v []VecVirtual) {
	for _, r := range v {
		VPXOR(r, r, r)
	}
}

func addSums8(sum []VecVirtual, tile, at func(int) Mem) {
	ones, offset := words(0x00010001), words(0x80808080)
	for c := range lines(8) {
		weight, magnitude := YMM(), YMM()
		VMOVDQU(at(c), weight)
		VPXOR(offset, weight, weight)
		VPABSB(weight, magnitude)
		for n, s := range sum {
			t := YMM()
			VPBROADCASTD(tile(4*(c*len(sum)+n)), t)
			VPSIGNB(weight, t, t)
			VPMADDUBSW(t, magnitude, t)
			VPMADDWD(ones, t, t)
			VPADDD(t, s, s)
		}
	}
}

func sums4(sum []VecVirtual, tile, at func(int) Mem) {
	ones, mask := words(0x00010001), words(0x0f0f0f0f)
	for c := range lines(4) {
		low, high := YMM(), YMM()
		VMOVDQU(at(c), high)
		VPAND(mask, high, low)
		VPSRLW(U8(4), high, high)
		VPAND(mask, high, high)
		for n, s := range sum {
			t, u := YMM(), YMM()
			VPBROADCASTD(tile(4*(c*len(sum)+n)), t)
			VPBROADCASTD(tile(4*((c+4)*len(sum)+n)), u)
			VPMADDUBSW(t, low, t)
			VPMADDUBSW(u, high, u)
			if c == 0 {
				VPADDW(t, u, s)
				continue
			}
			VPADDW(t, u, t)
			VPADDW(t, s, s)
		}
	}
	for n, s := range sum {
		t := YMM()
		VPMADDWD(ones, s, s)
		VPBROADCASTD(tile(36*len(sum)+4*n), t)
		VPADDD(t, s, s)
	}
}

// quantize rounds one row into its places in a tile: chunks lie 4·rows bytes apart, behind the eighth scale and
// correction. What says that a group is wide is left alone.
func quantize() {
	function("quantizeAVX2", "func(dst *byte, rows, bias int, x *float32, groups int)")
	d, chunk, bias, x, groups := param("dst"), param("rows"), param("bias"), param("x"), param("groups")
	byteOffsets(chunk)
	NEGQ(bias)
	Label("group")
	at := strided(d, chunk)
	v := ymms(4)
	top := magnitude(v, x)
	scale, inverse := scaleOf(top, 127)
	VMOVSS(scale, at(8))
	roundWords(v, inverse)
	VPACKSSWB(v[2], v[0], v[0])
	scatter(v[0], at)
	VMOVDQU(words(0x01010101), v[1])
	VPMADDUBSW(v[0], v[1], v[1])
	VPMADDWD(words(0x00010001), v[1], v[1])
	correction := GP32()
	VMOVD(reduce(v[1], VPADDD), correction)
	IMULL(bias.(GP).As32(), correction)
	MOVL(correction, at(9))
	LEAQ(at(11), d)
	advance(128, x)
	DECQ(groups)
	JNE(LabelRef("group"))
	VZEROUPPER()
	RET()
}

// strided returns the places of what lies a number of chunks behind d, chunk bytes each.
func strided(d, chunk Register) func(chunks int) Mem {
	bases := []Register{d, GP64(), GP64(), GP64()} // three chunks apart
	for i, base := range bases[1:] {
		LEAQ(Mem{Base: bases[i], Index: chunk, Scale: 2}, base)
		ADDQ(chunk, base)
	}
	return func(chunks int) Mem {
		m := Mem{Base: bases[chunks/3]}
		if rest := chunks % 3; rest > 0 {
			m.Index, m.Scale = chunk, uint8(rest)
		}
		return m
	}
}

// roundWords leaves 32 numbers times a factor as words in v[0] and v[2], in the order that packing makes scatter's.
func roundWords(v []VecVirtual, factor VecVirtual) {
	all := YMM()
	VBROADCASTSS(factor, all)
	for _, r := range v {
		VMULPS(all, r, r)
		VCVTPS2DQ(r, r)
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
}

// scatter stores the eight chunks of packed bytes: 0 2 4 6 are in the low half, 1 3 5 7 in the high one.
func scatter(packed VecVirtual, at func(chunks int) Mem) {
	odd := XMM()
	VEXTRACTI128(U8(1), packed, odd)
	for i := range 4 {
		VPEXTRD(U8(i), packed.AsX(), at(2*i))
		VPEXTRD(U8(i), odd, at(2*i+1))
	}
}

// quantizeWide rounds a group of one row to 15 bits, into its places in both planes.
func quantizeWide() {
	function("quantizeWideAVX2", "func(low, high *byte, rows int, x *float32)")
	low, high, chunk, x := param("low"), param("high"), param("rows"), param("x")
	byteOffsets(chunk)
	atLow, atHigh := strided(low, chunk), strided(high, chunk)
	v := ymms(4)
	scale, inverse := scaleOf(magnitude(v, x), 127*128)
	VMOVSS(scale, atLow(8))
	roundWords(v, inverse)
	sum := YMM()
	VPADDW(v[2], v[0], sum)
	VPMADDWD(words(0x00010001), sum, sum)
	total := GP32()
	VMOVD(reduce(sum, VPADDD), total)
	NEGL(total)
	MOVL(total, atHigh(8))
	above := ymms(2)
	for i, a := range above {
		VPADDW(words(0x00400040), v[2*i], a)
		VPSRAW(U8(7), a, a)
		VPSLLW(U8(7), a, v[1])
		VPSUBW(v[1], v[2*i], v[2*i])
	}
	VPACKSSWB(v[2], v[0], v[0])
	scatter(v[0], atLow)
	VPACKSSWB(above[1], above[0], above[0])
	scatter(above[0], atHigh)
	VZEROUPPER()
	RET()
}

// quantizeVector rounds n numbers, a multiple of 8, by the largest magnitude of all.
func quantizeVector() {
	function("quantizeVectorAVX2", "func(dst *int8, x *float32, n int) float32")
	from, count, top := param("x"), param("n"), YMM()
	VXORPS(top, top, top)
	Label("magnitudes")
	v := YMM()
	VMOVUPS(Mem{Base: from}, v)
	VANDPS(words(0x7fffffff), v, v)
	VMAXPS(v, top, top)
	advance(32, from)
	SUBQ(U8(8), count)
	JNE(LabelRef("magnitudes"))
	reduce(top, VMAXPS)
	scale, inverse := scaleOf(top, 127)
	Store(scale, ReturnIndex(0))
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	d, x, n := param("dst"), param("x"), param("n")
	Label("values")
	VMULPS(Mem{Base: x}, factor, v)
	VCVTPS2DQ(v, v)
	high := XMM()
	VEXTRACTI128(U8(1), v, high)
	VPACKSSDW(high, v.AsX(), v.AsX())
	VPACKSSWB(v.AsX(), v.AsX(), v.AsX())
	VMOVQ(v.AsX(), Mem{Base: d})
	advance(8, d)
	advance(32, x)
	SUBQ(U8(8), n)
	JNE(LabelRef("values"))
	VZEROUPPER()
	RET()
}

// magnitude loads 32 numbers and returns the largest magnitude, in lane 0.
func magnitude(v []VecVirtual, x Register) VecVirtual {
	m := ymms(4)
	for i := range v {
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		VANDPS(words(0x7fffffff), v[i], m[i])
	}
	VMAXPS(m[1], m[0], m[0])
	VMAXPS(m[3], m[2], m[2])
	VMAXPS(m[2], m[0], m[0])
	reduce(m[0], VMAXPS)
	return m[0]
}

// scaleOf returns top/levels and levels/top, or zeros where top is next to nothing.
func scaleOf(top VecVirtual, levels float64) (scale, inverse VecVirtual) {
	scale, inverse, enough := XMM(), XMM(), XMM()
	VMOVSS(floats(levels), inverse)
	VDIVSS(inverse, top.AsX(), scale)
	VDIVSS(top.AsX(), inverse, inverse)
	VCMPSS(U8(13), floats(1e-30), top.AsX(), enough) // ≥
	VANDPS(enough, scale, scale)
	VANDPS(enough, inverse, inverse)
	return scale, inverse
}

// reduce folds the eight lanes of v into lane 0.
func reduce(v VecVirtual, fold func(...Op)) VecVirtual {
	low, high := v.AsX().(VecVirtual), XMM()
	VEXTRACTF128(U8(1), v, high)
	fold(high, low, low)
	VPSHUFD(U8(0x4e), low, high)
	fold(high, low, low)
	VPSHUFD(U8(0xb1), low, high)
	fold(high, low, low)
	return low
}
