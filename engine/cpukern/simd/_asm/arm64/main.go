// Command arm64 writes the NEON assembly of package simd as text; see the go:generate lines there.
//
//	emit.go    functions, arguments, loops, instructions that Go's assembler lacks
//	quant.go   8- and 4-bit products, rounding of activations
//	float.go   float16 products, float32 matrix products
//	attend.go  dots and weighted sums over keys and values
//	vector.go  element-wise functions and sums, reading, waiting
//
// The kernels mirror those for AVX2 and keep the same order of additions where its bits are promised. Registers are
// numbered by hand.
package main

import (
	"flag"
	"log"
	"os"
)

func main() {
	out := flag.String("out", "", "assembly file")
	stubs := flag.String("stubs", "", "Go declarations")
	flag.Parse()
	p := &program{}
	for _, bits := range []int{8, 4} {
		for _, rows := range []int{1, 2, 4} {
			quant(p, bits, rows)
		}
	}
	quantize(p)
	quantizeWide(p)
	quantizeVector(p)
	for _, rows := range []int{1, 2, 4} {
		half(p, rows)
	}
	for _, rows := range []int{1, 4} {
		gemm(p, rows)
	}
	for _, e := range []element{f32, f16, i8} {
		dots(p, e)
		weigh(p, e)
	}
	vectors(p)
	for name, text := range map[string]string{*out: p.assembly(), *stubs: p.declarations()} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
