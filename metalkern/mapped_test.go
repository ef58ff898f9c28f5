//go:build linux && (amd64 || arm64)

package metalkern

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"segue/engine/kern"
	"segue/metalkern/mtltest"
)

// A mappedShelf has what was put there in pages that only reads are allowed of, as a file's, which go when it is closed and
// nobody keeps them.
type mappedShelf struct {
	t      *testing.T
	put    map[string][]byte
	places map[string][2]int // in pages
	pages  []byte            // nil: nothing was put there before
	keeps  int
	closed bool
	taken  int
}

func newMappedShelf(t *testing.T) *mappedShelf { return &mappedShelf{t: t, put: map[string][]byte{}} }

func (s *mappedShelf) Put(name string, data []byte) { s.put[name] = data }

func (s *mappedShelf) Take(name string, size int) []byte {
	at, ok := s.places[name]
	if !ok || at[1] != size {
		return nil
	}
	s.taken++
	return s.pages[at[0]:][:size:size]
}

func (s *mappedShelf) Keep() func() {
	s.keeps++
	return func() {
		s.keeps--
		s.unmap()
	}
}

func (s *mappedShelf) close() {
	s.closed = true
	s.unmap()
}

func (s *mappedShelf) unmap() {
	if s.closed && s.keeps == 0 {
		if err := unix.Munmap(s.pages); err != nil {
			s.t.Error(err)
		}
	}
}

// saved is a shelf with what was put on this one, the first of it some lines into a page.
func (s *mappedShelf) saved() *mappedShelf {
	next := &mappedShelf{t: s.t, put: map[string][]byte{}, places: map[string][2]int{}}
	at := 3 * lineBytes
	for name, data := range s.put {
		next.places[name] = [2]int{at, len(data)}
		at += roundUp(len(data), lineBytes)
	}
	var err error
	if next.pages, err = unix.Mmap(-1, 0, roundUp(at, os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
		s.t.Fatal(err)
	}
	for name, data := range s.put {
		copy(next.pages[next.places[name][0]:], data)
	}
	if err := unix.Mprotect(next.pages, unix.PROT_READ); err != nil {
		s.t.Fatal(err)
	}
	return next
}

// What comes from a shelf is what was packed, is not packed again, lies where the shelf has it, and counts once.
func TestShelved(t *testing.T) {
	k := open(t).(*backend)
	want := made(t, k)
	plain := k.Allocated()
	first := newMappedShelf(t)
	got := made(t, k.Shelve(first))
	compareHeld(t, "first", k, got, want)
	if len(first.put) == 0 || first.keeps != 0 || k.Allocated() != 2*plain {
		t.Errorf("first: put %d, keeps %d, %d bytes held, want some, none, and %d", len(first.put), first.keeps, k.Allocated(), 2*plain)
	}
	shelf := first.saved()
	a := made(t, k.Shelve(shelf))
	compareHeld(t, "again", k, a, want)
	if len(shelf.put) != 0 || shelf.taken != len(a) {
		t.Errorf("again: put %d, took %d of %d", len(shelf.put), shelf.taken, len(a))
	}
	for i, o := range a {
		m, ok := o.(*matrix)
		if !ok {
			continue
		}
		inside := uintptr(unsafe.Pointer(&shelf.pages[0])) % uintptr(os.Getpagesize())
		if m.view == nil || m.memory.Contents() != nil || inside != 0 || m.at%lineBytes != 0 {
			t.Errorf("again: object %d is not read where it lies", i)
		}
	}
	once := k.Allocated()
	b := made(t, k.Shelve(shelf))
	if extra := k.Allocated() - once; extra >= (once-2*plain)/2 {
		t.Errorf("the same views again count %d bytes, want hardly any", extra)
	}
	kern.Free(a)
	kern.Free(a)
	compareHeld(t, "after the first were freed", k, b, want)
	shelf.close()
	kern.Free(b)
	if shelf.keeps != 0 || k.Allocated() != 2*plain || len(k.views) != 0 {
		t.Errorf("after Free: %d keeps, %d bytes held, %d views, want none, %d, none", shelf.keeps, k.Allocated(), len(k.views), 2*plain)
	}
	kern.Free(want)
	kern.Free(got)
	if strings.Contains(k.Device().Detail, "copied") {
		t.Errorf("got %s", k.Device().Detail)
	}
}

// Ops give the same bits with weights in place, and the mapping stays while a stream that may use it is at work, although
// weight and shelf are gone.
func TestMappedOutlivesItsShelf(t *testing.T) {
	const rows, n, inputs = 3, 33, 70
	k := open(t).(*backend)
	s, err := k.Stream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x, err := k.Vector(waves("x", rows, inputs))
	if err != nil {
		t.Fatal(err)
	}
	dst, err := k.Floats(rows * n)
	if err != nil {
		t.Fatal(err)
	}
	defer kern.Free([]kern.Object{x, dst})
	multiply := func(shelf kern.Shelf) (w kern.Matrix) {
		t.Helper()
		w, err := k.Shelve(shelf).Matrix(kern.Q4, waves("w", n, inputs))
		if err != nil {
			t.Fatal(err)
		}
		s.Linear(kern.Linear{Dst: kern.All(dst), X: kern.All(x), W: w, Rows: rows})
		return w
	}
	result := func() []float32 {
		t.Helper()
		out := make([]float32, dst.Len())
		if err := s.Download(out, kern.All(dst)); err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := newMappedShelf(t)
	w := multiply(first)
	want := result()
	shelf := first.saved()
	w.Free()
	w = multiply(shelf)
	w.Free()
	shelf.close()
	if shelf.keeps != 1 {
		t.Fatalf("while the stream is at work: %d keeps, want 1", shelf.keeps)
	}
	got := result()
	if !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
		t.Errorf("got %v, want %v", got, want)
	}
	if shelf.keeps != 0 {
		t.Error("the mapping stays after the stream's work")
	}
}

// A weight that the device refuses to take is no fault of its model.
func TestRefusedUploads(t *testing.T) {
	for _, fault := range []string{"command buffer", "encoder", "encoder types", "execution"} {
		k := open(t)
		mtltest.Fail(fault, 0, 1)
		if _, err := k.Vector(waves("bias", 9)); !errors.Is(err, kern.ErrDevice) {
			t.Errorf("%s: got %v, want %v", fault, err, kern.ErrDevice)
		}
	}
}

// Where Metal refuses to read in place, weights are copied, and the device says so. Where there is no memory for that either,
// it is an error.
func TestRefusedViews(t *testing.T) {
	k := open(t).(*backend)
	want := made(t, k)
	first := newMappedShelf(t)
	packed := made(t, k.Shelve(first))
	shelf := first.saved()
	kern.Free(packed)
	defer shelf.close()
	mtltest.Fail("buffer without a copy", 0, 1000)
	defer mtltest.Fail("buffer without a copy", 0, 0)
	got := made(t, k.Shelve(shelf))
	compareHeld(t, "refused", k, got, want)
	if shelf.keeps != 0 || len(k.views) != 0 {
		t.Errorf("%d keeps, %d views, want none", shelf.keeps, len(k.views))
	}
	if detail := k.Device().Detail; !strings.Contains(detail, "packed weights are copied (metal: buffer of") || !strings.Contains(detail, "refuses") {
		t.Errorf("got %s, want the reason", detail)
	}
	mtltest.Fail("buffer", 0, 1)
	if _, err := k.Shelve(shelf).Table(kern.Q4, waves("embed", 21, 70)); err == nil || !strings.Contains(err.Error(), "no memory") {
		t.Errorf("without memory: got %v", err)
	}
	kern.Free(want)
	kern.Free(got)
	if n := k.Allocated(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}
