package cpukern

import (
	"testing"
	"unsafe"
)

// Pieces are zeroed, apart, on cache lines, and gone when they are freed; large ones begin on a huge page.
func TestMemory(t *testing.T) {
	before := len(blocks.of)
	var pieces [][]byte
	for i := range 300 {
		n := 1 + i*i*i%(3<<20)
		if i == 150 {
			n = pieceBytes + 1
		}
		piece, err := newMemory(n)
		if err != nil {
			t.Fatal(err)
		}
		at := uintptr(unsafe.Pointer(&piece[0]))
		if len(piece) != n || at%pieceAlign != 0 || n > pieceBytes && at%hugePage != 0 {
			t.Fatalf("%d bytes: got %d at %x", n, len(piece), at)
		}
		for j, b := range piece {
			if b != 0 {
				t.Fatalf("%d bytes: byte %d is %d, want 0", n, j, b)
			}
			piece[j] = byte(i) | 1
		}
		pieces = append(pieces, piece)
		if i%3 == 2 { // a neighbour goes, those around it stay
			freeMemory(pieces[i-1])
			pieces[i-1] = nil
		}
	}
	for i, piece := range pieces {
		if piece == nil {
			continue
		}
		for j, b := range piece {
			if b != byte(i)|1 {
				t.Fatalf("piece %d, byte %d: got %d, want %d", i, j, b, byte(i)|1)
			}
		}
		freeMemory(piece)
	}
	if after := len(blocks.of); after != before {
		t.Errorf("got %d pieces after freeing all, want %d", after, before)
	}
}
