package weights

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
)

func TestDecodeEveryDType(t *testing.T) {
	tests := []struct {
		dtype DType
		data  []byte
		want  []float32
	}{
		{F32, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, []float32{1, -2}},
		{F16, []byte{0, 0x3c, 0, 0xc0}, []float32{1, -2}},
		{BF16, []byte{0x80, 0x3f, 0, 0xc0}, []float32{1, -2}},
		{F64, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0}, []float32{1, -2}},
		{I32, []byte{1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff}, []float32{1, -2}},
		{I64, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, []float32{1, -2}},
		{U8, []byte{1, 254}, []float32{1, 254}},
	}
	for _, test := range tests {
		tensor := &Tensor{DType: test.dtype, Shape: []int{2}, Data: test.data}
		if got := tensor.Floats(); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.dtype, got, test.want)
		}
		one := make([]float32, 1)
		if tensor.Decode(one, 1); one[0] != test.want[1] {
			t.Errorf("%s: element 1 is %v, want %v", test.dtype, one[0], test.want[1])
		}
		ints, err := tensor.Ints()
		if isInt := test.dtype == I32 || test.dtype == I64; isInt != (err == nil) || isInt && !slices.Equal(ints, []int32{1, -2}) {
			t.Errorf("%s: Ints: got %v, %v", test.dtype, ints, err)
		}
	}
}

func TestIntsRefuseWideNumbers(t *testing.T) {
	wide := &Tensor{Name: "ids", DType: I64, Shape: []int{1}, Data: binary.LittleEndian.AppendUint64(nil, 1<<31)}
	if _, err := wide.Ints(); err == nil {
		t.Error("2^31 was taken for an int32")
	}
}

// Every half against the definition: sign · 2^(e-15) · 1.m, or sign · 2^-14 · 0.m where e is 0.
func TestF16ToF32(t *testing.T) {
	for bits := range 1 << 16 {
		sign, e, m := 1-2*float64(bits>>15), bits>>10&31, float64(bits&1023)/1024
		want := sign * math.Ldexp(1+m, e-15)
		switch {
		case e == 0:
			want = sign * math.Ldexp(m, -14)
		case e == 31 && m == 0:
			want = math.Inf(int(sign))
		case e == 31:
			want = math.NaN()
		}
		got := float64(F16ToF32(uint16(bits)))
		if got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Fatalf("%#04x: got %g, want %g", bits, got, want)
		}
	}
	if bits := math.Float32bits(F16ToF32(0x8000)); bits != 0x80000000 {
		t.Errorf("minus zero: got %#x", bits)
	}
}

func TestRows(t *testing.T) {
	all := FromFloats("all", []float32{1, 2, 3, 4, 5, 6}, 3, 2)
	part := all.Rows("part", 1, 3)
	if part.Name != "part" || !slices.Equal(part.Shape, []int{2, 2}) || !slices.Equal(part.Floats(), []float32{3, 4, 5, 6}) {
		t.Errorf("got %s %v %v", part.Name, part.Shape, part.Floats())
	}
}
