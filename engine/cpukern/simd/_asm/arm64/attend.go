package main

// element is how keys and values are stored.
type element struct {
	suffix, pointer string
	size            int
	load            func(p *program, offset int, base string, v int) // eight of them, as float32 in v and v+1
}

var (
	f32 = element{"F32", "*float32", 4, func(p *program, offset int, base string, v int) {
		p.load(4, offset, base, v)
		p.load(4, offset+16, base, v+1)
	}}
	f16 = element{"F16", "*uint16", 2, func(p *program, offset int, base string, v int) {
		p.load(4, offset, base, v+1)
		p.two(fcvtl, v, v+1)
		p.two(fcvtl2, v+1, v+1)
	}}
	i8 = element{"I8", "*int8", 1, func(p *program, offset int, base string, v int) {
		p.load(2, offset, base, v+1)
		p.two(sxtl8, v+1, v+1)
		p.two(sxtl4, v, v+1)
		p.two(sxtl4b, v+1, v+1)
		p.two(scvtf, v, v)
		p.two(scvtf, v+1, v+1)
	}}
)

// function begins a kernel with dst in R0, q in R1, keys in R2, stride in bytes in R3, width in R4, n in R5, scales in R6.
func (e element) function(p *program, name string) {
	parameters := []string{"dst *float32", "q *float32", "keys " + e.pointer, "stride int", "width int", "n int"}
	if e.size > 1 {
		p.function(name+e.suffix+"NEON", 0, "", parameters...)
		p.op("LSL $%d, R3", e.size/2)
		return
	}
	parameters = append(parameters[:3:3], append([]string{"scales *float32"}, parameters[3:]...)...)
	p.function(name+e.suffix+"NEON", 0, "", parameters...)
	p.op("MOVD R3, R7")
	for i := 3; i < 6; i++ {
		p.op("MOVD R%d, R%d", i+1, i)
	}
	p.op("MOVD R7, R6")
}

// dots takes one key after the other, eight lanes each, folded to ((0+4)+(1+5))+((2+6)+(3+7)).
func dots(p *program, e element) {
	e.function(p, "dots")
	p.label("key")
	p.zero(0, 1)
	p.op("MOVD R1, R8")
	p.op("MOVD R2, R9")
	p.op("MOVD R4, R10")
	p.label("inputs")
	e.load(p, 0, "R9", 2)
	p.load(4, 0, "R8", 4)
	p.load(4, 16, "R8", 5)
	p.three(fmla, 0, 2, 4)
	p.three(fmla, 1, 3, 5)
	p.op("ADD $32, R8")
	p.op("ADD $%d, R9", 8*e.size)
	p.op("SUBS $8, R10")
	p.op("BNE inputs")
	p.three(fadd, 0, 0, 1)
	p.three(faddp, 0, 0, 0)
	p.three(faddp, 0, 0, 0)
	if e.size == 1 {
		p.op("FMOVS.P 4(R6), F1")
		p.op("FMULS F1, F0, F0")
	}
	p.op("FMOVS.P F0, 4(R0)")
	p.op("ADD R3, R2")
	p.op("SUBS $1, R5")
	p.op("BNE key")
	p.ret()
}

// weigh keeps 64 sums in registers 0…15 while all values pass; what is left of the width goes 8 by 8.
func weigh(p *program, e element) {
	e.function(p, "weigh")
	p.loops("width", "R4", []int{64, 8}, func(lanes int) {
		for i := range lanes / 4 {
			p.load(4, 16*i, "R0", i)
		}
		p.op("MOVD R1, R8")
		p.op("MOVD R2, R9")
		p.op("MOVD R5, R10")
		p.op("MOVD R6, R11")
		value := map[int]string{64: "wide", 8: "narrow"}[lanes]
		p.label(value)
		p.op("FMOVS.P 4(R8), F31")
		if e.size == 1 {
			p.op("FMOVS.P 4(R11), F30")
			p.op("FMULS F30, F31, F31")
		}
		for i := 0; i < lanes/4; i += 2 {
			e.load(p, 4*i*e.size, "R9", 16+i%8)
			p.byLane(fmlaLane, i, 16+i%8, 31, 0)
			p.byLane(fmlaLane, i+1, 17+i%8, 31, 0)
		}
		p.op("ADD R3, R9")
		p.op("SUBS $1, R10")
		p.op("BNE %s", value)
		for i := range lanes / 4 {
			p.store(4, i, 16*i, "R0")
		}
		p.op("ADD $%d, R0", 4*lanes)
		p.op("ADD $%d, R2", e.size*lanes)
	})
	p.ret()
}
