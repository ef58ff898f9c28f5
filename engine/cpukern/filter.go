package cpukern

// Filters: the weights of convolutions, packed for the kernel that will read them.

import (
	"fmt"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/weights"
)

type filter struct {
	holding
	in, out, kernel int
	transposed      bool
	memory          []byte
	// Panels of Gemm: one weight [out, kernel·in], or when transposed one [out, in] for each tap. A filter with a single
	// output is not packed: [kernel·in].
	packed []float32
}

func (f *filter) In() int          { return f.in }
func (f *filter) Out() int         { return f.out }
func (f *filter) Kernel() int      { return f.kernel }
func (f *filter) Transposed() bool { return f.transposed }

func (f *filter) Free() {
	if f.release() {
		f.drop(f.memory)
		f.memory, f.packed = nil, nil
	}
}

// single says that the output is one dot product, too thin for a panel.
func (f *filter) single() bool { return f.out == 1 && !f.transposed }

func (b *backend) Filter(t *weights.Tensor, transposed bool) (kern.Filter, error) {
	return b.newFilter(kern.NoShelf{}, t, transposed)
}

func (b *backend) newFilter(shelf kern.Shelf, t *weights.Tensor, transposed bool) (kern.Filter, error) {
	if b.closed.Load() {
		return nil, errClosed
	}
	f := &filter{transposed: transposed}
	var err error
	if f.in, f.out, f.kernel, err = kern.FilterShape(t, transposed); err != nil {
		return nil, fmt.Errorf("cpukern: filter: %w", err)
	}
	size := 4 * f.length()
	if size > kern.MaxElements {
		return nil, fmt.Errorf("cpukern: filter: %s: got shape %v, want at most %d bytes", t.Name, t.Shape, kern.MaxElements)
	}
	name := kern.ShelfName(fmt.Sprintf("filter %v", transposed), t)
	if f.memory = shelf.Take(name, size); f.memory != nil {
		f.packed, f.view = floatsOf(f.memory), f.memory
	} else {
		if f.memory, err = newMemory(size); err != nil {
			return nil, fmt.Errorf("cpukern: filter: %d bytes of memory: %w", size, err)
		}
		f.packed = floatsOf(f.memory)
		f.pack(t.Floats())
		shelf.Put(name, f.memory)
	}
	f.hold(b, int64(size))
	return f, nil
}

// depth is how many inputs an output of a filter that is not transposed sees.
func (f *filter) depth() int { return f.kernel * f.in }

// length counts the packed floats.
func (f *filter) length() int {
	switch {
	case f.single():
		return f.depth()
	case f.transposed:
		return kern.Product(f.kernel, f.tapFloats())
	}
	return simd.GemmFloats(f.out, f.depth())
}

// tapFloats is the size of one tap's weight [out, in].
func (f *filter) tapFloats() int { return simd.GemmFloats(f.out, f.in) }

// pack brings the input channels of one tap together.
func (f *filter) pack(w []float32) {
	if f.transposed {
		f.packTaps(w)
		return
	}
	rows := make([]float32, len(w)) // [out][kernel][in]
	for o := range f.out {
		for i := range f.in {
			for j, x := range w[(o*f.in+i)*f.kernel:][:f.kernel] {
				rows[(o*f.kernel+j)*f.in+i] = x
			}
		}
	}
	if f.single() {
		copy(f.packed, rows)
		return
	}
	simd.PackGemm(f.packed, rows, f.depth())
}

func (f *filter) packTaps(w []float32) {
	rows := make([]float32, f.out*f.in)
	for j := range f.kernel {
		for i := range f.in {
			for o := range f.out {
				rows[o*f.in+i] = w[(i*f.out+o)*f.kernel+j]
			}
		}
		simd.PackGemm(f.packed[j*f.tapFloats():], rows, f.in)
	}
}

func (s *stream) filter(op string, w kern.Filter, transposed bool) *filter {
	found, ok := w.(*filter)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef(op, "W: absent, or a filter of another backend")
	case found.freed.Load():
		s.shapef(op, "W: freed filter")
	case found.transposed != transposed:
		s.shapef(op, "W: got a filter with transposed %v, want %v", found.transposed, transposed)
	default:
		return found
	}
	return nil
}
