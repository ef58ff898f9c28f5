// Command _asm writes the amd64 assembly of package simd with avo; see the go:generate lines there.
//
//	quant.go   8- and 4-bit products, rounding of activations
//	float.go   float16 products, float32 matrix products
//	attend.go  dots and weighted sums over keys and values; attend512.go the same by products of bytes
//	vector.go  element-wise functions and sums, reading, waiting; softmax512.go two of the sums, wider
//
// A nested module, so that avo and the x/tools it needs are no dependencies of segue. avo allocates registers: a kernel
// that asks for more than there are fails to generate.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!noasm")
	for _, bits := range []int{8, 4} {
		for _, rows := range []int{1, 2, 4, 8, 12} {
			quantAVX512(bits, rows)
		}
		for _, rows := range []int{1, 2, 4} {
			quantAVX2(bits, rows)
		}
	}
	quantize()
	quantizeWide()
	quantizeVector()
	for _, rows := range []int{1, 2, 4, 8, 12} {
		halfAVX512(rows)
		gemmAVX512(rows)
	}
	for _, rows := range []int{1, 2, 4} {
		halfAVX2(rows)
	}
	for _, rows := range []int{1, 2, 6} {
		gemmAVX2(rows)
	}
	for _, t := range []element{f32, f16, i8} {
		dots(t)
		weigh(t)
	}
	dotsI8AVX512()
	weighI8AVX512()
	vectors()
	max512()
	expSum512()
	Generate()
}

// function begins a kernel. Arguments never escape: kernels keep no pointers.
func function(name, signature string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
}

func param(name string) Register { return Load(Param(name), GP64()) }

// byteOffsets turns a count of float32 into bytes.
func byteOffsets(counts ...Register) {
	for _, c := range counts {
		SHLQ(U8(2), c)
	}
}

func ymms(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = YMM()
	}
	return v
}

func zmms(n int) []VecVirtual {
	v := make([]VecVirtual, n)
	for i := range v {
		v[i] = ZMM()
	}
	return v
}

// constants are 32-byte lines of read-only data, shared by all kernels.
var constants = map[string]Mem{}

// line is read-only data of eight 32-bit words, by a function of the place.
func line(name string, word func(i int) uint32) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(word(i)))
	}
	constants[name] = m
	return m
}

// words is eight times the same 32 bits.
func words(bits uint32) Mem {
	return line(fmt.Sprintf("words%08x", bits), func(int) uint32 { return bits })
}

// floats is eight times f.
func floats(f float64) Mem { return words(math.Float32bits(float32(f))) }

// firstLanes sets masks[i] to ones in lanes 8i… below count, for masked moves of float32.
func firstLanes(count Register, masks ...VecVirtual) {
	all := YMM()
	VMOVD(count.(GP).As32(), all.AsX())
	VPBROADCASTD(all.AsX(), all)
	for i, m := range masks {
		lanes := line(fmt.Sprintf("lanes%d", 8*i), func(lane int) uint32 { return uint32(8*i + lane) })
		VPCMPGTD(lanes, all, m)
	}
}

// rowPointers returns the addresses of rows at base + i·stride bytes, with one register for every three rows.
func rowPointers(base, stride Register, rows int) (pointers []Register, at func(row, offset int) Mem) {
	pointers = []Register{base}
	for len(pointers) < (rows+2)/3 {
		next := GP64()
		LEAQ(Mem{Base: pointers[len(pointers)-1], Index: stride, Scale: 2}, next)
		ADDQ(stride, next)
		pointers = append(pointers, next)
	}
	at = func(row, offset int) Mem {
		m := Mem{Base: pointers[row/3], Disp: offset}
		if row%3 > 0 {
			m.Index, m.Scale = stride, uint8(row%3)
		}
		return m
	}
	return pointers, at
}

// fetchAhead asks for the line of memory 48 lines on; beyond their end it does nothing. The processor's own
// prefetching keeps up with a loop that only reads, but not with several rows of products: on Sapphire Rapids a pass
// over 300 MB gains 8 % with 2 rows, 18 % with 8. Zen 4 does not care.
func fetchAhead(at Mem) {
	at.Disp += 48 * 64
	PREFETCHT0(at)
}

// fetchFar asks for the line 96 lines on, into the second-level cache only, where six kilobytes on their way are no burden;
// fetchNear then brings the line 24 lines on from there. Together they gain 5 % on fetchAhead in products of bytes, whose
// loops are as long as a line takes to come.
func fetchFar(at Mem) {
	at.Disp += 96 * 64
	PREFETCHT1(at)
}

func fetchNear(at Mem) {
	at.Disp += 24 * 64
	PREFETCHT0(at)
}

func advance(bytes int, pointers ...Register) {
	for _, p := range pointers {
		ADDQ(I32(bytes), p)
	}
}
