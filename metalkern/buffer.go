package metalkern

import (
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// holding is the memory of one object, until it is freed.
type holding struct {
	owner     *backend
	memory    driver.Buffer
	at, bytes int64 // where in the memory the object is
	view      *view // whose memory it is; nil: the object's own
	freed     atomic.Bool
}

// hold makes the memory.
func (b *backend) hold(h *holding, what string, bytes int64) error {
	memory, err := b.memory(what, bytes)
	if err == nil {
		h.owner, h.memory, h.bytes = b, memory, bytes
	}
	return err
}

// part is bytes of the object, as an operand.
func (h *holding) part(from, to int64) region {
	return region{memory: h.memory, from: h.at + from, to: h.at + to}
}

// Bytes is what the object holds, or held.
func (h *holding) Bytes() int64 { return h.bytes }

func (h *holding) Free() {
	switch {
	case h.freed.Swap(true):
	case h.view != nil:
		h.owner.leaveView(h.view)
	default:
		h.owner.free(h.memory, h.bytes)
	}
}

// buffer holds floats or ints, four bytes each.
type buffer struct {
	holding
	n    int
	ints bool
}

func (b *buffer) Len() int { return b.n }

func (b *backend) Floats(n int) (kern.Buffer, error) { return b.newBuffer("floats", n, false) }
func (b *backend) Ints(n int) (kern.Buffer, error)   { return b.newBuffer("ints", n, true) }

func (b *backend) newBuffer(what string, n int, ints bool) (kern.Buffer, error) {
	if n < 1 || n > kern.MaxElements {
		return nil, fmt.Errorf("metalkern: %s: got %d elements, want 1 to %d", what, n, kern.MaxElements)
	}
	made := &buffer{n: n, ints: ints}
	if err := b.hold(&made.holding, what, 4*int64(n)); err != nil {
		return nil, err
	}
	return made, nil
}

func (b *backend) Vector(t *weights.Tensor) (kern.Buffer, error) {
	return b.newVector(kern.NoShelf{}, t)
}

// newVector copies what the shelf has: buffers may be written.
func (b *backend) newVector(shelf kern.Shelf, t *weights.Tensor) (kern.Buffer, error) {
	if err := kern.CheckTensor(t); err != nil {
		return nil, fmt.Errorf("metalkern: vector: %w", err)
	}
	made := &buffer{n: t.Len()}
	name := kern.ShelfName("vector", t)
	data := shelf.Take(name, 4*made.n)
	if data == nil {
		data = slices.Clone(bytesOf(t.Floats())) // of a view of the model's file
		shelf.Put(name, data)
	}
	if err := b.holdCopy(&made.holding, "vector", data); err != nil {
		return nil, err
	}
	return made, nil
}

// bytesOf looks at numbers as the bytes that a little-endian device wants; all devices here are, and their hosts.
func bytesOf[T float32 | int32 | uint16](values []T) []byte {
	if len(values) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(values[0])))
}

// floatsOf looks at aligned bytes as numbers.
func floatsOf(data []byte) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/4)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// roundUp is the next multiple of b.
func roundUp(a, b int) int { return ceilDiv(a, b) * b }
