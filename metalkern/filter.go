package metalkern

// Filters: the weights of convolutions, [kernel, in, out] with the outputs of a row filled up to whole vectors. A
// transposed one is kept the same way, since the stride that cuts its taps into phases is the op's.

import (
	"fmt"

	"segue/engine/kern"
	"segue/weights"
)

type filter struct {
	holding
	in, out, kernel int
	transposed      bool
}

func (f *filter) In() int          { return f.in }
func (f *filter) Out() int         { return f.out }
func (f *filter) Kernel() int      { return f.kernel }
func (f *filter) Transposed() bool { return f.transposed }

// pitch is the outputs of a row with what fills it up.
func (f *filter) pitch() int { return roundUp(f.out, 4) }

func (f *filter) region() region { return f.part(0, f.bytes) }

func (b *backend) Filter(t *weights.Tensor, transposed bool) (kern.Filter, error) {
	return b.newFilter(kern.NoShelf{}, t, transposed)
}

func (b *backend) newFilter(shelf kern.Shelf, t *weights.Tensor, transposed bool) (kern.Filter, error) {
	f := &filter{transposed: transposed}
	var err error
	if f.in, f.out, f.kernel, err = kern.FilterShape(t, transposed); err != nil {
		return nil, fmt.Errorf("metalkern: filter: %w", err)
	}
	n := kern.Product(f.kernel, f.in, f.pitch())
	if n > maxIndex {
		return nil, fmt.Errorf("metalkern: filter: %s: got shape %v, want at most %d numbers", t.Name, t.Shape, maxIndex)
	}
	kind := "filter"
	if transposed {
		kind = "transposed filter"
	}
	err = b.provide(&f.holding, kind, shelf, kern.ShelfName(kind, t), 4*int64(n), func(dst []byte) error {
		f.pack(floatsOf(dst), t.Floats())
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// pack brings the outputs of one input and tap together.
func (f *filter) pack(rows, w []float32) {
	for at, v := range w {
		j, first, second := at%f.kernel, at/f.kernel/f.second(), at/f.kernel%f.second()
		o, i := first, second
		if f.transposed {
			o, i = second, first
		}
		rows[(j*f.in+i)*f.pitch()+o] = v
	}
}

// second is the length of the tensor's second dimension.
func (f *filter) second() int {
	if f.transposed {
		return f.out
	}
	return f.in
}

// filter finds the weight behind a handle; nil after an error.
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
