package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func vectors() {
	elementwise("geluAVX2", "func(x *float32, n int)", inPlace(gelu))
	elementwise("sigmoidAVX2", "func(x *float32, n int)", inPlace(sigmoid))
	elementwise("tanhAVX2", "func(x *float32, n int)", inPlace(tanh))
	elementwise("eluAVX2", "func(dst, x *float32, n int)", elu)
	elementwise("addAVX2", "func(dst, x *float32, n int)", add)
	elementwise("scaleAVX2", "func(x *float32, factor float32, n int)", scale)
	elementwise("layerNormAVX2", "func(dst, x, weight, bias *float32, mean, scale float32, n int)", layerNorm)
	elementwise("rmsNormAVX2", "func(dst, x, weight *float32, scale float32, n int)", rmsNorm)
	elementwise("widenAVX2", "func(dst *float32, src *uint16, n int)", widen)
	elementwise("narrowAVX2", "func(dst *uint16, src *float32, n int)", narrow)
	sum("sumAVX2", "func(x *float32, n int) float32", plain)
	sum("squaresAVX2", "func(x *float32, offset float32, n int) float32", squares)
	sum("expSumAVX2", "func(x *float32, offset float32, n int) float32", exps)
	largest()
	readSum("readSumAVX2", 32, ymms(4))
	readSum("readSumAVX512", 64, zmms(4))
	fetch()
	pause()
}

// A pass is the body of a loop over elements, written once and laid out twice: for eight of them, and for one of those
// that are left, alone in lane 0 of the same registers.
type pass struct {
	pointers map[string]Register
	lanes    int
	used     map[string]int // bytes per element of the pointers that body moved
}

func (p pass) at(name string, size int) Mem {
	p.used[name] = size
	return Mem{Base: p.pointers[name]}
}

func (p pass) load(name string) VecVirtual {
	v := YMM()
	if p.lanes == 8 {
		VMOVUPS(p.at(name, 4), v)
	} else {
		VMOVSS(p.at(name, 4), v.AsX())
	}
	return v
}

func (p pass) store(v VecVirtual, name string) {
	if p.lanes == 8 {
		VMOVUPS(v, p.at(name, 4))
	} else {
		VMOVSS(v.AsX(), p.at(name, 4))
	}
}

// passes lays the loops out. The names of pointers are those of the parameters.
func passes(pointers []string, body func(p pass)) {
	registers := map[string]Register{}
	for _, name := range pointers {
		registers[name] = param(name)
	}
	n := param("n")
	for _, lanes := range []int{8, 1} {
		loop, done := map[int]string{8: "eight", 1: "one"}[lanes], map[int]string{8: "lessThanEight", 1: "none"}[lanes]
		Label(loop)
		CMPQ(n, U8(lanes))
		JL(LabelRef(done))
		p := pass{registers, lanes, map[string]int{}}
		body(p)
		for _, name := range pointers {
			advance(lanes*p.used[name], registers[name])
		}
		SUBQ(U8(lanes), n)
		JMP(LabelRef(loop))
		Label(done)
	}
}

func elementwise(name, signature string, make func() (pointers []string, body func(p pass))) {
	function(name, signature)
	pointers, body := make()
	passes(pointers, body)
	VZEROUPPER()
	RET()
}

// scalar is a parameter in all lanes.
func scalar(name string) VecVirtual {
	v := YMM()
	VBROADCASTSS(Load(Param(name), XMM()), v)
	return v
}

// inPlace is a function of x that replaces it.
func inPlace(of func(x VecVirtual) VecVirtual) func() ([]string, func(p pass)) {
	return func() ([]string, func(p pass)) {
		return []string{"x"}, func(p pass) { p.store(of(p.load("x")), "x") }
	}
}

// expParts returns q and p with eˣ = p·(1+q), p a power of two; the constants are explained in generic_vector.go.
func expParts(x VecVirtual) (q, p VecVirtual) {
	n, f, squared := YMM(), YMM(), YMM()
	q, p = YMM(), YMM()
	VMAXPS(floats(-60), x, f)
	VMINPS(floats(88), f, f)
	VMULPS(floats(math.Log2E), f, n)
	VROUNDPS(U8(0), n, n)
	VFNMADD231PS(floats(0.693359375), n, f)
	VFNMADD231PS(floats(-2.12194440e-4), n, f)
	horner(q, f, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
	VMULPS(f, f, squared)
	VFMADD213PS(f, squared, q)
	VCVTPS2DQ(n, p)
	VPADDD(words(127), p, p)
	VPSLLD(U8(23), p, p)
	return q, p
}

// horner: poly = the polynomial in x with these coefficients, highest first.
func horner(poly, x VecVirtual, coefficients ...float64) {
	VMOVUPS(floats(coefficients[0]), poly)
	for _, c := range coefficients[1:] {
		VFMADD213PS(floats(c), x, poly)
	}
}

func exp(x VecVirtual) VecVirtual {
	q, p := expParts(x)
	VFMADD213PS(p, p, q)
	return q
}

func expm1(x VecVirtual) VecVirtual {
	q, p := expParts(x)
	less := YMM()
	VSUBPS(one(), p, less)
	VFMADD213PS(less, p, q)
	return q
}

func one() VecVirtual {
	v := YMM()
	VMOVUPS(floats(1), v)
	return v
}

// gelu: max(x, 0) - |x|/2·erfc(|x|/√2); the approximation of erfc is explained in generic_vector.go.
func gelu(x VecVirtual) VecVirtual {
	magnitude, z, t, poly, zero := YMM(), YMM(), one(), YMM(), YMM()
	VANDPS(words(0x7fffffff), x, magnitude)
	VMULPS(floats(math.Sqrt2/2), magnitude, z)
	VFMADD231PS(floats(0.3275911), z, t)
	VDIVPS(t, one(), t)
	horner(poly, t, 1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
	VMULPS(t, poly, poly)
	VMULPS(floats(0.5), magnitude, magnitude)
	VMULPS(magnitude, poly, poly)
	VMULPS(z, z, z)
	VXORPS(words(1<<31), z, z)
	e := exp(z)
	VXORPS(zero, zero, zero)
	VMAXPS(zero, x, x)
	VFNMADD231PS(e, poly, x)
	return x
}

func sigmoid(x VecVirtual) VecVirtual {
	VXORPS(words(1<<31), x, x)
	e := exp(x)
	VADDPS(floats(1), e, e)
	VDIVPS(e, one(), e)
	return e
}

// tanh: -e/(e+2) with e = e^(-2|x|)-1, and the sign of x.
func tanh(x VecVirtual) VecVirtual {
	double, below := YMM(), YMM()
	VANDPS(words(0x7fffffff), x, double)
	VMULPS(floats(-2), double, double)
	e := expm1(double)
	VADDPS(floats(2), e, below)
	VDIVPS(below, e, e)
	VANDPS(words(0x7fffffff), e, e)
	VANDPS(words(1<<31), x, x)
	VORPS(x, e, e)
	return e
}

func elu() ([]string, func(p pass)) {
	return []string{"dst", "x"}, func(p pass) {
		x := p.load("x")
		VBLENDVPS(x, expm1(x), x, x)
		p.store(x, "dst")
	}
}

func add() ([]string, func(p pass)) {
	return []string{"dst", "x"}, func(p pass) {
		x, dst := p.load("x"), p.load("dst")
		VADDPS(x, dst, dst)
		p.store(dst, "dst")
	}
}

func scale() ([]string, func(p pass)) {
	factor := scalar("factor")
	return []string{"x"}, func(p pass) {
		x := p.load("x")
		VMULPS(factor, x, x)
		p.store(x, "x")
	}
}

func layerNorm() ([]string, func(p pass)) {
	mean, scale := scalar("mean"), scalar("scale")
	return []string{"dst", "x", "weight", "bias"}, func(p pass) {
		x, weight, bias := p.load("x"), p.load("weight"), p.load("bias")
		VSUBPS(mean, x, x)
		VMULPS(scale, x, x)
		VFMADD213PS(bias, weight, x)
		p.store(x, "dst")
	}
}

func rmsNorm() ([]string, func(p pass)) {
	scale := scalar("scale")
	return []string{"dst", "x", "weight"}, func(p pass) {
		x, weight := p.load("x"), p.load("weight")
		VMULPS(scale, x, x)
		VMULPS(weight, x, x)
		p.store(x, "dst")
	}
}

func widen() ([]string, func(p pass)) {
	return []string{"dst", "src"}, func(p pass) {
		v := YMM()
		if p.lanes == 8 {
			VCVTPH2PS(p.at("src", 2), v)
		} else {
			half := GP32()
			MOVWLZX(p.at("src", 2), half)
			VMOVD(half, v.AsX())
			VCVTPH2PS(v.AsX(), v)
		}
		p.store(v, "dst")
	}
}

func narrow() ([]string, func(p pass)) {
	return []string{"dst", "src"}, func(p pass) {
		v := p.load("src")
		if p.lanes == 8 {
			VCVTPS2PH(U8(0), v, p.at("dst", 2))
			return
		}
		half := GP32()
		VCVTPS2PH(U8(0), v.AsX(), v.AsX())
		VMOVD(v.AsX(), half)
		MOVW(half.As16(), p.at("dst", 2))
	}
}

// sum adds up what term makes of the elements: eight sums, one of the elements left over, then all of them.
func sum(name, signature string, prepare func() func(p pass) VecVirtual) {
	function(name, signature)
	total, rest := YMM(), XMM()
	VXORPS(total, total, total)
	VXORPS(rest, rest, rest)
	term := prepare()
	passes([]string{"x"}, func(p pass) {
		if v := term(p); p.lanes == 8 {
			VADDPS(v, total, total)
		} else {
			VADDSS(v.AsX(), rest, rest)
		}
	})
	all := reduce(total, VADDPS)
	VADDSS(rest, all, all)
	Store(all, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func plain() func(p pass) VecVirtual {
	return func(p pass) VecVirtual { return p.load("x") }
}

func squares() func(p pass) VecVirtual {
	mean := scalar("offset")
	return func(p pass) VecVirtual {
		x := p.load("x")
		VSUBPS(mean, x, x)
		VMULPS(x, x, x)
		return x
	}
}

func exps() func(p pass) VecVirtual {
	top := scalar("offset")
	return func(p pass) VecVirtual {
		x := p.load("x")
		VSUBPS(top, x, x)
		e := exp(x)
		p.store(e, "x")
		return e
	}
}

func largest() {
	function("maxAVX2", "func(x *float32, n int) float32")
	top := YMM()
	VBROADCASTSS(Mem{Base: param("x")}, top)
	passes([]string{"x"}, func(p pass) {
		x := YMM()
		if p.lanes == 8 {
			VMOVUPS(p.at("x", 4), x)
		} else {
			VBROADCASTSS(p.at("x", 4), x) // a zero in the other lanes might be the largest
		}
		VMAXPS(x, top, top)
	})
	all := reduce(top, VMAXPS)
	Store(all, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// readSum adds up memory in lines of 256 bytes, with nothing to do but load it, fetched ahead like weights.
func readSum(name string, lane int, sums []VecVirtual) {
	function(name, "func(p *byte, n int) uint64")
	p, n := param("p"), param("n")
	for _, s := range sums {
		if lane == 64 {
			VPXORQ(s, s, s)
		} else {
			VPXOR(s, s, s)
		}
	}
	Label("line")
	for i := range 256 / 64 {
		fetchAhead(Mem{Base: p, Disp: 64 * i})
	}
	for i := range 256 / lane {
		VPADDQ(Mem{Base: p, Disp: lane * i}, sums[i%4], sums[i%4])
	}
	advance(256, p)
	SUBQ(I32(256), n)
	JNE(LabelRef("line"))
	for _, s := range sums[1:] {
		VPADDQ(s, sums[0], sums[0])
	}
	if lane == 64 {
		high := YMM()
		VEXTRACTI64X4(U8(1), sums[0], high)
		VPADDQ(high, sums[0].AsY(), sums[0].AsY())
	}
	low, high, total := sums[0].AsX(), XMM(), GP64()
	VEXTRACTI128(U8(1), sums[0].AsY(), high)
	VPADDQ(high, low, low)
	VPSHUFD(U8(0x4e), low, high)
	VPADDQ(high, low, low)
	VMOVQ(low, total)
	Store(total, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// fetch asks for n bytes, more than none, line by line.
func fetch() {
	function("fetchAMD64", "func(p *byte, n int)")
	p, n := param("p"), param("n")
	Label("line")
	PREFETCHT1(Mem{Base: p})
	advance(64, p)
	SUBQ(I32(64), n)
	JG(LabelRef("line"))
	RET()
}

func pause() {
	function("pauseAMD64", "func(n int)")
	n := param("n")
	Label("again")
	PAUSE()
	DECQ(n)
	JNE(LabelRef("again"))
	RET()
}
