package cpukern

// A matrix is a weight in one precision, packed once for the kernels of package simd, in memory of its own: nothing of
// the file is needed afterwards.
//
//	tensors ── pack.go: decode, round, pack panel by panel ──► packed ──► multiply, a range of panels at a time
//
// Stored keeps every value exactly: float16 as it is, all else as float32 (bfloat16 has no kernels).

import (
	"fmt"
	"unsafe"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/weights"
)

type matrix struct {
	holding
	rows, cols int
	precision  kern.Precision // F32, F16, Q8 or Q4
	packed     []byte         // panels of panelRows rows, panelBytes each
}

func (m *matrix) Rows() int { return m.rows }
func (m *matrix) Cols() int { return m.cols }

func (m *matrix) Free() {
	if m.release() {
		m.drop(m.packed)
		m.packed = nil
	}
}

func (b *backend) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(kern.NoShelf{}, p, parts)
}

func (b *backend) newMatrix(shelf kern.Shelf, p kern.Precision, parts []*weights.Tensor) (kern.Matrix, error) {
	if b.closed.Load() {
		return nil, errClosed
	}
	m := &matrix{}
	var err error
	if m.rows, m.cols, m.precision, err = kern.WeightShape(p, parts...); err != nil {
		return nil, fmt.Errorf("cpukern: matrix: %w", err)
	}
	name := kern.ShelfName("matrix "+m.precision.String(), parts...)
	if m.packed = shelf.Take(name, kern.Product(m.panels(), m.panelBytes())); m.packed != nil {
		m.view = m.packed
	} else if err := b.pack(m, parts); err != nil {
		return nil, err
	} else {
		for _, t := range parts {
			t.Forget()
		}
		shelf.Put(name, m.packed)
	}
	m.hold(b, int64(len(m.packed)))
	return m, nil
}

// panelRows is how many rows a panel holds; the last one is filled up with zeros.
func (m *matrix) panelRows() int {
	if m.precision == kern.F32 {
		return simd.GemmPanelRows
	}
	return simd.PanelRows
}

func (m *matrix) panelBytes() int {
	if m.precision == kern.F32 {
		return 4 * simd.GemmFloats(simd.GemmPanelRows, m.cols)
	}
	return simd.PanelBytes(m.precision.Bits(), m.cols)
}

func (m *matrix) panels() int { return ceilDiv(m.rows, m.panelRows()) }

// quantized reports whether activations must be rounded for this weight.
func (m *matrix) quantized() bool { return m.precision.Grouped() }

// An operand is rows of activations as the kernels of a matrix want them: floats, or tiles for quantised weights.
type operand struct {
	rows   int
	floats []float32 // [rows, K]
	tiles  []byte    // see simd.Quantize
}

// from is the rows from the given one on, a multiple of simd.TileRows.
func (x operand) from(row, rows, cols int) operand {
	if x.tiles != nil {
		return operand{rows: rows, tiles: x.tiles[simd.QuantizedBytes(row, cols):]}
	}
	return operand{rows: rows, floats: x.floats[row*cols:]}
}

// multiply computes the outputs of panels [from, to): dst[r·stride + i] = Σ_k x[r,k]·w[from·panelRows + i, k].
func (m *matrix) multiply(k *simd.Kernels, dst []float32, stride, from, to int, x operand) {
	n := min(to*m.panelRows(), m.rows) - from*m.panelRows()
	w := m.packed[from*m.panelBytes() : to*m.panelBytes()]
	switch m.precision {
	case kern.F32:
		for r := range x.rows {
			clear(dst[r*stride:][:n]) // Gemm adds
		}
		k.Gemm(simd.Gemm{
			Dst: dst, Stride: stride, W: floatsOf(w), PanelStride: simd.GemmPanelRows * m.cols, N: n, K: m.cols,
			X: x.floats, XStride: m.cols, Rows: x.rows,
		})
	case kern.F16:
		k.LinearF16(simd.LinearF16{
			Dst: dst, Stride: stride, W: halvesOf(w), N: n, K: m.cols, X: x.floats, XStride: m.cols, Rows: x.rows,
		})
	default:
		k.Linear(simd.Linear{
			Dst: dst, Stride: stride, W: w, Bits: m.precision.Bits(), N: n, K: m.cols, X: x.tiles, Rows: x.rows,
		})
	}
}

// floatsOf and halvesOf look at aligned memory as numbers of the processor's own order.
func floatsOf(b []byte) []float32 { return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4) }
func halvesOf(b []byte) []uint16  { return unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), len(b)/2) }
