// Package weights reads checkpoints: files of named tensors (safetensors, torch zip pickles), the two folder layouts
// that MusicGen comes in (Hugging Face, audiocraft), and one spelling of names and configuration for both.
//
//	folder ── Open ──► Checkpoint ── Bind ──► Binder.Tensor(name, shape) ──► model code
//
// Files are mapped, not read; a Tensor is a window of the mapping and lives until its Checkpoint is closed.
package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// DType is how a tensor's elements are stored, always little-endian.
type DType uint8

const (
	F32 DType = iota
	F16
	BF16
	F64
	I32
	I64
	U8
	I8
)

var dtypeNames = [...]string{F32: "F32", F16: "F16", BF16: "BF16", F64: "F64", I32: "I32", I64: "I64", U8: "U8", I8: "I8"}
var dtypeSizes = [...]int{F32: 4, F16: 2, BF16: 2, F64: 8, I32: 4, I64: 8, U8: 1, I8: 1}

func (d DType) String() string { return dtypeNames[d] }

// Size is the number of bytes of one element.
func (d DType) Size() int { return dtypeSizes[d] }

// Round is the nearest number to f that d can hold, as float32; for the float types.
func (d DType) Round(f float32) float32 {
	switch d {
	case F16:
		return F16ToF32(F32ToF16(f))
	case BF16:
		bits := math.Float32bits(f)
		return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
	}
	return f
}

// Tensor is a named array in row-major order. Data aliases the mapped file; it must not be written.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte // exactly Len()·DType.Size() bytes
	// Scales makes an I8 matrix one of real numbers: float16 [rows, groups], see grouped.go. nil for all others.
	Scales []byte
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Rows is a window of rows [from, to) of the first dimension, without a copy.
func (t *Tensor) Rows(name string, from, to int) *Tensor {
	row := t.Len() / t.Shape[0] * t.DType.Size()
	shape := append([]int{to - from}, t.Shape[1:]...)
	window := &Tensor{Name: name, DType: t.DType, Shape: shape, Data: t.Data[from*row : to*row]}
	if t.Scales != nil {
		scales := len(t.Scales) / t.Shape[0]
		window.Scales = t.Scales[from*scales : to*scales]
	}
	return window
}

// FromFloats makes a tensor of float32 values; it aliases values.
func FromFloats(name string, values []float32, shape ...int) *Tensor {
	t := &Tensor{Name: name, DType: F32, Shape: shape}
	if t.Len() != len(values) {
		panic(fmt.Sprintf("weights: %s: %d values for shape %v", name, len(values), shape)) // a bug of the caller, never input
	}
	if len(values) > 0 {
		t.Data = unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), 4*len(values))
	}
	return t
}

// Floats returns the elements as float32: a view of the file where it holds aligned float32, a converted copy otherwise.
func (t *Tensor) Floats() []float32 {
	if t.DType == F32 && len(t.Data) > 0 && uintptr(unsafe.Pointer(&t.Data[0]))%4 == 0 && littleEndian {
		return unsafe.Slice((*float32)(unsafe.Pointer(&t.Data[0])), len(t.Data)/4)
	}
	out := make([]float32, t.Len())
	t.Decode(out, 0)
	return out
}

var littleEndian = func() bool { x := uint16(1); return *(*byte)(unsafe.Pointer(&x)) == 1 }()

// Decode converts len(dst) elements, beginning with element from, to float32.
func (t *Tensor) Decode(dst []float32, from int) {
	if t.Scales != nil {
		t.decodeGroups(dst, from)
		return
	}
	data := t.Data[from*t.DType.Size():]
	switch t.DType {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		}
	case F16:
		for i := range dst {
			dst[i] = F16ToF32(binary.LittleEndian.Uint16(data[2*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case I64:
		for i := range dst {
			dst[i] = float32(int64(binary.LittleEndian.Uint64(data[8*i:])))
		}
	case U8:
		for i := range dst {
			dst[i] = float32(data[i])
		}
	case I8:
		for i := range dst {
			dst[i] = float32(int8(data[i]))
		}
	}
}

// Ints returns the elements of an integer tensor.
func (t *Tensor) Ints() ([]int32, error) {
	out := make([]int32, t.Len())
	for i := range out {
		switch t.DType {
		case I32:
			out[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
		case I64:
			v := int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
			if int64(int32(v)) != v {
				return nil, fmt.Errorf("weights: %s: %d does not fit in 32 bits", t.Name, v)
			}
			out[i] = int32(v)
		default:
			return nil, fmt.Errorf("weights: %s: got dtype %s, want integers", t.Name, t.DType)
		}
	}
	return out, nil
}

// F16ToF32 widens an IEEE 754 half, exactly, subnormals, infinities and NaN included.
func F16ToF32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, mantissa := uint32(h>>10&31), uint32(h&1023)
	switch exponent {
	case 0:
		f := float32(mantissa) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(f) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | mantissa<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | mantissa<<13)
}

// F32ToF16 rounds to the nearest half, ties to even; what is too large becomes infinite, NaN stays NaN.
func F32ToF16(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	magnitude := bits & 0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00 // NaN
	case magnitude >= 0x477ff000: // 65520 and more round beyond the largest half
		return sign | 0x7c00
	case magnitude < 0x38800000: // subnormal: adding 1/2 aligns the last bit and rounds
		half := math.Float32frombits(magnitude) + 0.5
		return sign | uint16(math.Float32bits(half)-math.Float32bits(0.5))
	}
	magnitude += 0xfff + magnitude>>13&1 // ties to even
	return sign | uint16((magnitude-0x38000000)>>13)
}
