//go:build unix

package simd

// Operands that end right before, or begin right after, a page that may not be touched: any access beyond them faults.

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded returns room for n elements between two forbidden pages, close to the upper one if high, else to the lower.
func guarded[T any](t *testing.T, high bool, n int) []T {
	var zero T
	size, page := n*int(unsafe.Sizeof(zero)), os.Getpagesize()
	inner := ceilDiv(size, page) * page
	region, err := unix.Mmap(-1, 0, inner+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(region) })
	for _, edge := range [][]byte{region[:page], region[page+inner:]} {
		if err := unix.Mprotect(edge, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	at := page
	if high {
		at += inner - size
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&region[at])), n)
}

// guards copies values to memory of that kind.
type guards struct {
	*testing.T
	high bool
}

func copied[T any](g guards, values []T) []T {
	c := guarded[T](g.T, g.high, len(values))
	copy(c, values)
	return c
}

func TestGuardPages(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		for _, high := range []bool{false, true} {
			g := guards{t, high}
			for _, s := range []struct{ n, k int }{{1, 1}, {16, 64}, {17, 33}, {40, 130}} {
				for _, rows := range []int{1, 2, 4, 6, 8, 12} {
					g.products(k, s.n, s.k, rows)
				}
			}
			for _, n := range []int{1, 7, 8, 9, 33} {
				g.vectors(k, n)
				for _, width := range []int{5, 8, 64, 72} {
					g.attention(k, n, width)
				}
			}
		}
	})
}

func (g guards) products(k *Kernels, n, depth, rows int) {
	x := copied(g, spiky(1, rows*depth, 100))
	dst := guarded[float32](g.T, g.high, rows*n)
	for _, bits := range []int{8, 4} {
		w, _ := packed(g.T, bits, n, depth)
		tiles := guarded[byte](g.T, g.high, QuantizedBytes(rows, depth))
		k.Quantize(tiles, bits, x, depth, rows, depth)
		k.Linear(Linear{dst, n, copied(g, w), bits, n, depth, tiles, rows})
	}
	half := guarded[uint16](g.T, g.high, packedBytes(16, n, depth)/2)
	k.LinearF16(LinearF16{dst, n, half, n, depth, x, depth, rows})
	w := guarded[float32](g.T, g.high, GemmFloats(n, depth))
	k.Gemm(Gemm{dst, n, w, GemmPanelRows * depth, n, depth, x, depth, rows})
}

func (g guards) vectors(k *Kernels, n int) {
	x, y, w, b := copied(g, random(1, n)), copied(g, random(2, n)), copied(g, random(3, n)), copied(g, random(4, n))
	for _, f := range []func([]float32){k.GELU, k.Sigmoid, k.Tanh, k.Softmax} {
		f(x)
	}
	k.Scale(x, 0.5)
	k.Add(x, y)
	k.ELU(x, y)
	k.LayerNorm(x, y, w, b, 1e-5)
	k.RMSNorm(x, y, w, 1e-5)
	half := guarded[uint16](g.T, g.high, n)
	k.Narrow(half, y)
	k.Widen(x, half)
	k.ReadSum(guarded[byte](g.T, g.high, 256*n))
}

func (g guards) attention(k *Kernels, n, width int) {
	c := newCache(k, 1, n, width, width)
	q, p := copied(g, random(2, width)), copied(g, random(3, n))
	scores, dst := guarded[float32](g.T, g.high, n), guarded[float32](g.T, g.high, width)
	floats, halves := copied(g, c.floats), copied(g, c.halves)
	ints, scales := copied(g, c.ints), copied(g, c.scales)
	k.QuantizeVector(ints, floats)
	k.Dots(scores, q, floats, width)
	k.DotsF16(scores, q, halves, width)
	k.DotsI8(scores, q, ints, scales, width)
	k.Weigh(dst, p, floats, width)
	k.WeighF16(dst, p, halves, width)
	k.WeighI8(dst, p, ints, scales, width)
}

// TestGuardFaults: the pages do forbid, or the test above would prove nothing.
func TestGuardFaults(t *testing.T) {
	room := guarded[byte](t, true, 3)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() == nil {
			t.Error("got no fault one byte beyond")
		}
	}()
	_ = fmt.Sprint(*(*byte)(unsafe.Add(unsafe.Pointer(&room[0]), 3)))
}
