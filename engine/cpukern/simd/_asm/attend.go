package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// element is how keys and values are stored.
type element struct {
	suffix, pointer string
	size            int
	load            func(m Mem, v VecVirtual) // eight of them, as float32
}

var (
	f32 = element{"F32", "*float32", 4, func(m Mem, v VecVirtual) { VMOVUPS(m, v) }}
	f16 = element{"F16", "*uint16", 2, func(m Mem, v VecVirtual) { VCVTPH2PS(m, v) }}
	i8  = element{"I8", "*int8", 1, func(m Mem, v VecVirtual) {
		VPMOVSXBD(m, v)
		VCVTDQ2PS(v, v)
	}}
)

func (e element) signature() string {
	if e.size == 1 {
		return "func(dst, q *float32, keys " + e.pointer + ", scales *float32, stride, width, n int)"
	}
	return "func(dst, q *float32, keys " + e.pointer + ", stride, width, n int)"
}

func (e element) stride() Register {
	stride := param("stride")
	if e.size > 1 {
		SHLQ(U8(e.size/2), stride) // 4 → 2, 2 → 1
	}
	return stride
}

// dots takes four keys at a time and folds their sums together; a key at the end is folded the same way alone, so the
// bits of a score do not depend on its place.
func dots(e element) {
	function("dots"+e.suffix+"AVX2", e.signature())
	dst, keys, stride, n := param("dst"), param("keys"), e.stride(), param("n")
	var scales Register
	if e.size == 1 {
		scales = param("scales")
	}
	for _, some := range []int{4, 1} {
		loop, done := map[int]string{4: "four", 1: "one"}[some], map[int]string{4: "lessThanFour", 1: "none"}[some]
		Label(loop)
		CMPQ(n, U8(some))
		JL(LabelRef(done))
		scores := foldKeys(keySums(e, keys, stride, some, loop))
		if some == 4 {
			if scales != nil {
				VMULPS(Mem{Base: scales}, scores, scores)
			}
			VMOVUPS(scores, Mem{Base: dst})
			LEAQ(Mem{Base: keys, Index: stride, Scale: 4}, keys)
		} else {
			if scales != nil {
				VMULSS(Mem{Base: scales}, scores, scores)
			}
			VMOVSS(scores, Mem{Base: dst})
			ADDQ(stride, keys)
		}
		advance(4*some, dst)
		if scales != nil {
			advance(4*some, scales)
		}
		SUBQ(U8(some), n)
		JMP(LabelRef(loop))
		Label(done)
	}
	VZEROUPPER()
	RET()
}

// keySums multiplies the query with some keys, eight lanes each.
func keySums(e element, keys, stride Register, some int, label string) []VecVirtual {
	sums := ymms(some)
	for _, s := range sums {
		VXORPS(s, s, s)
	}
	first, ahead, q, width := GP64(), GP64(), param("q"), param("width")
	MOVQ(keys, first)
	MOVQ(keys, ahead)
	pointers, at := rowPointers(first, stride, some)
	Label(label + "Inputs")
	query := YMM()
	VMOVUPS(Mem{Base: q}, query)
	for j, s := range sums {
		key := YMM()
		e.load(at(j, 0), key)
		VFMADD231PS(query, key, s)
	}
	for line := 0; line < some*8*e.size; line += 64 {
		fetchAhead(Mem{Base: ahead, Disp: line})
	}
	advance(some*8*e.size, ahead)
	advance(32, q)
	advance(8*e.size, pointers...)
	SUBQ(U8(8), width)
	JNE(LabelRef(label + "Inputs"))
	return sums
}

// foldKeys adds up lanes: result i is sum i's ((0+1)+(2+3))+((4+5)+(6+7)).
func foldKeys(sums []VecVirtual) VecVirtual {
	last := len(sums) - 1
	VHADDPS(sums[min(1, last)], sums[0], sums[0])
	if last > 0 {
		VHADDPS(sums[3], sums[2], sums[2])
		VHADDPS(sums[2], sums[0], sums[0])
	} else {
		VHADDPS(sums[0], sums[0], sums[0])
	}
	low, high := sums[0].AsX().(VecVirtual), XMM()
	VEXTRACTF128(U8(1), sums[0], high)
	VADDPS(high, low, low)
	return low
}

// weigh keeps 64 sums in registers while all values pass; what is left of the width goes 8 by 8.
func weigh(e element) {
	function("weigh"+e.suffix+"AVX2", e.signature())
	dst, values, stride, width := param("dst"), param("keys"), e.stride(), param("width")
	for _, lanes := range []int{64, 8} {
		loop, done := map[int]string{64: "wide", 8: "narrow"}[lanes], map[int]string{64: "lessThanWide", 8: "none"}[lanes]
		Label(loop)
		CMPQ(width, U8(lanes))
		JL(LabelRef(done))
		sums := ymms(lanes / 8)
		for i, s := range sums {
			VMOVUPS(Mem{Base: dst, Disp: 32 * i}, s)
		}
		addValues(e, sums, values, stride, loop)
		for i, s := range sums {
			VMOVUPS(s, Mem{Base: dst, Disp: 32 * i})
		}
		advance(4*lanes, dst)
		advance(e.size*lanes, values)
		SUBQ(U8(lanes), width)
		JMP(LabelRef(loop))
		Label(done)
	}
	VZEROUPPER()
	RET()
}

func addValues(e element, sums []VecVirtual, values, stride Register, label string) {
	at, p, n := GP64(), param("q"), param("n")
	MOVQ(values, at)
	var scales Register
	if e.size == 1 {
		scales = param("scales")
	}
	Label(label + "Values")
	share := YMM()
	if scales != nil {
		VMOVSS(Mem{Base: p}, share.AsX())
		VMULSS(Mem{Base: scales}, share.AsX(), share.AsX())
		VBROADCASTSS(share.AsX(), share)
		advance(4, scales)
	} else {
		VBROADCASTSS(Mem{Base: p}, share)
	}
	for i, s := range sums {
		value := YMM()
		e.load(Mem{Base: at, Disp: 8 * e.size * i}, value)
		VFMADD231PS(share, value, s)
	}
	for line := 0; line < len(sums)*8*e.size; line += 64 {
		fetchAhead(Mem{Base: at, Disp: line})
	}
	advance(4, p)
	ADDQ(stride, at)
	DECQ(n)
	JNE(LabelRef(label + "Values"))
}
