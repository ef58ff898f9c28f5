package simd

// Every kernel of every instruction set of this machine, at odd shapes, against plain Go: exactly where the arithmetic is
// integer or its order is promised, within rounding elsewhere.

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"segue/weights"
)

// each runs test for all instruction sets.
func each(t *testing.T, test func(t *testing.T, k *Kernels)) {
	for _, isa := range Available() {
		k, err := New(isa)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(isa.String(), func(t *testing.T) { test(t, k) })
	}
}

func plainGo(t *testing.T) *Kernels {
	k, err := New(Generic)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// sameBits fails at the first difference.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d: got %g, want %g", what, i, got[i], want[i])
		}
	}
}

// near fails where the error exceeds bound.
func near(t *testing.T, what string, got, want []float32, bound float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i])-float64(want[i])) <= bound) {
			t.Fatalf("%s: element %d: got %g, want %g", what, i, got[i], want[i])
		}
	}
}

// packedBytes is the size of a packed weight [rows, cols].
func packedBytes(bits, rows, cols int) int { return ceilDiv(rows, PanelRows) * PanelBytes(bits, cols) }

func packed(t testing.TB, bits, n, k int) (w []byte, q *weights.Quantized) {
	q, err := weights.Quantize(random(uint64(n*k), n*k), k, bits)
	if err != nil {
		t.Fatal(err)
	}
	w = make([]byte, packedBytes(bits, n, k))
	PackQuantized(w, q)
	return w, q
}

// spiky is random with one number in so many that stands out: groups of it are wide in some rows and not in others.
func spiky(seed uint64, n, every int) []float32 {
	v := random(seed, n)
	for i := int(seed) % every; i < n; i += every {
		v[i] *= 40
	}
	return v
}

var linearShapes = []struct{ n, k int }{{1, 1}, {15, 31}, {16, 32}, {17, 33}, {31, 64}, {48, 65}, {33, 96}, {64, 100}, {100, 256}, {320, 1000}}

var rowCounts = []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 25}

func TestLinear(t *testing.T) {
	reference := plainGo(t)
	each(t, func(t *testing.T, k *Kernels) {
		for _, bits := range []int{8, 4} {
			for _, s := range linearShapes {
				w, _ := packed(t, bits, s.n, s.k)
				x := spiky(3, 25*(s.k+3), 157)
				alone := make([]float32, 25*s.n)
				for r := range 25 {
					one := make([]byte, QuantizedBytes(1, s.k))
					reference.Quantize(one, bits, x[r*(s.k+3):], s.k+3, 1, s.k)
					reference.Linear(Linear{Dst: alone[r*s.n:], Stride: s.n, W: w, Bits: bits, N: s.n, K: s.k, X: one, Rows: 1})
				}
				for _, rows := range rowCounts {
					tiles := make([]byte, QuantizedBytes(rows, s.k))
					k.Quantize(tiles, bits, x, s.k+3, rows, s.k)
					stride := s.n + 5
					dst := make([]float32, rows*stride)
					k.Linear(Linear{Dst: dst, Stride: stride, W: w, Bits: bits, N: s.n, K: s.k, X: tiles, Rows: rows})
					for r := range rows {
						what := fmt.Sprintf("q%d [%d, %d], row %d of %d", bits, s.n, s.k, r, rows)
						sameBits(t, what, dst[r*stride:][:s.n], alone[r*s.n:][:s.n])
						sameBits(t, what+", behind it", dst[r*stride+s.n:][:5], make([]float32, 5))
					}
				}
			}
		}
	})
}

// TestLinearValue holds the generic kernel itself to the weights and activations that were rounded.
func TestLinearValue(t *testing.T) {
	k := plainGo(t)
	for _, bits := range []int{8, 4} {
		for _, s := range linearShapes {
			w, q := packed(t, bits, s.n, s.k)
			x, row := random(3, s.k), make([]float32, s.k)
			tile, dst := make([]byte, QuantizedBytes(1, s.k)), make([]float32, s.n)
			k.Quantize(tile, bits, x, s.k, 1, s.k)
			k.Linear(Linear{Dst: dst, Stride: s.n, W: w, Bits: bits, N: s.n, K: s.k, X: tile, Rows: 1})
			wrong, signal := 0.0, 0.0
			for i := range s.n {
				q.Dequantize(row, i)
				want := 0.0
				for j, v := range row {
					want += float64(v) * float64(x[j])
				}
				wrong += (want - float64(dst[i])) * (want - float64(dst[i]))
				signal += want * want
			}
			if wrong > 1e-4*signal {
				t.Errorf("q%d [%d, %d]: error %.3g of the signal", bits, s.n, s.k, wrong/signal)
			}
		}
	}
}

// TestWide: one number that stands out does not cost the others their precision, wherever it is.
func TestWide(t *testing.T) {
	k := plainGo(t)
	const n, depth = 64, 200
	w, q := packed(t, 8, n, depth)
	wrong := func(x []float32) (sum float64) {
		tile, dst, row := make([]byte, QuantizedBytes(1, depth)), make([]float32, n), make([]float32, depth)
		k.Quantize(tile, 8, x, depth, 1, depth)
		k.Linear(Linear{Dst: dst, Stride: n, W: w, Bits: 8, N: n, K: depth, X: tile, Rows: 1})
		for i := range n {
			q.Dequantize(row, i)
			want := 0.0
			for j, v := range row {
				want += float64(v) * float64(x[j])
			}
			sum += (want - float64(dst[i])) * (want - float64(dst[i]))
		}
		return sum
	}
	x := random(3, depth)
	usual := wrong(x)
	for _, at := range []int{0, 31, 77, depth - 1} {
		y := append([]float32(nil), x...)
		y[at] = -60
		if got := wrong(y); got > 1.2*usual {
			t.Errorf("squared error %.3g with input %d far from the others, %.3g without", got, at, usual)
		}
	}
}

func TestQuantizeTiles(t *testing.T) {
	reference := plainGo(t)
	each(t, func(t *testing.T, k *Kernels) {
		for _, cols := range []int{1, 32, 33, 64, 70, 257} {
			x := spiky(5, cols, 50)
			for i := range x {
				if cols < 257 {
					break
				}
				x[i] *= float32(math.Pow(10, float64(i/32%9*9-36))) // groups of zero, tiny and huge numbers
			}
			got, want := make([]byte, QuantizedBytes(1, cols)), make([]byte, QuantizedBytes(1, cols))
			k.Quantize(got, 8, x, cols, 1, cols)
			reference.Quantize(want, 8, x, cols, 1, cols)
			if string(got) != string(want) {
				t.Errorf("%d columns: tiles differ", cols)
			}
		}
	})
}

// TestFusedAdd compares with unlimited precision, most often where rounding twice would go wrong: near ties.
func TestFusedAdd(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 7))
	pick := func() float32 {
		f := float32(1 + float64(r.IntN(8))/(1<<23))
		return float32(math.Ldexp(float64(f), r.IntN(60)-30)) * float32(1-2*r.IntN(2))
	}
	for range 100000 {
		a, b, c := pick(), pick(), pick()
		exact := new(big.Float).SetPrec(300).SetFloat64(float64(a) * float64(b))
		want, _ := exact.Add(exact, new(big.Float).SetFloat64(float64(c))).Float32()
		if got := fusedAdd(a, b, c); got != want {
			t.Fatalf("fusedAdd(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
}

func TestLinearF16(t *testing.T) {
	reference := plainGo(t)
	each(t, func(t *testing.T, k *Kernels) {
		for _, s := range linearShapes {
			w := make([]uint16, packedBytes(16, s.n, s.k)/2)
			PackF16(w, random(7, s.n*s.k), s.k)
			x, stride := random(8, 25*(s.k+2)), s.n+3
			want := make([]float32, 25*stride)
			reference.LinearF16(LinearF16{want, stride, w, s.n, s.k, x, s.k + 2, 25})
			alone := make([]float32, 25*stride)
			for r := range 25 {
				k.LinearF16(LinearF16{alone[r*stride:], stride, w, s.n, s.k, x[r*(s.k+2):], s.k + 2, 1})
			}
			near(t, fmt.Sprintf("f16 [%d, %d]", s.n, s.k), alone, want, 1e-5*math.Sqrt(float64(s.k))*4)
			for _, rows := range rowCounts {
				got := make([]float32, rows*stride)
				k.LinearF16(LinearF16{got, stride, w, s.n, s.k, x, s.k + 2, rows})
				sameBits(t, fmt.Sprintf("f16 [%d, %d], %d rows", s.n, s.k, rows), got, alone[:rows*stride])
			}
		}
	})
}

func TestGemm(t *testing.T) {
	reference := plainGo(t)
	each(t, func(t *testing.T, k *Kernels) {
		for _, s := range append(linearShapes, struct{ n, k int }{40, 1300}) {
			w := make([]float32, GemmFloats(s.n, s.k))
			PackGemm(w, random(9, s.n*s.k), s.k)
			for _, xStride := range []int{s.k + 1, (s.k + 1) / 2} { // rows apart, rows that overlap
				x, stride := random(10, 25*xStride+s.k), s.n+3
				product := func(k *Kernels, dst []float32, first, rows int) []float32 {
					k.Gemm(Gemm{dst, stride, w, GemmPanelRows * s.k, s.n, s.k, x[first*xStride:], xStride, rows})
					return dst
				}
				want := product(reference, random(11, 25*stride), 0, 25)
				alone := random(11, 25*stride)
				for r := range 25 {
					product(k, alone[r*stride:], r, 1)
				}
				near(t, fmt.Sprintf("gemm [%d, %d]", s.n, s.k), alone, want, 1e-5*math.Sqrt(float64(s.k))*4)
				for _, rows := range rowCounts {
					got := product(k, random(11, 25*stride), 0, rows)
					sameBits(t, fmt.Sprintf("gemm [%d, %d], %d rows", s.n, s.k, rows), got[:rows*stride], alone[:rows*stride])
				}
			}
		}
	})
}

// TestGemmParts: a product in two parts along K, as the taps of a dilated convolution are, has the bits of the whole.
func TestGemmParts(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels) {
		const n, depth, rows, cut = 40, 96, 7, 32
		w, x := make([]float32, GemmFloats(n, depth)), random(12, rows*depth)
		PackGemm(w, random(13, n*depth), depth)
		whole, parts := make([]float32, rows*n), make([]float32, rows*n)
		a := Gemm{whole, n, w, GemmPanelRows * depth, n, depth, x, depth, rows}
		k.Gemm(a)
		a.Dst, a.K = parts, cut
		k.Gemm(a)
		a.W, a.X, a.K = w[cut*GemmPanelRows:], x[cut:], depth-cut
		k.Gemm(a)
		sameBits(t, "parts", parts, whole)
	})
}

// FuzzLinear: any shape gives the bits of plain Go on every instruction set.
func FuzzLinear(f *testing.F) {
	f.Add(uint8(17), uint8(33), uint8(3), true)
	f.Add(uint8(64), uint8(200), uint8(13), false)
	reference, _ := New(Generic)
	f.Fuzz(func(t *testing.T, n, depth, rows uint8, eight bool) {
		if n == 0 || depth == 0 || rows == 0 || rows > 30 {
			t.Skip("nothing to do, or too much")
		}
		bits := 4
		if eight {
			bits = 8
		}
		w, _ := packed(t, bits, int(n), int(depth))
		product := func(k *Kernels) []float32 {
			tiles, dst := make([]byte, QuantizedBytes(int(rows), int(depth))), make([]float32, int(rows)*int(n))
			k.Quantize(tiles, bits, spiky(4, int(rows)*int(depth), 90), int(depth), int(rows), int(depth))
			k.Linear(Linear{dst, int(n), w, bits, int(n), int(depth), tiles, int(rows)})
			return dst
		}
		want := product(reference)
		each(t, func(t *testing.T, k *Kernels) { sameBits(t, "product", product(k), want) })
	})
}
