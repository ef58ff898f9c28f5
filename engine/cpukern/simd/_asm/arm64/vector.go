package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

func vectors(p *program) {
	x, n := "x *float32", "n int"
	elementwise(p, "gelu", "", inPlace(gelu), x, n)
	elementwise(p, "sigmoid", "", inPlace(sigmoid), x, n)
	elementwise(p, "tanh", "", inPlace(tanh), x, n)
	elementwise(p, "elu", "", elu, "dst *float32", x, n)
	elementwise(p, "add", "", add, "dst *float32", x, n)
	elementwise(p, "scale", "", scale, x, "factor float32", n)
	elementwise(p, "layerNorm", "", layerNorm, "dst *float32", x, "weight *float32", "bias *float32",
		"mean float32", "scale float32", n)
	elementwise(p, "rmsNorm", "", rmsNorm, "dst *float32", x, "weight *float32", "scale float32", n)
	elementwise(p, "widen", "", widen, "dst *float32", "src *uint16", n)
	elementwise(p, "narrow", "", narrow, "dst *uint16", "src *float32", n)
	elementwise(p, "sum", "float32", func(p *pass) { p.add(p.load("x", 0)) }, x, n)
	elementwise(p, "squares", "float32", squares, x, "offset float32", n)
	elementwise(p, "expSum", "float32", exps, x, "offset float32", n)
	elementwise(p, "max", "float32", largest, x, n)
	readSum(p)
	pause(p)
}

// A pass is the body of a loop over elements, written once and laid out twice: for four of them, and for one of those
// that are left, alone in lane 0. Registers 0…9 are the body's, those from 10 constants and scalars in all lanes,
// 30 and 31 the sums of four lanes and of single ones.
type pass struct {
	*program
	lanes     int
	pointers  map[string]int // parameter → register that holds it
	constants map[string]int // bits, or the name of a scalar → vector register
}

const total, rest = 30, 31

// elementwise writes a function. The body runs twice for its text, the first time only to learn its constants.
func elementwise(p *program, name, result string, body func(*pass), parameters ...string) {
	p.function(name+"NEON", 0, result, parameters...)
	pointers, count := map[string]int{}, 0
	for _, parameter := range parameters {
		name, kind, _ := strings.Cut(parameter, " ")
		if kind != "float32" {
			pointers[name] = count
			count++
		}
	}
	constants := map[string]int{}
	body(&pass{&program{}, 4, pointers, constants})
	for _, c := range slices.SortedFunc(maps.Keys(constants), func(a, b string) int { return constants[a] - constants[b] }) {
		if at := p.arguments[c]; at != "" {
			p.op("MOVWU %s, R9", at)
		} else {
			p.op("MOVD $%s, R9", c)
		}
		p.op("VDUP R9, V%d.S4", constants[c])
	}
	if result != "" {
		p.zero(total, rest)
	}
	if name == "max" {
		p.op("VLD1R (R0), [V%d.S4]", total)
	}
	p.loops("lanes", fmt.Sprintf("R%d", pointers["n"]), []int{4, 1}, func(lanes int) {
		body(&pass{p, lanes, pointers, constants})
	})
	if result != "" {
		finish(p, name)
	}
	p.ret()
}

func finish(p *program, name string) {
	if name == "max" {
		p.two(fmaxv, total, total)
	} else {
		p.three(faddp, total, total, total)
		p.three(faddp, total, total, total)
		p.op("FADDS F%d, F%d, F%d", rest, total, total)
	}
	p.op("FMOVS F%d, %s", total, p.arguments["ret"])
}

func (p *pass) load(name string, v int) int {
	p.program.load(p.lanes, 0, fmt.Sprintf("R%d", p.pointers[name]), v)
	return v
}

func (p *pass) store(v int, name string) {
	p.program.store(p.lanes, v, 0, fmt.Sprintf("R%d", p.pointers[name]))
}

// next moves pointers on by size bytes an element.
func (p *pass) next(size int, names ...string) {
	for _, name := range names {
		p.op("ADD $%d, R%d", size*p.lanes, p.pointers[name])
	}
}

// add takes v into the sum, and moves on.
func (p *pass) add(v int) {
	if p.lanes == 4 {
		p.three(fadd, total, total, v)
	} else {
		p.op("FADDS F%d, F%d, F%d", v, rest, rest)
	}
	p.next(4, "x")
}

// constant is the register of f in all lanes; words that of any 32 bits; scalar that of a parameter.
func (p *pass) constant(f float64) int { return p.words(math.Float32bits(float32(f))) }

func (p *pass) words(bits uint32) int { return p.scalar(fmt.Sprintf("0x%08x", bits)) }

func (p *pass) scalar(name string) int {
	if _, ok := p.constants[name]; !ok {
		p.constants[name] = 10 + len(p.constants)
	}
	return p.constants[name]
}

func (p *pass) copy(d, n int) { p.op("VMOV V%d.B16, V%d.B16", n, d) }

func inPlace(of func(p *pass, x int) int) func(*pass) {
	return func(p *pass) {
		p.store(of(p, p.load("x", 0)), "x")
		p.next(4, "x")
	}
}

// expParts returns q and p in registers 5 and 6 with eˣ = p·(1+q), p a power of two; see generic_vector.go. It uses 7 to 9.
func expParts(p *pass, x int) (q, power int) {
	const f, n, other = 7, 8, 9
	p.three(fmax, f, x, p.constant(-60))
	p.three(fmin, f, f, p.constant(88))
	p.three(fmul, n, f, p.constant(math.Log2E))
	p.two(frintn, n, n)
	p.three(fmls, f, n, p.constant(0.693359375))
	p.three(fmls, f, n, p.constant(-2.12194440e-4))
	p.horner(5, f, other, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	p.three(fmul, 6, f, f)
	p.three(fmla, f, 5, 6)
	p.two(fcvtns, n, n)
	p.op("VADD V%d.S4, V%d.S4, V%d.S4", p.words(127), n, n)
	p.op("VSHL $23, V%d.S4, V6.S4", n)
	p.copy(5, f)
	return 5, 6
}

// horner: poly = the polynomial in x with these coefficients, highest first.
func (p *pass) horner(poly, x, other int, coefficients ...float64) {
	p.copy(poly, p.constant(coefficients[0]))
	for _, c := range coefficients[1:] {
		p.copy(other, p.constant(c))
		p.three(fmla, other, poly, x)
		poly, other = other, poly
	}
	if len(coefficients)%2 == 0 {
		p.copy(other, poly)
	}
}

func exp(p *pass, x int) int {
	q, power := expParts(p, x)
	p.copy(7, power)
	p.three(fmla, 7, power, q)
	return 7
}

func expm1(p *pass, x int) int {
	q, power := expParts(p, x)
	p.three(fsub, 7, power, p.constant(1))
	p.three(fmla, 7, power, q)
	return 7
}

// gelu: max(x, 0) - |x|/2·erfc(|x|/√2); see generic_vector.go.
func gelu(p *pass, x int) int {
	const magnitude, z, t, poly, other = 1, 2, 3, 4, 5
	p.two(fabs, magnitude, x)
	p.three(fmul, z, magnitude, p.constant(math.Sqrt2/2))
	p.copy(t, p.constant(1))
	p.three(fmla, t, z, p.constant(0.3275911))
	p.three(fdiv, t, p.constant(1), t)
	p.horner(poly, t, other, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
	p.three(fmul, poly, poly, t)
	p.three(fmul, magnitude, magnitude, p.constant(0.5))
	p.three(fmul, poly, poly, magnitude)
	p.three(fmul, z, z, z)
	p.two(fneg, z, z)
	e := exp(p, z)
	p.zero(1)
	p.three(fmax, x, x, 1)
	p.three(fmls, x, poly, e)
	return x
}

func sigmoid(p *pass, x int) int {
	p.two(fneg, x, x)
	e := exp(p, x)
	p.three(fadd, e, e, p.constant(1))
	p.three(fdiv, x, p.constant(1), e)
	return x
}

// tanh: -e/(e+2) with e = e^(-2|x|)-1, and the sign of x.
func tanh(p *pass, x int) int {
	p.two(fabs, 1, x)
	p.three(fmul, 1, 1, p.constant(-2))
	e := expm1(p, 1)
	p.three(fadd, 1, e, p.constant(2))
	p.three(fdiv, 1, e, 1)
	p.two(fabs, 1, 1)
	p.op("VBIT V%d.B16, V%d.B16, V1.B16", p.words(1<<31), x) // the sign bit of x
	return 1
}

func elu(p *pass) {
	p.load("x", 0)
	e := expm1(p, 0)
	p.two(cmltz, 1, 0)
	p.op("VBIT V1.B16, V%d.B16, V0.B16", e) // where x < 0
	p.store(0, "dst")
	p.next(4, "dst", "x")
}

func add(p *pass) {
	p.load("x", 0)
	p.load("dst", 1)
	p.three(fadd, 1, 1, 0)
	p.store(1, "dst")
	p.next(4, "dst", "x")
}

func scale(p *pass) {
	p.load("x", 0)
	p.three(fmul, 0, 0, p.scalar("factor"))
	p.store(0, "x")
	p.next(4, "x")
}

func layerNorm(p *pass) {
	p.load("x", 0)
	p.load("weight", 1)
	p.load("bias", 2)
	p.three(fsub, 0, 0, p.scalar("mean"))
	p.three(fmul, 0, 0, p.scalar("scale"))
	p.three(fmla, 2, 0, 1)
	p.store(2, "dst")
	p.next(4, "dst", "x", "weight", "bias")
}

func rmsNorm(p *pass) {
	p.load("x", 0)
	p.load("weight", 1)
	p.three(fmul, 0, 0, p.scalar("scale"))
	p.three(fmul, 0, 0, 1)
	p.store(0, "dst")
	p.next(4, "dst", "x", "weight")
}

func widen(p *pass) {
	if p.lanes == 4 {
		p.op("FMOVD (R%d), F0", p.pointers["src"])
	} else {
		p.op("MOVHU (R%d), R9", p.pointers["src"])
		p.op("FMOVS R9, F0")
	}
	p.two(fcvtl, 0, 0)
	p.store(0, "dst")
	p.next(4, "dst")
	p.next(2, "src")
}

func narrow(p *pass) {
	p.load("src", 0)
	p.two(fcvtn, 0, 0)
	if p.lanes == 4 {
		p.op("FMOVD F0, (R%d)", p.pointers["dst"])
	} else {
		p.op("FMOVS F0, R9")
		p.op("MOVH R9, (R%d)", p.pointers["dst"])
	}
	p.next(2, "dst")
	p.next(4, "src")
}

func squares(p *pass) {
	p.load("x", 0)
	p.three(fsub, 0, 0, p.scalar("offset"))
	p.three(fmul, 0, 0, 0)
	p.add(0)
}

func exps(p *pass) {
	p.load("x", 0)
	p.three(fsub, 0, 0, p.scalar("offset"))
	e := exp(p, 0)
	p.store(e, "x")
	p.add(e)
}

func largest(p *pass) {
	if p.lanes == 4 {
		p.load("x", 0)
	} else {
		p.op("VLD1R (R0), [V0.S4]") // a zero in the other lanes might be the largest
	}
	p.three(fmax, total, total, 0)
	p.next(4, "x")
}

// readSum adds up memory in lines of 256 bytes, with nothing else to do than to load it.
func readSum(p *program) {
	p.function("readSumNEON", 0, "uint64", "p *byte", "n int")
	p.zero(0, 1, 2, 3)
	p.label("line")
	for i := range 4 {
		p.op("VLD1.P 64(R0), [V%d.B16, V%d.B16, V%d.B16, V%d.B16]", 4+4*i, 5+4*i, 6+4*i, 7+4*i)
	}
	for i := range 16 {
		p.op("VADD V%d.D2, V%d.D2, V%d.D2", 4+i, i%4, i%4)
	}
	p.op("SUBS $256, R1")
	p.op("BNE line")
	for i := range 3 {
		p.op("VADD V%d.D2, V0.D2, V0.D2", i+1)
	}
	p.op("VMOV V0.D[0], R0")
	p.op("VMOV V0.D[1], R1")
	p.op("ADD R1, R0")
	p.op("MOVD R0, %s", p.arguments["ret"])
	p.ret()
}

func pause(p *program) {
	p.function("pauseNEON", 0, "", "n int")
	p.label("again")
	p.op("YIELD")
	p.op("SUBS $1, R0")
	p.op("BNE again")
	p.ret()
}
