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

// Memory that is freed while a stream is at work stays until no stream is.
func TestGraveyard(t *testing.T) {
	var freed bool
	b := &backend{}
	b.users.Store(10)
	b.graves.start()
	b.graves.start()
	bury := func() {
		freed = false
		b.graves.bury(b, grave{memory{&freed}, func() {
			if !freed {
				t.Error("what comes after came before")
			}
		}})
	}
	bury()
	b.graves.pause(b)
	if freed {
		t.Error("freed while a stream was at work")
	}
	b.graves.pause(b)
	if !freed {
		t.Error("not freed when the last stream paused")
	}
	bury()
	if !freed || b.users.Load() != 8 {
		t.Errorf("between streams' work: got freed %v, %d users, want at once, and 8", freed, b.users.Load())
	}
}
