package weights

import (
	"math"
	"math/rand/v2"
	"testing"
)

func gaussian(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64()) * 0.02
	}
	return v
}

// heavyTailed draws from Student's t with four degrees of freedom, the like of outlier-ridden projections.
func heavyTailed(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		squares := 0.0
		for range 4 {
			x := r.NormFloat64()
			squares += x * x
		}
		v[i] = float32(r.NormFloat64() / math.Sqrt(squares/4) * 0.02)
	}
	return v
}

// relative is the squared error over the squared signal.
func relative(values []float32, round func(dst []int8, group []float32, largest float32) uint16) float64 {
	dst := make([]int8, GroupSize)
	wrong, signal := 0.0, 0.0
	for at := 0; at < len(values); at += GroupSize {
		group := values[at : at+GroupSize]
		scale := F16ToF32(round(dst, group, extreme(group)))
		for i, v := range group {
			d := float64(v) - float64(dst[i])*float64(scale)
			wrong += d * d
			signal += float64(v) * float64(v)
		}
	}
	return wrong / signal
}

// nearest4 is 4 bits without a search: the largest magnitude becomes -8, the end of the range that has a step more.
func nearest4(dst []int8, group []float32, largest float32) uint16 {
	return roundTo(dst, group, largest/-8, -8, 7)
}

func TestRoundingError(t *testing.T) {
	for _, c := range []struct {
		name                         string
		draw                         func(*rand.Rand, int) []float32
		eight, plain, searched, gain float64 // bounds
	}{
		{"gaussian", gaussian, 3e-5, 7.6e-3, 6.7e-3, 0.9},
		{"heavy tailed", heavyTailed, 5.5e-5, 1.36e-2, 1.24e-2, 0.93},
	} {
		values := c.draw(rand.New(rand.NewPCG(1, 2)), 1<<17)
		eight, plain, searched := relative(values, nearest8), relative(values, nearest4), relative(values, search4)
		t.Logf("%s: q8 %.3g, q4 plain %.3g, q4 searched %.3g", c.name, eight, plain, searched)
		if eight > c.eight || plain > c.plain || searched > c.searched || searched > c.gain*plain {
			t.Errorf("%s: q8 %.3g, q4 plain %.3g, searched %.3g; want at most %.3g, %.3g, %.3g", c.name, eight, plain, searched,
				c.eight, c.plain, c.searched)
		}
	}
}

func TestQuantize(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, bits := range []int{8, 4} {
		for _, cols := range []int{1, 31, 32, 33, 100} {
			values := gaussian(r, 3*cols)
			q, err := Quantize(values, cols, bits)
			if err != nil {
				t.Fatal(err)
			}
			if q.Rows != 3 || len(q.Scales) != 3*q.Groups() {
				t.Fatalf("%d bits, %d columns: got %d rows, %d scales", bits, cols, q.Rows, len(q.Scales))
			}
			row := make([]float32, cols)
			for i := range 3 {
				alone, _ := Quantize(values[i*cols:][:cols], cols, bits)
				q.Dequantize(row, i)
				step := 0.06 * math.Pow(2, float64(8-bits)) / 127 * 1.6
				for j, v := range row {
					if math.Abs(float64(v-values[i*cols+j])) > step {
						t.Errorf("%d bits [%d, %d]: got %g, want %g", bits, i, j, v, values[i*cols+j])
					}
					if alone.Values[j] != q.Values[i*cols+j] {
						t.Fatalf("%d bits: row %d alone differs", bits, i)
					}
				}
			}
		}
	}
}

func TestQuantizeExtremes(t *testing.T) {
	for _, bits := range []int{8, 4} {
		for _, v := range []float32{0, 1e-45, 1e-38, 1e-9, 3e-6, 1e4, 1e30, math.MaxFloat32} {
			q, err := Quantize([]float32{v, -v, v / 2, 0}, 4, bits)
			if err != nil {
				t.Fatal(err)
			}
			low, high := int8(-127), int8(127)
			if bits == 4 {
				low, high = -8, 7
			}
			for _, got := range q.Values {
				if got < low || got > high {
					t.Errorf("%d bits of %g: got %d", bits, v, got)
				}
			}
			if s := F16ToF32(q.Scales[0]); s != s || math.IsInf(float64(s), 0) {
				t.Errorf("%d bits of %g: got scale %g", bits, v, s)
			}
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, bad := range [][]float32{{0, nan}, {nan, 0}, {inf, 1}, {1, -inf}} {
		if _, err := Quantize(bad, 2, 8); err == nil {
			t.Errorf("%v: got no error", bad)
		}
	}
	if _, err := Quantize(make([]float32, 5), 2, 8); err == nil {
		t.Error("five values in rows of two: got no error")
	}
	if _, err := Quantize(make([]float32, 4), 2, 5); err == nil {
		t.Error("five bits: got no error")
	}
}

func BenchmarkQuantize(b *testing.B) {
	values := gaussian(rand.New(rand.NewPCG(5, 6)), 16*1024)
	for _, bits := range []int{8, 4} {
		b.Run(map[int]string{8: "q8", 4: "q4"}[bits], func(b *testing.B) {
			b.SetBytes(int64(4 * len(values)))
			for b.Loop() {
				if _, err := Quantize(values, 1024, bits); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
