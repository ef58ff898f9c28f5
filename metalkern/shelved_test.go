package metalkern

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"testing"

	"segue/engine/kern"
	"segue/engine/kern/kerntest"
	"segue/metalkern/driver"
	"segue/weights"
)

// heapShelf keeps what it is given, and never has anything.
type heapShelf struct {
	kern.NoShelf
	kept map[string][]byte
}

func (s heapShelf) Put(name string, data []byte) { s.kept[name] = data }

// made is every kind of weight there is, of odd shapes.
func made(t *testing.T, k kern.Backend) (objects []kern.Object) {
	t.Helper()
	keep := func(o kern.Object, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	for _, p := range []kern.Precision{kern.Stored, kern.F16, kern.Q8, kern.Q4} {
		keep(k.Matrix(p, waves("q", 33, 70), waves("k", 5, 70)))
		keep(k.Table(p, waves("embed", 21, 70)))
	}
	for _, transposed := range []bool{false, true} {
		keep(k.Filter(waves("conv", 7, 5, 3), transposed))
	}
	folded := weights.Derive("folded", func() []float32 { return waves("folded", 6, 4, 2).Floats() }, 6, 4, 2)
	keep(k.Filter(kern.Ready(k, folded), false))
	derived := weights.Derive("derived", func() []float32 { return waves("derived", 9, 40).Floats() }, 9, 40)
	keep(k.Matrix(kern.Q8, kern.Ready(k, derived)))
	sines := weights.Derive("sines", func() []float32 { return waves("sines", 9).Floats() }, 9)
	keep(k.Vector(kern.Ready(k, sines)))
	keep(k.Vector(waves("bias", 9)))
	return objects
}

// waves is a tensor of numbers that are the same on every machine.
func waves(name string, shape ...int) *weights.Tensor {
	values := make([]float32, kern.Product(shape...))
	for i := range values {
		values[i] = float32((i*7919+len(name)*104729)%2003-1001) / 1024
	}
	return weights.FromFloats(name, values, shape...)
}

// held is the bytes of an object on the device.
func held(t *testing.T, k *backend, o kern.Object) []byte {
	t.Helper()
	var h *holding
	switch o := o.(type) {
	case *matrix:
		h = &o.holding
	case *filter:
		h = &o.holding
	case *buffer:
		h = &o.holding
	}
	data := make([]byte, h.bytes)
	if err := k.queue.Read(data, driver.Binding{Buffer: h.memory, Offset: h.at}); err != nil {
		t.Fatal(err)
	}
	return data
}

func compareHeld(t *testing.T, what string, k *backend, got, want []kern.Object) {
	t.Helper()
	for i := range want {
		if !bytes.Equal(held(t, k, got[i]), held(t, k, want[i])) {
			t.Errorf("%s: object %d differs from a packed one", what, i)
		}
	}
}

// TestLayout knows the bytes that packing gives. When they change on purpose, raise the number in layout: files of packed
// weights outlive the program that wrote them.
func TestLayout(t *testing.T) {
	const wanted = "gpu/3 f2e5fc3dcfc0c1d6"
	k, err := New(&blank{})
	if err != nil {
		t.Fatal(err)
	}
	shelf := heapShelf{kept: map[string][]byte{}}
	made(t, k.(kern.Packer).Shelve(shelf))
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(shelf.kept)) {
		fmt.Fprintln(sum, name)
		sum.Write(shelf.kept[name])
	}
	if got := fmt.Sprintf("%s %s", layout, hex.EncodeToString(sum.Sum(nil)[:8])); got != wanted {
		t.Errorf("got %s, want %s", got, wanted)
	}
}

// What a device of its own memory will hold as the file does is not kept, and a shelved backend refuses what a plain one does.
func TestShelvedKeeps(t *testing.T) {
	device, err := New(&blank{})
	if err != nil {
		t.Fatal(err)
	}
	shelf := heapShelf{kept: map[string][]byte{}}
	k := device.(kern.Packer).Shelve(shelf)
	if _, err := k.Matrix(kern.Stored, waves("as stored", 3, 64), waves("too", 2, 64)); err != nil || len(shelf.kept) != 0 {
		t.Errorf("got %v, and %d kept, want none", err, len(shelf.kept))
	}
	if _, err := k.Matrix(kern.Stored, waves("padded", 3, 63)); err != nil || len(shelf.kept) != 1 {
		t.Errorf("got %v, and %d kept, want one", err, len(shelf.kept))
	}
	kerntest.ShelvedRefuses(t, k)
}
