package cpukern

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"unsafe"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/engine/kern/kerntest"
	"segue/weights"
)

// memoryShelf keeps copies, at addresses as a file's.
type memoryShelf struct {
	kept  map[string][]byte
	taken int
}

func (s *memoryShelf) Take(name string, size int) []byte {
	data := s.kept[name]
	if len(data) != size {
		return nil
	}
	s.taken++
	return data
}

func (s *memoryShelf) Keep() func() { return func() {} }

func (s *memoryShelf) Put(name string, data []byte) {
	floats := make([]float32, (len(data)+3)/4+64)
	for lineOf(floats) != 0 {
		floats = floats[1:]
	}
	s.kept[name] = bytesOf(floats)[:len(data)]
	copy(s.kept[name], data)
}

func lineOf(floats []float32) int { return int(uintptr(unsafe.Pointer(&floats[0])) % 64) }

var packedPrecisions = []kern.Precision{kern.Stored, kern.F16, kern.Q8, kern.Q4}

// made is every kind of weight there is, of odd shapes.
func made(t *testing.T, k kern.Backend) (objects []kern.Object, held [][]byte) {
	t.Helper()
	keep := func(o kern.Object, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
		switch o := o.(type) {
		case *matrix:
			held = append(held, o.packed)
		case *table:
			held = append(held, o.data)
		case *filter:
			held = append(held, o.memory)
		case *buffer:
			held = append(held, bytesOf(o.floats))
		}
	}
	for _, p := range packedPrecisions {
		keep(k.Matrix(p, waves("q", 33, 70), waves("k", 5, 70)))
		keep(k.Table(p, waves("embed", 21, 70)))
	}
	for _, transposed := range []bool{false, true} {
		keep(k.Filter(waves("conv", 7, 5, 3), transposed))
	}
	keep(k.Filter(waves("last", 1, 5, 3), false))
	folded := weights.Derive("folded", func() []float32 { return waves("folded", 6, 4, 2).Floats() }, 6, 4, 2)
	keep(k.Filter(kern.Ready(k, folded), false))
	sines := weights.Derive("sines", func() []float32 { return waves("sines", 9).Floats() }, 9)
	keep(k.Vector(kern.Ready(k, sines)))
	keep(k.Vector(waves("bias", 9)))
	return objects, held
}

// waves is a tensor of numbers that are the same on every machine.
func waves(name string, shape ...int) *weights.Tensor {
	t := &weights.Tensor{Name: name, Shape: shape}
	values := make([]float32, t.Len())
	for i := range values {
		values[i] = float32((i*7919+len(name)*104729)%2003-1001) / 1024
	}
	return weights.FromFloats(name, values, shape...)
}

// What comes from a shelf is what was packed, is not packed again, and is a view that counts once.
func TestShelved(t *testing.T) {
	k := open(t, 2).(*backend)
	_, want := made(t, k)
	plain := k.Allocated()
	shelf := &memoryShelf{kept: map[string][]byte{}}
	_, got := made(t, k.Shelve(shelf))
	compare(t, "first", got, want)
	if shelf.taken != 0 || k.Allocated() != 2*plain {
		t.Errorf("first: took %d, %d bytes held, want none and %d", shelf.taken, k.Allocated(), 2*plain)
	}
	computed := len(shelf.kept)
	a, got := made(t, k.Shelve(shelf))
	compare(t, "again", got, want)
	if shelf.taken != computed || len(shelf.kept) != computed {
		t.Errorf("again: took %d of %d, %d now", shelf.taken, computed, len(shelf.kept))
	}
	once := k.Allocated()
	b, _ := made(t, k.Shelve(shelf))
	if extra := k.Allocated() - once; extra >= (once-2*plain)/2 {
		t.Errorf("the same views again count %d bytes, want hardly any", extra)
	}
	kern.Free(a)
	kern.Free(a)
	kern.Free(b)
	if k.Allocated() != 2*plain {
		t.Errorf("after Free: %d bytes held, want %d", k.Allocated(), 2*plain)
	}
	compare(t, "after Free", slicesOf(shelf, t, k), want)
}

// slicesOf makes all once more: freeing a view must not touch what it views.
func slicesOf(shelf *memoryShelf, t *testing.T, k *backend) [][]byte {
	_, held := made(t, k.Shelve(shelf))
	return held
}

func compare(t *testing.T, what string, got, want [][]byte) {
	t.Helper()
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("%s: object %d differs from a packed one", what, i)
		}
	}
}

// TestLayout knows the bytes that packing gives, on every instruction set. When they change on purpose, raise the number in
// layout: files of packed weights outlive the program that wrote them.
func TestLayout(t *testing.T) {
	const wanted = "cpu/1 c051f5833025a955"
	for _, isa := range simd.Available() {
		k, err := Open(Options{Threads: 2, ISA: isa.String()})
		if err != nil {
			t.Fatal(err)
		}
		_, held := made(t, k)
		sum := sha256.New()
		for _, data := range held {
			sum.Write(data)
		}
		if got := fmt.Sprintf("%s %s", layout, hex.EncodeToString(sum.Sum(nil)[:8])); got != wanted {
			t.Errorf("%v: got %s, want %s", isa, got, wanted)
		}
		k.Close()
	}
}

// A shelved backend refuses what a plain one does.
func TestShelvedRefuses(t *testing.T) {
	k := open(t, 1).(*backend).Shelve(&memoryShelf{kept: map[string][]byte{}})
	kerntest.ShelvedRefuses(t, k)
}
