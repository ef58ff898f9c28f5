package main

import "fmt"

// half: sums of even and of odd inputs in 0…15, activations from 16, weights from 20. With 4 rows of activations a panel
// is read twice, 8 of its rows at a time, because there are not enough registers for more.
func half(p *program, rows int) {
	p.function(fmt.Sprintf("f16x%dNEON", rows), 64, "", "w *uint16", "x *float32", "xStride int", "depth int",
		"dst *float32", "stride int", "panels int", "valid int")
	p.op("LSL $2, R2")
	p.op("LSL $2, R5")
	p.label("panel")
	if rows < 4 {
		halfSums(p, rows, 4, 0)
	} else {
		halfSums(p, rows, 2, 0)
		// Set aside in 24…31 while the other half is summed.
		for i := range 8 {
			p.op("VMOV V%d.B16, V%d.B16", i, 24+i)
		}
		halfSums(p, rows, 2, 16)
		interleave(p)
	}
	p.op("MOVD R8, R0")
	p.op("MOVD R4, R10")
	for n := range rows {
		p.partly(fmt.Sprintf("store%d", n), "R7", "R10", 4*n, true)
		p.op("ADD R5, R10")
	}
	p.op("ADD $64, R4")
	p.op("SUBS $1, R6")
	p.op("BNE panel")
	p.ret()
}

// interleave makes row n's registers 4n…4n+3 from its first half in 24+2n and its second in 2n.
func interleave(p *program) {
	for n := 3; n >= 0; n-- {
		for i := 1; i >= 0; i-- {
			p.op("VMOV V%d.B16, V%d.B16", 2*n+i, 4*n+2+i)
		}
		for i := range 2 {
			p.op("VMOV V%d.B16, V%d.B16", 24+2*n+i, 4*n+i)
		}
	}
}

// halfSums leaves sums of quads·4 rows of weights, those at offset bytes into each input's, in registers quads·n…, and
// the end of the panel in R8.
func halfSums(p *program, rows, quads, offset int) {
	sum := func(parity, n, i int) int { return (parity*rows+n)*quads + i }
	for v := range 2 * rows * quads {
		p.zero(v)
	}
	p.op("MOVD R0, R8")
	p.op("MOVD R3, R9")
	p.op("MOVD R1, R11")
	for n := 1; n < rows; n++ {
		p.op("ADD R2, R%d, R%d", 10+n, 11+n)
	}
	p.loops(fmt.Sprintf("from%d", offset), "R9", []int{4, 2, 1}, func(inputs int) {
		for n := range rows {
			p.op("%s.P %d(R%d), F%d", moves[inputs], 4*inputs, 11+n, 16+n)
		}
		for i := range inputs {
			for j := 0; j < quads; j += 2 {
				p.load(4, 32*i+offset+8*j, "R8", 20+j+1)
				p.two(fcvtl, 20+j, 20+j+1)
				p.two(fcvtl2, 20+j+1, 20+j+1)
			}
			for n := range rows {
				for j := range quads {
					p.byLane(fmlaLane, sum(i%2, n, j), 20+j, 16+n, i)
				}
			}
		}
		p.op("ADD $%d, R8", 32*inputs)
	})
	for v := range rows * quads {
		p.three(fadd, v, v, v+rows*quads)
	}
}

// gemm computes a panel's first 16 columns, then the others: sums in 0…15, activations from 16, weights from 20.
func gemm(p *program, rows int) {
	p.function(fmt.Sprintf("gemm%dx32NEON", rows), 64, "", "w *float32", "x *float32", "xStride int", "depth int",
		"dst *float32", "stride int", "cols int")
	p.op("LSL $2, R2")
	p.op("LSL $2, R5")
	p.label("half")
	move := func(name string, storing bool) {
		p.op("MOVD R4, R10")
		for n := range rows {
			p.partly(fmt.Sprintf("%s%d", name, n), "R6", "R10", 4*n, storing)
			p.op("ADD R5, R10")
		}
	}
	move("load", false)
	p.op("MOVD R0, R8")
	p.op("MOVD R3, R9")
	p.op("MOVD R1, R11")
	for n := 1; n < rows; n++ {
		p.op("ADD R2, R%d, R%d", 10+n, 11+n)
	}
	p.loops("inputs", "R9", []int{4, 1}, func(inputs int) {
		for n := range rows {
			p.op("%s.P %d(R%d), F%d", moves[inputs], 4*inputs, 11+n, 16+n)
		}
		for i := range inputs {
			for j := range 4 {
				p.load(4, 128*i+16*j, "R8", 20+j)
			}
			for n := range rows {
				for j := range 4 {
					p.byLane(fmlaLane, 4*n+j, 20+j, 16+n, i)
				}
			}
		}
		p.op("ADD $%d, R8", 128*inputs)
	})
	move("store", true)
	p.op("ADD $64, R0")
	p.op("ADD $64, R4")
	p.op("SUBS $16, R6")
	p.op("BGT half")
	p.ret()
}
