package cpukern

// Packing of a weight: threads claim panels; one decodes the rows of its panel to float32, rounds them and lays them out.
// No more than a panel of float32 exists per thread, however large the weight.

import (
	"errors"
	"fmt"
	"sync"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/weights"
)

type packTask struct {
	span    // over panels
	kernels *simd.Kernels
	m       *matrix
	parts   []*weights.Tensor
	private [][]float32 // by thread: the rows of a panel
	mutex   sync.Mutex
	err     error
}

// pack fills m.packed, of memory made for it.
func (b *backend) pack(m *matrix, parts []*weights.Tensor) error {
	size := kern.Product(m.panels(), m.panelBytes())
	if size > kern.MaxElements {
		return fmt.Errorf("cpukern: matrix: got [%d, %d], want at most %d bytes", m.rows, m.cols, kern.MaxElements)
	}
	var err error
	if m.packed, err = newMemory(size); err != nil {
		return fmt.Errorf("cpukern: matrix: %d bytes of memory: %w", size, err)
	}
	settled := make([]*weights.Tensor, len(parts))
	for i, part := range parts {
		settled[i] = part.Settled()
	}
	t := &packTask{kernels: b.kernels, m: m, parts: settled, private: make([][]float32, b.pool.threads())}
	t.span = b.pool.cut(m.panels(), m.panelRows()*m.cols)
	if err = errors.Join(b.pool.run(t, t.chunks()), t.err); err != nil {
		freeMemory(m.packed)
	}
	return err
}

func (t *packTask) run(thread, chunk int) {
	if t.private[thread] == nil {
		t.private[thread] = make([]float32, t.m.panelRows()*t.m.cols)
	}
	size := t.m.panelBytes()
	for from, to := t.at(chunk); from < to; from++ {
		rows := t.decode(t.private[thread], from*t.m.panelRows())
		if err := t.m.packPanel(t.m.packed[from*size:][:size], rows); err != nil {
			t.fail(fmt.Errorf("cpukern: matrix: %s: a panel from row %d: %w", t.parts[0].Name, from*t.m.panelRows(), err))
			return
		}
	}
}

func (t *packTask) fail(err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.err = err
}

// decode returns the rows [from, from+panelRows) that there are, from whichever parts hold them.
func (t *packTask) decode(dst []float32, from int) []float32 {
	to := min(from+t.m.panelRows(), t.m.rows)
	first := 0 // row of the part within the whole
	for _, part := range t.parts {
		a, b := max(from, first), min(to, first+part.Shape[0])
		if a < b {
			t.widen(dst[(a-from)*t.m.cols:(b-from)*t.m.cols], part.Rows(part.Name, a-first, b-first))
		}
		first += part.Shape[0]
	}
	return dst[:(to-from)*t.m.cols]
}

// widen decodes a whole tensor, by vector instructions where it lies well.
func (t *packTask) widen(dst []float32, rows *weights.Tensor) {
	switch {
	case rows.DType == weights.F32:
		copy(dst, rows.Floats())
	case rows.DType == weights.F16 && littleEndian && aligned(rows.Data):
		t.kernels.Widen(dst, halvesOf(rows.Data))
	default:
		rows.Decode(dst, 0)
	}
}

// packPanel lays out whole rows.
func (m *matrix) packPanel(dst []byte, rows []float32) error {
	switch m.precision {
	case kern.F32:
		simd.PackGemm(floatsOf(dst), rows, m.cols)
	case kern.F16:
		simd.PackF16(halvesOf(dst), rows, m.cols)
	default:
		q, err := weights.Quantize(rows, m.cols, m.precision.Bits())
		if err != nil {
			return err
		}
		simd.PackQuantized(dst, q)
	}
	return nil
}
