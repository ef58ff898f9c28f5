package cpukern

// Weights in the precision of the file. float32, float16 and bfloat16 tensors are views of the mapping where it is
// aligned; every other type becomes float32. Ops ask for windows of rows as float32.

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"segue/engine/kern"
	"segue/weights"
)

// matrix is [rows, cols], stacked from parts.
type matrix struct {
	holding
	rows, cols int
	parts      []part
}

// part holds consecutive rows in one precision: floats, or halves of the given dtype.
type part struct {
	first, rows int
	dtype       weights.DType
	floats      []float32
	halves      []uint16
}

func (m *matrix) Rows() int    { return m.rows }
func (m *matrix) Cols() int    { return m.cols }

func (m *matrix) Free() {
	if m.release() {
		m.parts = nil
	}
}

func (b *backend) Table(p kern.Precision, t *weights.Tensor) (kern.Matrix, error) {
	return b.Matrix(p, t)
}

func (b *backend) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	if p != kern.Stored {
		return nil, fmt.Errorf("cpukern: matrix: got precision %s, want %s", p, kern.Stored)
	}
	m := &matrix{}
	bytes := int64(0)
	for _, t := range parts {
		if err := b.checkTensor("matrix", t); err != nil {
			return nil, err
		}
		if len(t.Shape) != 2 || m.rows > 0 && t.Shape[1] != m.cols {
			return nil, fmt.Errorf("cpukern: matrix: %s: got shape %v, want [rows, %d]", t.Name, t.Shape, m.cols)
		}
		made := newPart(t)
		made.first = m.rows
		m.parts = append(m.parts, made)
		m.rows += t.Shape[0]
		m.cols = t.Shape[1]
		bytes += 4*int64(len(made.floats)) + 2*int64(len(made.halves))
	}
	if m.rows == 0 {
		return nil, fmt.Errorf("cpukern: matrix: no parts")
	}
	m.hold(b, bytes)
	return m, nil
}

func newPart(t *weights.Tensor) part {
	p := part{rows: t.Shape[0], dtype: t.DType}
	if t.DType == weights.F16 || t.DType == weights.BF16 {
		p.halves = halves(t.Data)
	} else {
		p.floats = t.Floats()
	}
	return p
}

// halves reads little-endian words: a view where memory allows it.
func halves(data []byte) []uint16 {
	if littleEndian && uintptr(unsafe.Pointer(&data[0]))%2 == 0 {
		return unsafe.Slice((*uint16)(unsafe.Pointer(&data[0])), len(data)/2)
	}
	out := make([]uint16, len(data)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(data[2*i:])
	}
	return out
}

// window is rows [from, to) as float32, in order: the rows themselves where they are stored so, else converted into
// scratch, which holds at least as many.
func (m *matrix) window(from, to int, scratch []float32) []float32 {
	for i := range m.parts {
		p := &m.parts[i]
		first, last := max(from, p.first), min(to, p.first+p.rows)
		if first >= last {
			continue
		}
		a, b := (first-p.first)*m.cols, (last-p.first)*m.cols
		if p.floats != nil && first == from && last == to {
			return p.floats[a:b]
		}
		p.widen(scratch[(first-from)*m.cols:(last-from)*m.cols], a)
	}
	return scratch[:(to-from)*m.cols]
}

// widen converts the elements from the given one on.
func (p *part) widen(dst []float32, from int) {
	switch {
	case p.floats != nil:
		copy(dst, p.floats[from:])
	case p.dtype == weights.F16:
		widenF16(dst, p.halves[from:])
	default:
		widenBF16(dst, p.halves[from:])
	}
}

func widenF16(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i, h := range src {
		if h&0x7c00-0x0400 >= 0x7800 { // zero, subnormal, infinite or NaN
			dst[i] = weights.F16ToF32(h)
			continue
		}
		bits := uint32(int16(h)) << 13 & 0x8fffe000 // sign, exponent and mantissa in their places
		dst[i] = math.Float32frombits(bits + (127-15)<<23)
	}
}

func widenBF16(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i, h := range src {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}
