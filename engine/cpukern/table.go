package cpukern

// A table is rows of which few are read at a time: embeddings. What a file holds in the precision asked for stays a view
// of its mapping, where that is aligned, so a table must not outlive its Checkpoint; all else is rounded into memory of
// its own, row by row.
//
//	Q8, Q4  per group of 32 inputs: a float16 scale, then 32 or 16 bytes: integers, or two of them as value+8, input i in
//	        the low and input i+16 in the high half of byte i. The last group of a row is filled up.

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/weights"
)

type table struct {
	holding
	rows, cols int
	format     tableFormat
	data       []byte
	own        bool // data is memory of its own, not a view
}

// tableFormat is how a row is stored.
type tableFormat uint8

const (
	tableF32 tableFormat = iota
	tableF16
	tableBF16
	tableQ8
	tableQ4
)

const scaleSize = 2 // bytes of a group's float16 scale

func (t *table) Rows() int { return t.rows }
func (t *table) Cols() int { return t.cols }

func (t *table) Free() {
	if t.release() {
		if t.own {
			t.drop(t.data)
		}
		t.data = nil
	}
}

func (b *backend) Table(p kern.Precision, source *weights.Tensor) (kern.Matrix, error) {
	return b.newTable(kern.NoShelf{}, p, source)
}

func (b *backend) newTable(shelf kern.Shelf, p kern.Precision, source *weights.Tensor) (kern.Matrix, error) {
	if err := b.checkTensor("table", source); err != nil {
		return nil, err
	}
	if len(source.Shape) != 2 {
		return nil, fmt.Errorf("cpukern: table: %s: got shape %v, want [rows, width]", source.Name, source.Shape)
	}
	stored := storedFormat(source.DType)
	t := &table{rows: source.Shape[0], cols: source.Shape[1], format: stored}
	switch p {
	case kern.Stored:
	case kern.F32:
		t.format = tableF32
	case kern.F16:
		t.format = tableF16
	case kern.Q8:
		t.format = tableQ8
	case kern.Q4:
		t.format = tableQ4
	default:
		return nil, fmt.Errorf("cpukern: table: got precision %d, want %d to %d", p, kern.Stored, kern.Q4)
	}
	name := kern.ShelfName(fmt.Sprintf("table %d", t.format), source)
	if t.format == stored && t.rows*t.rowBytes() == len(source.Data) && littleEndian && aligned(source.Data) {
		t.data = source.Data
	} else if t.data = shelf.Take(name, kern.Product(t.rows, t.rowBytes())); t.data != nil {
		t.own, t.view = true, t.data
	} else if err := t.copyOf(source); err != nil {
		return nil, err
	} else {
		shelf.Put(name, t.data)
	}
	t.hold(b, int64(len(t.data)))
	return t, nil
}

// storedFormat holds every value of the type; of float64 and integers, as near as float32 can.
func storedFormat(d weights.DType) tableFormat {
	switch d {
	case weights.F16:
		return tableF16
	case weights.BF16:
		return tableBF16
	}
	return tableF32
}

// aligned reports whether data may be looked at as any of the numbers of a table.
func aligned(data []byte) bool { return uintptr(unsafe.Pointer(&data[0]))%4 == 0 }

func (t *table) rowBytes() int {
	groups := ceilDiv(t.cols, weights.GroupSize)
	return [...]int{
		tableF32: 4 * t.cols, tableF16: 2 * t.cols, tableBF16: 2 * t.cols,
		tableQ8: groups * (scaleSize + weights.GroupSize), tableQ4: groups * (scaleSize + weights.GroupSize/2),
	}[t.format]
}

// copyOf rounds the source into memory of its own.
func (t *table) copyOf(source *weights.Tensor) error {
	size := kern.Product(t.rows, t.rowBytes())
	if size > kern.MaxElements {
		return fmt.Errorf("cpukern: table: %s: got [%d, %d], want at most %d bytes", source.Name, t.rows, t.cols, kern.MaxElements)
	}
	var err error
	if t.data, err = newMemory(size); err != nil {
		return fmt.Errorf("cpukern: table: %s: %d bytes of memory: %w", source.Name, size, err)
	}
	t.own = true
	row := make([]float32, t.cols)
	source = source.Settled()
	for r := range t.rows {
		source.Decode(row, r*t.cols)
		if err := t.put(r, row); err != nil {
			freeMemory(t.data)
			return fmt.Errorf("cpukern: table: %s: row %d: %w", source.Name, r, err)
		}
	}
	return nil
}

// put writes one row.
func (t *table) put(r int, row []float32) error {
	dst := t.row(r)
	switch t.format {
	case tableF32:
		copy(floatsOf(dst), row)
	case tableF16:
		for i, v := range row {
			halvesOf(dst)[i] = weights.F32ToF16(v)
		}
	case tableBF16: // only of a bfloat16 source: the upper half is the whole number
		for i, v := range row {
			halvesOf(dst)[i] = uint16(math.Float32bits(v) >> 16)
		}
	case tableQ8, tableQ4:
		q, err := weights.Quantize(row, t.cols, t.bits())
		if err != nil {
			return err
		}
		putGroups(dst, q)
	}
	return nil
}

func putGroups(dst []byte, q *weights.Quantized) {
	values := q.Values
	for _, scale := range q.Scales {
		binary.LittleEndian.PutUint16(dst, scale)
		dst = dst[scaleSize:]
		n := min(len(values), weights.GroupSize)
		for i, v := range values[:n] {
			switch {
			case q.Bits == 8:
				dst[i] = byte(v)
			case i < weights.GroupSize/2:
				dst[i] = byte(v + 8)
			default:
				dst[i-weights.GroupSize/2] |= byte(v+8) << 4
			}
		}
		dst, values = dst[weights.GroupSize*q.Bits/8:], values[n:]
	}
}

func (t *table) bits() int {
	if t.format == tableQ4 {
		return 4
	}
	return 8
}

func (t *table) row(r int) []byte {
	size := t.rowBytes()
	return t.data[r*size:][:size]
}

// widen writes row r as float32 into dst, which holds cols.
func (t *table) widen(k *simd.Kernels, dst []float32, r int) {
	data := t.row(r)
	switch t.format {
	case tableF32:
		copy(dst, floatsOf(data))
	case tableF16:
		k.Widen(dst, halvesOf(data))
	case tableBF16:
		for i, h := range halvesOf(data) {
			dst[i] = math.Float32frombits(uint32(h) << 16)
		}
	case tableQ8:
		widenGroups(dst, data, 8)
	case tableQ4:
		widenGroups(dst, data, 4)
	}
}

func widenGroups(dst []float32, data []byte, bits int) {
	for len(dst) > 0 {
		n := min(len(dst), weights.GroupSize)
		scale := weights.F16ToF32(binary.LittleEndian.Uint16(data))
		group := data[scaleSize:][:weights.GroupSize*bits/8]
		for i := range dst[:n] {
			switch {
			case bits == 8:
				dst[i] = float32(int8(group[i])) * scale
			case i < weights.GroupSize/2:
				dst[i] = float32(int(group[i]&15)-8) * scale
			default:
				dst[i] = float32(int(group[i-weights.GroupSize/2]>>4)-8) * scale
			}
		}
		dst, data = dst[n:], data[scaleSize+len(group):]
	}
}
