package metalkern

import (
	"testing"

	"segue/metalkern/driver"
)

// memory is a driver's buffer that only says that it was freed.
type memory struct{ freed *bool }

func (m memory) Bytes() int64     { return 0 }
func (m memory) Contents() []byte { return nil }
func (m memory) Free()            { *m.freed = true }

func TestHazards(t *testing.T) {
	a, b := driver.Buffer(memory{new(bool)}), driver.Buffer(memory{new(bool)})
	read := func(m driver.Buffer, from, to int64) region { return region{memory: m, from: from, to: to} }
	for _, c := range []struct {
		name          string
		before, after region
		want          bool
	}{
		{"reads", read(a, 0, 8), read(a, 0, 8), false},
		{"read of what was written", read(a, 0, 8).written(), read(a, 7, 9), true},
		{"write of what was read", read(a, 4, 8), read(a, 0, 5).written(), true},
		{"writes", read(a, 0, 8).written(), read(a, 0, 8).written(), true},
		{"side by side", read(a, 0, 8).written(), read(a, 8, 16).written(), false},
		{"other memory", read(a, 0, 8).written(), read(b, 0, 8).written(), false},
		{"absent", region{}.written(), region{}.written(), false},
	} {
		var h hazards
		h.add([]region{c.before})
		if got := h.conflict([]region{read(b, 99, 100), c.after}); got != c.want {
			t.Errorf("%s: got conflict %v, want %v", c.name, got, c.want)
		}
		h.clear()
		if h.conflict([]region{c.after}) {
			t.Errorf("%s: got a conflict with what a barrier has ordered", c.name)
		}
	}
}

// The list is bounded: where it is full, a barrier comes early rather than a region be forgotten.
func TestHazardsFull(t *testing.T) {
	var h hazards
	a := driver.Buffer(memory{new(bool)})
	for i := range int64(len(h.regions)) {
		r := []region{{memory: a, from: i, to: i + 1}}
		if h.conflict(r) {
			t.Fatalf("region %d: got a conflict, want room", i)
		}
		h.add(r)
	}
	if !h.conflict([]region{{memory: a, from: 1000, to: 1001}}) {
		t.Error("a full list: got no conflict, want one")
	}
}

// What a submission writes is fresh until the next one; where the list is full all is.
func TestFresh(t *testing.T) {
	var f fresh
	a, b := driver.Buffer(memory{new(bool)}), driver.Buffer(memory{new(bool)})
	f.add([]region{{memory: a, to: 8, write: true}, {memory: b, to: 8}, {write: true}})
	if !f.has(region{memory: a, from: 99, to: 100}) || f.has(region{memory: b}) || f.has(region{}) {
		t.Error("want the memory that was written to be fresh, and no other")
	}
	for range len(f.memories) {
		f.add([]region{{memory: memory{new(bool)}, write: true}})
	}
	if !f.has(region{memory: b}) {
		t.Error("a full list: want all to be fresh")
	}
	f.clear()
	if f.has(region{memory: a}) {
		t.Error("another submission: want nothing to be fresh")
	}
}

// Columns are settled unless the submission at hand has written one of them.
func TestSettled(t *testing.T) {
	c := &cache{}
	c.writes(1, 5)
	c.writes(1, 6)
	for _, w := range []struct {
		turn   uint64
		before int
		want   bool
	}{{1, 5, true}, {1, 6, false}, {2, 7, true}} {
		if got := c.settled(w.turn, w.before); got != w.want {
			t.Errorf("submission %d, columns before %d: got settled %v, want %v", w.turn, w.before, got, w.want)
		}
	}
	c.writes(2, 7)
	if !c.settled(2, 7) || c.settled(2, 8) {
		t.Error("the next submission: want columns from 7 on to be fresh alone")
	}
}

// Memory that is freed while streams are at work stays, and counts, until each is done with what it had begun by then.
func TestGraveyard(t *testing.T) {
	b := &backend{graves: graveyard{working: map[*stream]uint64{}}}
	b.users.Store(10)
	b.allocated.Store(1000)
	bury := func() *bool {
		freed := new(bool)
		b.graves.bury(b, grave{Buffer: memory{freed}, bytes: 10, after: func() {
			if !*freed {
				t.Error("what comes after came before")
			}
		}})
		return freed
	}
	want := func(what string, freed *bool, is bool, allocated, waiting int64) {
		t.Helper()
		left, _ := b.graves.left()
		if *freed != is || b.Allocated() != allocated || left != waiting {
			t.Errorf("%s: freed %v, %d bytes allocated, %d waiting, want %v, %d, %d", what, *freed, b.Allocated(), left, is, allocated, waiting)
		}
	}
	some := func() bool {
		_, some := b.graves.left()
		select {
		case <-some:
			return true
		default:
			return false
		}
	}
	one, other := &stream{backend: b}, &stream{backend: b}
	want("no stream at work", bury(), true, 990, 0)
	b.turns.Store(5)
	b.graves.reach(one, 4)
	b.graves.reach(other, 5)
	first := bury()
	want("both had begun", first, false, 990, 10)
	b.turns.Store(8)
	second := bury()
	b.graves.reach(one, 7)
	want("one is done with it", first, false, 990, 20)
	_, gone := b.graves.left()
	b.graves.reach(other, 6)
	want("both are", first, true, 980, 10)
	if _, open := <-gone; open || some() {
		t.Error("want to hear of the first, and not yet of the second")
	}
	b.graves.rest(one)
	want("one rests", second, false, 980, 10)
	b.graves.rest(other)
	want("both rest", second, true, 970, 0)
	if n := b.users.Load(); n != 7 {
		t.Errorf("got %d users, want 7", n)
	}
}
