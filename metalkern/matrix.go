package metalkern

// A matrix is a weight or an embedding table in one precision. A row is filled up with zeros to whole groups of 32, so that a
// thread reads 16 bytes or a group without looking:
//
//	F32, F16  [rows][groups·32] numbers
//	Q8        [panels][groups][8][32] signed bytes, then [panels][groups/4][8][4] float16 scales
//	Q4        [panels][groups][8][16] bytes, input i of a group as value+8 in bits 4·(i mod 8) of word i/8; then scales as Q8
//
// A panel is eight rows, of which a simdgroup reads a group at once: whole lines of a cache. Rows that the last panel does
// not have are zeros, and so are scales up to four.
// Stored keeps every value exactly: float16 as it is, all else as float32.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"segue/engine/kern"
	"segue/weights"
)

type matrix struct {
	holding
	rows, cols int
	precision  kern.Precision // F32, F16, Q8 or Q4
}

func (m *matrix) Rows() int { return m.rows }
func (m *matrix) Cols() int { return m.cols }

// groups of a row.
func (m *matrix) groups() int { return ceilDiv(m.cols, weights.GroupSize) }

const (
	// panelRows are those of a panel.
	panelRows = 8
	// panelScales of a row lie beside each other, and are read at once.
	panelScales = 4
	// mostRowBytes of a row without its scales: kernels count in 32 bits within two panels.
	mostRowBytes = math.MaxUint32 / (2 * panelRows)
)

// filled is the rows with those that fill up the last panel.
func (m *matrix) filled() int {
	if m.quantized() {
		return roundUp(m.rows, panelRows)
	}
	return m.rows
}

// scalePitch is how many scales a row has, with their filling.
func (m *matrix) scalePitch() int { return roundUp(m.groups(), panelScales) }

// rowBytes is the length of a row without its scales.
func (m *matrix) rowBytes() int {
	return m.groups() * weights.GroupSize * m.precision.Bits() / 8
}

func (m *matrix) quantized() bool { return m.precision.Grouped() }

// numbers and scales are the two parts of the memory, as operands.
func (m *matrix) numbers() region {
	return m.part(0, m.scalesFrom())
}

func (m *matrix) scales() region {
	if !m.quantized() {
		return region{}
	}
	return m.part(m.scalesFrom(), m.scalesFrom()+2*int64(m.filled())*int64(m.scalePitch()))
}

// size is the bytes of both.
func (m *matrix) size() int64 {
	return m.numbers().to - m.numbers().from + m.scales().to - m.scales().from
}

// scalesFrom is where in the matrix its scales begin.
func (m *matrix) scalesFrom() int64 { return int64(m.filled()) * int64(m.rowBytes()) }

func (b *backend) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(kern.NoShelf{}, "matrix", p, parts)
}

func (b *backend) Table(p kern.Precision, t *weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(kern.NoShelf{}, "table", p, []*weights.Tensor{t})
}

func (b *backend) newMatrix(shelf kern.Shelf, what string, p kern.Precision, parts []*weights.Tensor) (kern.Matrix, error) {
	m := &matrix{}
	var err error
	if m.rows, m.cols, m.precision, err = kern.WeightShape(p, parts...); err != nil {
		return nil, fmt.Errorf("metalkern: %s: %w", what, err)
	}
	size := kern.Product(m.filled(), m.rowBytes()+2*m.scalePitch())
	if size > kern.MaxElements {
		return nil, fmt.Errorf("metalkern: %s: got [%d, %d], want at most %d bytes", what, m.rows, m.cols, kern.MaxElements)
	}
	if m.rowBytes() > mostRowBytes {
		return nil, fmt.Errorf("metalkern: %s: got rows of %d bytes, want at most %d on a GPU", what, m.rowBytes(), mostRowBytes)
	}
	if err = b.fill(m, shelf, what, parts); err != nil {
		return nil, err
	}
	for _, t := range parts {
		t.Forget()
	}
	return m, nil
}

// fill gives a matrix its memory. What a file holds as the memory of a device of its own will is neither packed nor kept.
func (b *backend) fill(m *matrix, shelf kern.Shelf, what string, parts []*weights.Tensor) error {
	if !b.info.Unified && m.asStored(parts...) {
		return b.holdCopy(&m.holding, what, tensorData(parts)...)
	}
	name := kern.ShelfName("matrix "+m.precision.String(), parts...)
	return b.provide(&m.holding, what, shelf, name, m.size(), func(dst []byte) error { return m.pack(dst, parts) })
}

func tensorData(parts []*weights.Tensor) (data [][]byte) {
	for _, t := range parts {
		data = append(data, t.Data)
	}
	return data
}

// runBytes bounds the memory that a weight passes through on its way, for each thread that rounds.
const runBytes = 8 << 20

// A run is some rows of a part, the first of which is row of the whole.
type run struct {
	part          *weights.Tensor
	from, to, row int
}

// pack rounds the parts into dst, which is zeros, a run at a time on all threads. Runs are short enough for each to have one.
func (m *matrix) pack(dst []byte, parts []*weights.Tensor) error {
	threads := runtime.GOMAXPROCS(0)
	var runs []run
	row, most := 0, max(1, min(runBytes/(4*m.cols), ceilDiv(m.rows, threads)))
	for _, part := range parts {
		part = part.Settled()
		for from := 0; from < part.Shape[0]; from += most {
			runs = append(runs, run{part, from, min(from+most, part.Shape[0]), row + from})
		}
		row += part.Shape[0]
	}
	failed := make([]error, len(runs))
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(len(runs), threads) {
		group.Go(func() {
			debug.SetPanicOnFault(true)
			for i := next.Add(1) - 1; i < int64(len(runs)); i = next.Add(1) - 1 {
				failed[i] = m.packRun(dst, runs[i])
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

// packRun puts the numbers and the scales of a run in their places.
func (m *matrix) packRun(dst []byte, r run) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = weights.Fault(bug)
		}
	}()
	rows := r.part.Rows(r.part.Name, r.from, r.to)
	if m.quantized() {
		q, err := weights.Quantize(rows.Floats(), m.cols, m.precision.Bits())
		if err != nil {
			return fmt.Errorf("%s: rows %d to %d: %w", r.part.Name, r.from, r.to-1, err)
		}
		for i := range q.Rows {
			m.putGroups(dst, r.row+i, q, i)
		}
		return nil
	}
	numbers := dst[r.row*m.rowBytes():][:(r.to-r.from)*m.rowBytes()]
	switch {
	case m.asStored(rows):
		copy(numbers, rows.Data)
	case m.precision == kern.F32:
		putRows(numbers, rows.Floats(), m, func(dst []byte, v float32) { binary.LittleEndian.PutUint32(dst, math.Float32bits(v)) })
	default:
		putRows(numbers, rows.Floats(), m, func(dst []byte, v float32) { binary.LittleEndian.PutUint16(dst, weights.F32ToF16(v)) })
	}
	return nil
}

// asStored reports whether rows lie in the file as they do in the memory.
func (m *matrix) asStored(parts ...*weights.Tensor) bool {
	for _, rows := range parts {
		same := m.precision == kern.F32 && rows.DType == weights.F32 || m.precision == kern.F16 && rows.DType == weights.F16
		if !same || rows.Derived() || m.cols%weights.GroupSize != 0 {
			return false
		}
	}
	return true
}

func putRows(data []byte, values []float32, m *matrix, put func(dst []byte, v float32)) {
	size := m.rowBytes() / (m.groups() * weights.GroupSize)
	for r := range len(values) / m.cols {
		dst := data[r*m.rowBytes():]
		for i, v := range values[r*m.cols:][:m.cols] {
			put(dst[i*size:], v)
		}
	}
}

// putGroups puts row i of q into the panels as row.
func (m *matrix) putGroups(dst []byte, row int, q *weights.Quantized, i int) {
	size, first, within := m.rowBytes()/m.groups(), row/panelRows*panelRows, row%panelRows
	numbers := dst[first*m.rowBytes()+within*size:]
	scales := dst[m.scalesFrom()+2*int64(first*m.scalePitch()+within*panelScales):]
	values := q.Values[i*q.Cols:][:q.Cols]
	for g := range m.groups() {
		group := values[g*weights.GroupSize : min((g+1)*weights.GroupSize, q.Cols)]
		putGroup(numbers[g*panelRows*size:][:size], group, q.Bits)
		binary.LittleEndian.PutUint16(scales[2*(g/panelScales*panelScales*panelRows+g%panelScales):], q.Scales[i*m.groups()+g])
	}
}

func putGroup(dst []byte, values []int8, bits int) {
	if bits == 8 {
		for i, v := range values {
			dst[i] = byte(v)
		}
		return
	}
	for i := range dst {
		dst[i] = 0x88 // zeros
	}
	for i, v := range values {
		shift := i % 2 * 4
		dst[i/2] = dst[i/2]&^(0xf<<shift) | byte(v+8)<<shift
	}
}

// matrix finds the weight behind a handle; nil after an error.
func (s *stream) matrix(op, name string, m kern.Matrix) *matrix {
	found, ok := m.(*matrix)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef(op, "%s: absent, or not a weight of this backend", name)
	case found.freed.Load():
		s.shapef(op, "%s: freed weight", name)
	default:
		return found
	}
	return nil
}
