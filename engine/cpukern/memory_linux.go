package cpukern

// Memory outside Go's heap in pages of 2 MB, where the system gives them: with 4 KB pages a weight is read a third slower. Only
// whole aligned 2 MB become such a page, and most weights are smaller, so they lie side by side in blocks of many; what is
// larger than a part of a block has one of its own.
//
//	newMemory ──► block: piece, piece, … ──► freeMemory: the piece's pages go back at once, the block with its last piece

import (
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	hugePage   = 2 << 20
	blockBytes = 64 << 20
	pieceBytes = blockBytes / 4 // what is larger has a block of its own
	pieceAlign = 64             // a cache line
)

// memoryBlock is one mapping.
type memoryBlock struct {
	memory []byte
	used   int
	live   int // pieces
}

var blocks struct {
	sync.Mutex
	current *memoryBlock           // where the next small piece goes
	of      map[*byte]*memoryBlock // by a piece's first byte
}

// newMemory is n zeroed bytes outside Go's heap, n at least 1, from a cache line on.
func newMemory(n int) ([]byte, error) {
	blocks.Lock()
	defer blocks.Unlock()
	b := blocks.current
	if n > pieceBytes || b == nil || b.used+n > len(b.memory) {
		size := blockBytes
		if n > pieceBytes {
			size = n
		}
		memory, err := mapHuge(size)
		if err != nil {
			return nil, err
		}
		b = &memoryBlock{memory: memory}
	}
	if n <= pieceBytes {
		blocks.current = b
	}
	piece := b.memory[b.used:][:n:n]
	b.used = min((b.used+n+pieceAlign-1)&^(pieceAlign-1), len(b.memory))
	b.live++
	if blocks.of == nil {
		blocks.of = map[*byte]*memoryBlock{}
	}
	blocks.of[&piece[0]] = b
	return piece, nil
}

// freeMemory gives back what newMemory made.
func freeMemory(piece []byte) {
	blocks.Lock()
	defer blocks.Unlock()
	b := blocks.of[&piece[0]]
	if b == nil {
		panic(fmt.Sprintf("cpukern: %d bytes are no memory of newMemory, or were freed before", len(piece)))
	}
	delete(blocks.of, &piece[0])
	if b.live--; b.live > 0 {
		releasePages(piece)
		return
	}
	if blocks.current == b {
		blocks.current = nil
	}
	_ = unix.MunmapPtr(unsafe.Pointer(&b.memory[0]), uintptr(len(b.memory))) // fails only for what mapHuge did not make
}

// releasePages gives the pages that lie within a piece back to the system.
func releasePages(piece []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(&piece[0]))
	first := (start + page - 1) &^ (page - 1)
	if end := (start + uintptr(len(piece))) &^ (page - 1); first < end {
		_ = unix.Madvise(piece[first-start:end-start], unix.MADV_DONTNEED)
	}
}

// mapHuge maps at least n zeroed bytes from a boundary of 2 MB on: more is mapped first, and what lies outside given back.
func mapHuge(n int) ([]byte, error) {
	size := uintptr(n+hugePage-1) &^ (hugePage - 1)
	all, err := unix.MmapPtr(-1, 0, nil, size+hugePage, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	lead := -uintptr(all) & (hugePage - 1)
	if lead > 0 {
		_ = unix.MunmapPtr(all, lead)
	}
	if trail := hugePage - lead; trail > 0 {
		_ = unix.MunmapPtr(unsafe.Add(all, lead+size), trail)
	}
	memory := unsafe.Slice((*byte)(unsafe.Add(all, lead)), int(size))
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE) // a wish: without it everything works, slower
	return memory, nil
}
