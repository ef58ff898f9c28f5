package kern

// Keeping packed weights. Preparing a weight for a device (rounding, rearranging) takes seconds for a model; what comes of it
// depends on nothing but the weight. A backend that can hand it out as bytes and take it back is a Packer; others need
// know nothing of this.
//
//	model code ── Matrix, Table, Filter, Vector ──► shelved backend ── Take ──► there: a view of it
//	                                                               └── pack, Put ──► kept for the next time

import (
	"strings"

	"segue/weights"
)

// A Shelf keeps packed weights of one model, or of a part of one, by name.
type Shelf interface {
	// Take returns the size bytes that were put under name, nil if they are not there. They begin at a multiple of 64, in
	// pages of memory that may be read as wholes, must not be written, and stay until the shelf is closed.
	Take(name string, size int) []byte
	// Keep makes what was taken stay until done is called, too: for a device that may not be done with it when the
	// object that holds it is freed.
	Keep() (done func())
	// Put gives bytes to keep. They stay as they are until the object that holds them is freed.
	Put(name string, data []byte)
}

// NoShelf has nothing and keeps nothing.
type NoShelf struct{}

func (NoShelf) Take(string, int) []byte { return nil }
func (NoShelf) Keep() func()            { return func() {} }
func (NoShelf) Put(string, []byte)      {}

// ShelfName tells a weight apart from all others of a shelf: what it became, and what of.
func ShelfName(kind string, parts ...*weights.Tensor) string {
	names := make([]string, len(parts))
	for i, t := range parts {
		names[i] = t.Name
	}
	return kind + " " + strings.Join(names, "+")
}

// A Packer is a backend whose packed weights can be kept.
type Packer interface {
	Backend
	// Layout names the form of the packed bytes, as family/version. Packed bytes serve every
	// backend of the same layout; another version means that older ones are of no use.
	Layout() string
	// InPlace says whether what is taken from a shelf is read where it lies, for as long as its object is there. Else it is
	// copied to memory of the device's own, and done with.
	InPlace() bool
	// Shelve returns this same backend, but making weights from what is on the shelf, and putting there what is not.
	Shelve(Shelf) Shelved
}

// A Shelved backend takes derived tensors too, which others do not: it may not need their elements.
type Shelved interface {
	Backend
	Shelf() Shelf
}

// Ready is t for a method of k: computed, if k could not do without its elements.
func Ready(k Backend, t *weights.Tensor) *weights.Tensor {
	if _, ok := k.(Shelved); ok {
		return t
	}
	return t.Settled()
}
