package cpukern

// Packed weights from a shelf, and on to it. What is found there is used where it lies, for instance in a mapped file;
// memory that several objects view so counts once.

import (
	"unsafe"

	"segue/engine/kern"
	"segue/weights"
)

// layout changes its number whenever packing gives other bytes than before: of a matrix, a table or a filter. The layout
// is the same for all instruction sets; TestLayout knows the bytes.
const layout = "cpu/1"

type shelved struct {
	*backend
	shelf kern.Shelf
}

// Layout makes the backend a kern.Packer.
func (b *backend) Layout() string {
	if !littleEndian {
		return layout + "-be"
	}
	return layout
}

func (b *backend) InPlace() bool { return true }

func (b *backend) Shelve(s kern.Shelf) kern.Shelved { return shelved{b, s} }

func (b shelved) Shelf() kern.Shelf { return b.shelf }

func (b shelved) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(b.shelf, p, parts)
}

func (b shelved) Table(p kern.Precision, t *weights.Tensor) (kern.Matrix, error) {
	return b.newTable(b.shelf, p, t)
}

func (b shelved) Filter(t *weights.Tensor, transposed bool) (kern.Filter, error) {
	return b.newFilter(b.shelf, t, transposed)
}

// Vector keeps copies: buffers may be written. Small as vectors are, they lie all over the model's file, which with them need
// not be read at all.
func (b shelved) Vector(t *weights.Tensor) (kern.Buffer, error) {
	if err := b.checkTensor("vector", t); err != nil {
		return nil, err
	}
	name := kern.ShelfName("vector", t)
	if data := b.shelf.Take(name, 4*t.Len()); data != nil {
		return b.newFloats(append([]float32(nil), floatsOf(data)...)), nil
	}
	values := make([]float32, t.Len())
	t.Decode(values, 0)
	b.shelf.Put(name, append([]byte(nil), bytesOf(values)...))
	return b.newFloats(values), nil
}

func bytesOf(floats []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&floats[0])), 4*len(floats))
}

// A view is memory of a shelf that an object uses; several objects may use the same.
type view []byte

func (b *backend) holdView(v view) {
	b.viewing.Lock()
	defer b.viewing.Unlock()
	if b.views[&v[0]]++; b.views[&v[0]] == 1 {
		b.allocated.Add(int64(len(v)))
	}
}

func (b *backend) releaseView(v view) {
	b.viewing.Lock()
	defer b.viewing.Unlock()
	if b.views[&v[0]]--; b.views[&v[0]] == 0 {
		delete(b.views, &v[0])
		b.allocated.Add(-int64(len(v)))
	}
}
