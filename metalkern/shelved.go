package metalkern

// Packed weights from a shelf, and on to it. Where memory is unified, kernels read what is found there where it lies, for
// instance in a mapped file; memory that several objects view so counts once. Else it is copied to the device.
//
//	shelf.Take ─ there ─► unified: a view ── Metal refuses ──► a copy, and Device says why
//	           │          else: a copy
//	           └ not ───► packed: unified into the device's buffer, else into memory that is copied there ──► shelf.Put
//
// A refused view is no reason to fail: the copy costs memory and time, and gives the same bits.

import (
	"fmt"
	"os"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// layout changes its number whenever packing gives other bytes than before: of a matrix, a table or a filter. It is the
// same for all GPUs; TestLayout knows the bytes.
const layout = "gpu/3"

// lineBytes is what the sizes of packed weights are multiples of: a shelf keeps whole lines without a copy.
const lineBytes = 64

type shelved struct {
	*backend
	shelf kern.Shelf
}

// Layout makes the backend a kern.Packer.
func (b *backend) Layout() string { return layout }

func (b *backend) InPlace() bool { return b.info.Unified }

func (b *backend) Shelve(s kern.Shelf) kern.Shelved { return shelved{b, s} }

func (b shelved) Shelf() kern.Shelf { return b.shelf }

func (b shelved) Vector(t *weights.Tensor) (kern.Buffer, error) { return b.newVector(b.shelf, t) }

func (b shelved) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(b.shelf, "matrix", p, parts)
}

func (b shelved) Table(p kern.Precision, t *weights.Tensor) (kern.Matrix, error) {
	return b.newMatrix(b.shelf, "table", p, []*weights.Tensor{t})
}

func (b shelved) Filter(t *weights.Tensor, transposed bool) (kern.Filter, error) {
	return b.newFilter(b.shelf, t, transposed)
}

// provide gives an object its memory, with what the shelf has under name, or else with what pack writes into bytes that are
// zeros: that is put on the shelf.
func (b *backend) provide(h *holding, what string, shelf kern.Shelf, name string, bytes int64, pack func(dst []byte) error) error {
	bytes = int64(roundUp(int(bytes), lineBytes))
	if data := shelf.Take(name, int(bytes)); data != nil {
		if b.info.Unified && b.holdView(h, shelf, data) {
			return nil
		}
		return b.holdCopy(h, what, data)
	}
	if err := b.hold(h, what, bytes); err != nil {
		return err
	}
	packed := h.memory.Contents()
	inPlace := packed != nil
	if !inPlace {
		packed = make([]byte, bytes)
	}
	err := pack(packed[:bytes])
	if err == nil && !inPlace {
		err = b.upload(driver.Binding{Buffer: h.memory}, packed)
	}
	if err != nil {
		h.Free()
		return fmt.Errorf("metalkern: %s: %w", what, err)
	}
	shelf.Put(name, packed[:bytes])
	return nil
}

// holdCopy gives an object memory with all of data in it, one after the other.
func (b *backend) holdCopy(h *holding, what string, data ...[]byte) error {
	total := 0
	for _, one := range data {
		total += len(one)
	}
	if err := b.hold(h, what, int64(total)); err != nil {
		return err
	}
	at := int64(0)
	for _, one := range data {
		if err := b.upload(driver.Binding{Buffer: h.memory, Offset: at}, one); err != nil {
			h.Free()
			return fmt.Errorf("metalkern: %s: %w", what, err)
		}
		at += int64(len(one))
	}
	return nil
}

// A view is memory of a shelf that kernels read in place.
type view struct {
	first     *byte
	memory    driver.Buffer
	at, bytes int64 // where in the memory it is
	users     int   // objects, guarded by backend.viewing
	done      func()
}

// holdView makes an object a view of data, which is of the shelf. Where the device refuses it is false, and Device says why.
func (b *backend) holdView(h *holding, shelf kern.Shelf, data []byte) bool {
	if b.closed.Load() {
		return false // nor can there be a copy
	}
	b.viewing.Lock()
	defer b.viewing.Unlock()
	v := b.views[&data[0]]
	if v == nil {
		pages, at := wholePages(data)
		memory, err := b.device.Wrap(pages)
		if err != nil {
			b.copying.Store(&err)
			return false
		}
		v = &view{first: &data[0], memory: memory, at: at, bytes: int64(len(data)), done: shelf.Keep()}
		b.views[v.first] = v
		b.users.Add(1)
		b.allocated.Add(v.bytes)
	}
	v.users++
	h.owner, h.memory, h.at, h.bytes, h.view = b, v.memory, v.at, v.bytes, v
	return true
}

// leaveView ends an object's use. The memory stays until no stream can be using it, and with it what it is a view of.
func (b *backend) leaveView(v *view) {
	b.viewing.Lock()
	v.users--
	last := v.users == 0
	if last {
		delete(b.views, v.first)
	}
	b.viewing.Unlock()
	if last {
		b.graves.bury(b, grave{Buffer: v.memory, bytes: v.bytes, after: v.done})
	}
}

// wholePages is the pages that data lies in, all of which may be read, and where in them it begins.
func wholePages(data []byte) (pages []byte, at int64) {
	page := os.Getpagesize()
	before := int(uintptr(unsafe.Pointer(&data[0])) % uintptr(page))
	first := (*byte)(unsafe.Add(unsafe.Pointer(&data[0]), -before))
	return unsafe.Slice(first, roundUp(before+len(data), page)), int64(before)
}
