package simd

// Bytes per second of the products at the shapes of the small, medium and large decoder, from the second-level cache and
// from memory; BenchmarkPass reads the same bytes with a plain read beside it, in the same run.

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"segue/weights"
)

func eachBench(b *testing.B, bench func(b *testing.B, k *Kernels)) {
	for _, isa := range Available()[1:] {
		k, err := New(isa)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(isa.String(), func(b *testing.B) { bench(b, k) })
	}
}

// filled is a packed weight of arbitrary bytes with finite scales: 0x2c2c is the half 0.065.
func filled(bytes int) []byte {
	w := hugePages(bytes)
	for i := range w {
		w[i] = 0x2c
	}
	return w
}

// BenchmarkLinear: decoder widths 1024, 1536, 2048; 256 KB of weight stay in the cache, 64 MB do not.
func BenchmarkLinear(b *testing.B) {
	eachBench(b, func(b *testing.B, k *Kernels) {
		for _, bits := range []int{8, 4} {
			for _, depth := range []int{1024, 1536, 2048} {
				for _, size := range []int{256 << 10, 64 << 20} {
					for _, rows := range []int{1, 2, 4, 8, 12} {
						n := size / PanelBytes(bits, depth) * PanelRows
						name := fmt.Sprintf("q%d/K=%d/%dKB/rows=%d", bits, depth, size>>10, rows)
						b.Run(name, func(b *testing.B) { benchLinear(b, k, bits, n, depth, random(1, rows*depth)) })
						if bits == 8 {
							b.Run(name+"/wide", func(b *testing.B) { benchLinear(b, k, bits, n, depth, allWide(rows*depth)) })
						}
					}
				}
			}
		}
	})
}

// allWide has one number in each group and nothing else, so that all groups are wide.
func allWide(n int) []float32 {
	x := make([]float32, n)
	for i := 0; i < n; i += weights.GroupSize {
		x[i] = 1
	}
	return x
}

func benchLinear(b *testing.B, k *Kernels, bits, n, depth int, x []float32) {
	rows := len(x) / depth
	w, tiles := filled(packedBytes(bits, n, depth)), make([]byte, QuantizedBytes(rows, depth))
	k.Quantize(tiles, bits, x, depth, rows, depth)
	a := Linear{make([]float32, rows*n), n, w, bits, n, depth, tiles, rows}
	b.SetBytes(int64(len(w)))
	for b.Loop() {
		k.Linear(a)
	}
}

// BenchmarkPass alternates a pass over 300 MB of weight with a plain read of the same bytes, both shared out among the
// threads; read/op is the read's time over that of the pass: 1 means that memory sets the speed.
func BenchmarkPass(b *testing.B) {
	const depth, size = 1024, 300 << 20
	all := filled(size)
	eachBench(b, func(b *testing.B, k *Kernels) {
		for _, threads := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
			for _, bits := range []int{8, 4, 16} {
				for _, rows := range []int{1, 2, 8} {
					b.Run(fmt.Sprintf("threads=%d/%dbits/rows=%d", threads, bits, rows), func(b *testing.B) {
						benchPass(b, k, all, threads, bits, depth, rows)
					})
				}
			}
		}
	})
}

func benchPass(b *testing.B, k *Kernels, all []byte, threads, bits, depth, rows int) {
	panel := PanelBytes(bits, depth)
	share := len(all) / panel / threads
	passes, reads := make([]func(), threads), make([]func(), threads)
	for i := range threads {
		w := all[i*share*panel:][:share*panel]
		passes[i] = passOver(k, w, bits, share*PanelRows, depth, rows)
		reads[i] = func() { k.ReadSum(w) }
	}
	b.SetBytes(int64(threads * share * panel))
	read := time.Duration(0)
	for b.Loop() {
		together(passes)
		b.StopTimer()
		start := time.Now()
		together(reads)
		read += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(read.Seconds()/b.Elapsed().Seconds(), "read/op")
}

func together(parts []func()) {
	var done sync.WaitGroup
	for _, part := range parts[1:] {
		done.Go(part)
	}
	parts[0]()
	done.Wait()
}

func passOver(k *Kernels, w []byte, bits, n, depth, rows int) func() {
	x, dst := random(1, rows*depth), make([]float32, rows*n)
	if bits == 16 {
		a := LinearF16{dst, n, unsafe.Slice((*uint16)(unsafe.Pointer(&w[0])), len(w)/2), n, depth, x, depth, rows}
		return func() { k.LinearF16(a) }
	}
	tiles := make([]byte, QuantizedBytes(rows, depth))
	k.Quantize(tiles, bits, x, depth, rows, depth)
	a := Linear{dst, n, w, bits, n, depth, tiles, rows}
	return func() { k.Linear(a) }
}

// BenchmarkGemm: bytes are multiplications here, so MB/s reads as millions of them: half the MFLOPS.
func BenchmarkGemm(b *testing.B) {
	eachBench(b, func(b *testing.B, k *Kernels) {
		for _, s := range []struct{ n, depth, rows int }{{256, 448, 48}, {64, 384, 240}, {1024, 1024, 24}, {1024, 1024, 1}, {32, 64, 240}} {
			b.Run(fmt.Sprintf("N=%d/K=%d/rows=%d", s.n, s.depth, s.rows), func(b *testing.B) {
				w, x := make([]float32, GemmFloats(s.n, s.depth)), random(1, s.rows*s.depth)
				a := Gemm{make([]float32, s.rows*s.n), s.n, w, GemmPanelRows * s.depth, s.n, s.depth, x, s.depth, s.rows}
				b.SetBytes(int64(s.n * s.depth * s.rows))
				for b.Loop() {
					k.Gemm(a)
				}
			})
		}
	})
}

func BenchmarkAttention(b *testing.B) {
	eachBench(b, func(b *testing.B, k *Kernels) {
		const width, n = 64, 1000
		c, q, p := newCache(k, 1, n, width, width), random(2, width), random(3, n)
		for _, f := range []struct {
			name string
			size int
			of   func()
		}{
			{"dots/f16", 2, func() { k.DotsF16(p, q, c.halves, width) }},
			{"dots/i8", 1, func() { k.DotsI8(p, q, c.ints, c.scales, width) }},
			{"weigh/f16", 2, func() { k.WeighF16(q, p, c.halves, width) }},
			{"weigh/i8", 1, func() { k.WeighI8(q, p, c.ints, c.scales, width) }},
			{"softmax", 4, func() { k.Softmax(p) }},
		} {
			b.Run(f.name, func(b *testing.B) {
				items := n * width
				if f.name == "softmax" {
					items = n
				}
				b.SetBytes(int64(f.size * items))
				for b.Loop() {
					f.of()
				}
			})
		}
	})
}

func BenchmarkVector(b *testing.B) {
	eachBench(b, func(b *testing.B, k *Kernels) {
		const n = 4096
		x, y, w, z := random(1, n), random(2, n), random(3, n), make([]float32, n)
		half, tiles := make([]uint16, n), make([]byte, QuantizedBytes(1, n))
		for _, f := range []struct {
			name string
			of   func()
		}{
			{"quantize", func() { k.Quantize(tiles, 8, x, n, 1, n) }},
			{"gelu", func() { copy(z, x); k.GELU(z) }}, // in place again and again, numbers would vanish
			{"elu", func() { k.ELU(y, x) }},
			{"tanh", func() { copy(z, x); k.Tanh(z) }},
			{"layernorm", func() { k.LayerNorm(y, x, w, w, 1e-5) }},
			{"widen", func() { k.Widen(y, half) }},
			{"narrow", func() { k.Narrow(half, x) }},
		} {
			b.Run(f.name, func(b *testing.B) {
				b.SetBytes(4 * n)
				for b.Loop() {
					f.of()
				}
			})
		}
	})
}
