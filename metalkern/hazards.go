package metalkern

// What was read and written since the last barrier. An op that touches what an earlier one writes, or writes what an
// earlier one reads, must wait for it; all others may run beside it.

import (
	"slices"

	"segue/metalkern/driver"
)

// A region is bytes of device memory as an operand of an op. Without memory it is an absent operand.
type region struct {
	memory   driver.Buffer
	from, to int64
	write    bool
}

func (r region) absent() bool { return r.memory == nil }

// written says that an op writes the region, and perhaps reads it.
func (r region) written() region {
	r.write = true
	return r
}

// at is the region from a byte on.
func (r region) at(offset int64) region {
	r.from += offset
	return r
}

func (r region) overlaps(o region) bool {
	return r.memory != nil && r.memory == o.memory && r.from < o.to && o.from < r.to
}

// aligned reports whether the region begins where four floats may be read at once.
func (r region) aligned() bool { return r.from%16 == 0 }

// hazards remembers regions in a list that is short, because barriers empty it, and bounded, because one may be put in
// at any time.
type hazards struct {
	n       int
	regions [64]region
}

// conflict reports whether an op on operands must wait for what is remembered.
func (h *hazards) conflict(operands []region) bool {
	if h.n+len(operands) > len(h.regions) {
		return true
	}
	for i := range h.regions[:h.n] {
		for j := range operands {
			if (h.regions[i].write || operands[j].write) && h.regions[i].overlaps(operands[j]) {
				return true
			}
		}
	}
	return false
}

func (h *hazards) add(operands []region) {
	for _, o := range operands {
		if o.memory != nil {
			h.regions[h.n] = o
			h.n++
		}
	}
}

func (h *hazards) clear() { h.n = 0 }

// fresh remembers what this submission writes. All else has been there since before its first dispatch, so that a dispatch
// may read it while the one before is still at work. Where the list is full all counts as written.
type fresh struct {
	n        int
	memories [32]driver.Buffer
	full     bool
}

func (f *fresh) add(operands []region) {
	for _, o := range operands {
		if !o.write || o.memory == nil || f.has(o) {
			continue
		}
		if f.n == len(f.memories) {
			f.full = true
			return
		}
		f.memories[f.n] = o.memory
		f.n++
	}
}

// has reports whether the submission writes the region's memory.
func (f *fresh) has(o region) bool {
	return f.full || slices.Contains(f.memories[:f.n], o.memory)
}

func (f *fresh) clear() { f.n, f.full = 0, false }
