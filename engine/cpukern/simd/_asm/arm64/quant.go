package main

import (
	"fmt"
	"math"
)

const (
	groupRow = 44 // bytes of one group of one row in an activation tile
	wideRow  = 36 // and in its second part, the high plane of wide groups
)

// Registers of quant: totals in 0…15, integer sums from 16, weights from 24, activations in 28 and 29.
const (
	sums, weight, chunkLow, chunkHigh, both, constant = 16, 24, 28, 29, 30, 31
)

// quant takes a group in two halves of 8 rows of weights, like the AVX2 kernel. SDOT multiplies signed bytes: the offset
// of 8-bit weights is undone first, the correction unused; 4-bit weights stay unsigned and need theirs.
func quant(p *program, bits, rows int) {
	p.function(fmt.Sprintf("q%dx%dNEON", bits, rows), 64, "",
		"w *byte", "x *byte", "dst *float32", "stride int", "pairs int", "panels int", "valid int")
	p.op("LSL $2, R3")
	if bits == 8 {
		p.op("VMOVI $0x80, V%d.B16", constant)
	} else {
		p.op("VMOVI $0x0f, V%d.B16", constant)
	}
	if bits == 8 {
		p.op("MOVD $%d, R12", 2*groupRow*rows)
		p.op("MADD R4, R1, R12, R12 // the high plane")
	}
	p.label("panel")
	for v := range 4 * rows {
		p.zero(v)
	}
	p.op("MOVD R1, R8")
	if bits == 8 {
		p.op("MOVD R12, R11")
	}
	p.op("MOVD R4, R9")
	p.label("pair")
	for g := range 2 {
		for half := range 2 {
			quantHalf(p, bits, rows, g, half)
		}
	}
	p.op("ADD $%d, R0", 2*bits*64+64)
	p.op("ADD $%d, R8", 2*groupRow*rows)
	if bits == 8 {
		p.op("ADD $%d, R11", 2*wideRow*rows)
	}
	p.op("SUBS $1, R9")
	p.op("BNE pair")
	p.op("MOVD R2, R10")
	for n := range rows {
		p.partly(fmt.Sprintf("store%d", n), "R6", "R10", 4*n, true)
		p.op("ADD R3, R10")
	}
	p.op("ADD $64, R2")
	p.op("SUBS $1, R5")
	p.op("BNE panel")
	p.ret()
}

// quantHalf adds one group of 8 rows of weights to the totals: row n's 16 are registers 4n…4n+3.
func quantHalf(p *program, bits, rows, g, half int) {
	tile := g * groupRow * rows
	if bits == 4 {
		p.load(rows, tile+36*rows, "R8", both)
	}
	for n := range rows {
		for i := range 2 {
			if bits == 4 {
				p.op("VDUP V%d.S[%d], V%d.S4", both, n, sums+2*n+i)
			} else {
				p.zero(sums + 2*n + i)
			}
		}
	}
	if bits == 8 {
		addHigh(p, rows, g, half)
		addLines8(p, rows, g, half, "R8", tile)
	} else {
		addLines4(p, rows, g, half, tile)
	}
	p.load(4, 2*bits*64+32*g+16*half, "R0", chunkHigh)
	p.two(fcvtl, weight, chunkHigh)
	p.two(fcvtl2, weight+1, chunkHigh)
	p.load(rows, tile+32*rows, "R8", chunkLow)
	for n := range rows {
		for i := range 2 {
			sum := sums + 2*n + i
			p.two(scvtf, sum, sum)
			p.byLane(fmulLane, both, weight+i, chunkLow, n)
			p.three(fmla, 4*n+2*half+i, sum, both)
		}
	}
}

// addHigh adds 128 times the products of the high plane, where some row of the tile has the group wide.
func addHigh(p *program, rows, g, half int) {
	narrow := fmt.Sprintf("narrow%d%d", g, half)
	p.op("MOVWU %d(R8), R13", g*groupRow*rows+40*rows)
	p.op("CBZ R13, %s", narrow)
	addLines8(p, rows, g, half, "R11", g*wideRow*rows)
	for i := range 2 * rows {
		p.op("VSHL $7, V%d.S4, V%d.S4", sums+i, sums+i)
	}
	p.label(narrow)
}

// addLines8 adds the products of half a group with the plane that begins so far behind a register.
func addLines8(p *program, rows, g, half int, base string, tile int) {
	for c := range 8 {
		p.op("FLDPQ %d(R0), (F%d, F%d)", (g*8+c)*64+32*half, weight, weight+1)
		for i := range 2 {
			p.op("VEOR V%d.B16, V%d.B16, V%d.B16", constant, weight+i, weight+i)
		}
		multiply(p, rows, base, tile, c, weight, chunkLow)
	}
}

func addLines4(p *program, rows, g, half, tile int) {
	for c := range 4 {
		p.op("FLDPQ %d(R0), (F%d, F%d)", (g*4+c)*64+32*half, weight, weight+1)
		for i := range 2 {
			p.op("VUSHR $4, V%d.B16, V%d.B16", weight+i, weight+2+i)
			p.op("VAND V%d.B16, V%d.B16, V%d.B16", constant, weight+i, weight+i)
		}
		multiply(p, rows, "R8", tile, c, weight, chunkLow)
		multiply(p, rows, "R8", tile, c+4, weight+2, chunkHigh)
	}
}

// multiply adds chunk c of all rows times two registers of weights. A register of activations holds four chunks of one
// row, two of two or one of four; it is loaded where it begins.
func multiply(p *program, rows int, base string, tile, c, w, x int) {
	for n := range rows {
		at := 4 * (c*rows + n)
		if at%16 == 0 {
			p.load(4, tile+at, base, x)
		}
		for i := range 2 {
			p.byLane(sdotLane, sums+2*n+i, w+i, x, at%16/4)
		}
	}
}

// quantize rounds one row into its places in a tile.
func quantize(p *program) {
	p.function("quantizeNEON", 0, "", "dst *byte", "rows int", "bias int", "x *float32", "groups int")
	p.op("LSL $2, R1")
	p.op("NEG R2, R2")
	scaleConstants(p, 127)
	p.op("VMOVI $1, V30.B16")
	p.label("group")
	roundGroup(p)
	p.packGroup(0, 20)
	p.scatter(20, "R0")
	p.op("FMOVS F9, (R0)")
	p.op("ADD R1, R0")
	p.zero(22)
	p.three(sdotV, 22, 20, 30)
	p.three(sdotV, 22, 21, 30)
	p.two(addv, 22, 22)
	p.op("FMOVS F22, R5")
	p.op("MULW R2, R5, R5")
	p.op("MOVW R5, (R0)")
	p.op("ADD R1, R0")
	p.op("ADD R1, R0 // what says that the group is wide is left alone")
	p.op("ADD $128, R3")
	p.op("SUBS $1, R4")
	p.op("BNE group")
	p.ret()
}

// roundGroup makes registers 0…7 the 32 numbers at R3 as integers, and 9 their scale.
func roundGroup(p *program) {
	for i := range 8 {
		p.load(4, 16*i, "R3", i)
		p.two(fabs, 8+i, i)
	}
	for step := 4; step > 0; step /= 2 {
		for i := range step {
			p.three(fmax, 8+i, 8+i, 8+i+step)
		}
	}
	p.two(fmaxv, 8, 8)
	scaleOf(p)
	for i := range 8 {
		p.byLane(fmulLane, i, i, 10, 0)
		p.two(fcvtns, i, i)
	}
}

// packGroup makes two registers of bytes of the eight from v on; it uses 16 to 19.
func (p *program) packGroup(v, bytes int) {
	for i := range 4 {
		p.two(sqxtn4, 16+i, v+2*i)
		p.two(sqxtn4b, 16+i, v+2*i+1)
	}
	for i := range 2 {
		p.two(sqxtn8, bytes+i, 16+2*i)
		p.two(sqxtn8b, bytes+i, 16+2*i+1)
	}
}

// scatter stores the eight chunks of two registers R1 bytes apart, and leaves to where a ninth would be.
func (p *program) scatter(bytes int, to string) {
	for c := range 8 {
		p.op("VST1 V%d.S[%d], (%s)", bytes+c/4, c%4, to)
		p.op("ADD R1, %s", to)
	}
}

// quantizeWide rounds a group of one row to 15 bits, into its places in both planes.
func quantizeWide(p *program) {
	p.function("quantizeWideNEON", 0, "", "low *byte", "high *byte", "rows int", "x *float32")
	p.op("MOVD R1, R4")
	p.op("LSL $2, R2, R1")
	scaleConstants(p, 127*128)
	roundGroup(p)
	p.op("VEOR V24.B16, V24.B16, V24.B16")
	p.op("MOVW $64, R5")
	p.op("VDUP R5, V25.S4")
	p.op("FMOVS F9, R6 // the scale is in the way")
	for i := range 8 {
		p.op("VADD V%d.S4, V24.S4, V24.S4", i)
		p.op("VADD V%d.S4, V25.S4, V%d.S4", i, 8+i)
	}
	for i := range 8 {
		p.two(sshr7, 8+i, 8+i)
		p.op("VSHL $7, V%d.S4, V26.S4", 8+i)
		p.op("VSUB V26.S4, V%d.S4, V%d.S4", i, i)
	}
	p.packGroup(0, 20)
	p.scatter(20, "R0")
	p.op("MOVW R6, (R0)")
	p.packGroup(8, 22)
	p.scatter(22, "R4")
	p.two(addv, 24, 24)
	p.op("FMOVS F24, R5")
	p.op("NEGW R5, R5")
	p.op("MOVW R5, (R4)")
	p.ret()
}

func scaleConstants(p *program, levels float32) {
	p.op("MOVW $0x%08x, R5", math.Float32bits(levels))
	p.op("FMOVS R5, F28 // %g", levels)
	p.op("MOVW $0x%08x, R5", 0x0da24260)
	p.op("FMOVS R5, F29 // 1e-30")
}

// scaleOf makes 9 the scale and 10 its inverse from the largest magnitude in 8; zeros where that is next to nothing.
func scaleOf(p *program) {
	p.op("FDIVS F28, F8, F9")  // scale = top/levels
	p.op("FDIVS F8, F28, F10") // inverse = levels/top
	p.op("FCMPS F29, F8")
	p.op("BGE enough")
	p.zero(9, 10)
	p.label("enough")
}

// quantizeVector rounds n numbers, a multiple of 8, by the largest magnitude of all.
func quantizeVector(p *program) {
	p.function("quantizeVectorNEON", 0, "float32", "dst *int8", "x *float32", "n int")
	scaleConstants(p, 127)
	p.op("MOVD R1, R3")
	p.op("MOVD R2, R4")
	p.zero(8)
	p.label("magnitudes")
	for i := range 2 {
		p.op("FMOVQ.P 16(R3), F%d", i)
		p.two(fabs, i, i)
		p.three(fmax, 8, 8, i)
	}
	p.op("SUBS $8, R4")
	p.op("BNE magnitudes")
	p.two(fmaxv, 8, 8)
	scaleOf(p)
	p.op("FMOVS F9, %s", p.arguments["ret"])
	p.label("values")
	for i := range 2 {
		p.op("FMOVQ.P 16(R1), F%d", i)
		p.byLane(fmulLane, i, i, 10, 0)
		p.two(fcvtns, i, i)
	}
	p.two(sqxtn4, 2, 0)
	p.two(sqxtn4b, 2, 1)
	p.two(sqxtn8, 2, 2)
	p.op("FMOVD.P F2, 8(R0)")
	p.op("SUBS $8, R2")
	p.op("BNE values")
	p.ret()
}
