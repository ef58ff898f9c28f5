package cpukern

// A stream checks operands and runs ops at once. It remembers the first error; ops after it are skipped until Reset.
// All memory that ops need besides their operands is here: it grows to the largest shape seen and is used again.

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"segue/engine/kern"
)

var errClosed = errors.New("cpukern: used after Close")

type stream struct {
	*backend
	err    error
	fence  kern.Fence
	closed bool

	shared   []float32      // of one op: the normalised or padded input
	private  [][]float32    // by thread
	tiles    []byte         // of Linear: rounded activations
	keys     [][]uint64     // by thread, for Sample
	counters []atomic.Int32 // of one op

	tasks
}

// tasks are one per op, so that handing it to the pool allocates nothing. Each keeps its last operands until forget.
type tasks struct {
	linear    linearTask
	quantize  quantizeTask
	norm      normTask
	embed     embedTask
	causal    causalTask
	attention attentionTask
	pad       padTask
	conv      convTask
	transpose transposeTask
	lstm      lstmTask
	encode    rvqEncodeTask
	decode    rvqDecodeTask
	sample    sampleTask
}

func newStream(b *backend) *stream {
	return &stream{
		backend: b,
		private: make([][]float32, b.pool.threads()),
		keys:    make([][]uint64, b.pool.threads()),
	}
}

func (s *stream) Submit() (kern.Fence, error) {
	s.fence++
	s.forget()
	return s.fence, s.Err()
}

// forget lets go of the last operands, whose memory would outlive their buffers.
func (s *stream) forget() {
	tables := s.embed.tables
	clear(tables)
	s.tasks = tasks{}
	s.embed.tables = tables[:0]
}

func (s *stream) Wait(f kern.Fence) error {
	if f > s.fence {
		s.fail(fmt.Errorf("cpukern: wait: got fence %d, want at most %d", f, s.fence))
	}
	return s.Err()
}

func (s *stream) Err() error {
	s.alive()
	return s.err
}

func (s *stream) Reset() error {
	s.err = nil
	return s.Err()
}

func (s *stream) Close() error {
	*s = stream{backend: s.backend, closed: true} // drops the scratch memory and the last operands
	return nil
}

// alive reports whether ops may run.
func (s *stream) alive() bool {
	if s.closed || s.backend.closed.Load() {
		s.fail(errClosed)
	}
	return s.err == nil
}

// run has the pool do an op.
func (s *stream) run(t task, chunks int) {
	if err := s.pool.run(t, chunks); err != nil {
		s.fail(fmt.Errorf("cpukern: %w", err))
	}
}

func (s *stream) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// passes takes the error of an op's Check.
func (s *stream) passes(err error) bool {
	s.fail(err)
	return err == nil
}

func (s *stream) shapef(op, format string, args ...any) {
	s.fail(kern.Shapef(op, format, args...))
}

// buffer finds what a window lies in and checks that it holds n elements.
func (s *stream) buffer(op, name string, w kern.Slice, n int) *buffer {
	if w.Nil() {
		s.shapef(op, "%s: absent", name)
		return nil
	}
	b, ok := w.Buffer.(*buffer)
	switch {
	case !ok || b == nil || b.owner != s.backend:
		s.shapef(op, "%s: buffer of another backend", name)
	case b.freed.Load():
		s.shapef(op, "%s: freed buffer", name)
	case s.passes(w.Check(op, name, b.Len(), n)):
		return b
	}
	return nil
}

// floats are the first n elements of a window; nil after an error.
func (s *stream) floats(op, name string, w kern.Slice, n int) []float32 {
	b := s.buffer(op, name, w, n)
	if b == nil {
		return nil
	}
	if b.floats == nil {
		s.shapef(op, "%s: got integers, want floats", name)
		return nil
	}
	return b.floats[w.Off : w.Off+n : w.Off+n]
}

// optional is floats, or nil for an absent operand.
func (s *stream) optional(op, name string, w kern.Slice, n int) []float32 {
	if w.Nil() {
		return nil
	}
	return s.floats(op, name, w, n)
}

// ints are the first n elements of a window; nil after an error.
func (s *stream) ints(op, name string, w kern.Slice, n int) []int32 {
	b := s.buffer(op, name, w, n)
	if b == nil {
		return nil
	}
	if b.ints == nil {
		s.shapef(op, "%s: got floats, want integers", name)
		return nil
	}
	return b.ints[w.Off : w.Off+n : w.Off+n]
}

// matrix finds the weight behind a handle; nil after an error.
func (s *stream) matrix(op, name string, m kern.Matrix) *matrix {
	found, ok := m.(*matrix)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef(op, "%s: absent, or not a weight of this backend", name)
	case found.freed.Load():
		s.shapef(op, "%s: freed weight", name)
	default:
		return found
	}
	return nil
}

// table finds the embeddings behind a handle; nil after an error.
func (s *stream) table(op, name string, m kern.Matrix) *table {
	found, ok := m.(*table)
	switch {
	case !ok || found == nil || found.owner != s.backend:
		s.shapef(op, "%s: absent, or not a table of this backend", name)
	case found.freed.Load():
		s.shapef(op, "%s: freed table", name)
	default:
		return found
	}
	return nil
}

// apart refuses an op whose result would overwrite one of its operands.
func (s *stream) apart(op, name string, dst, operand []float32) {
	if overlap(dst, operand) {
		s.shapef(op, "%s: overlaps the result", name)
	}
}

// same allows an operand to be the result itself, element by element.
func (s *stream) same(op, name string, dst, operand []float32) {
	if overlap(dst, operand) && &dst[0] != &operand[0] {
		s.shapef(op, "%s: overlaps the result in part", name)
	}
}

// overlap reports whether two slices share an element.
func overlap(a, b []float32) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	from, to := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return from < to+4*uintptr(len(b)) && to < from+4*uintptr(len(a))
}

// grow returns n floats of the stream's shared scratch, with stale contents.
func (s *stream) grow(n int) []float32 {
	if len(s.shared) < n {
		s.shared = make([]float32, n)
	}
	return s.shared[:n]
}

// growTiles is grow for rounded activations.
func (s *stream) growTiles(n int) []byte {
	if len(s.tiles) < n {
		s.tiles = make([]byte, n)
	}
	return s.tiles[:n]
}

// growPrivate gives every thread n floats of its own.
func (s *stream) growPrivate(n int) {
	for i := range s.private {
		if len(s.private[i]) < n {
			s.private[i] = make([]float32, n)
		}
	}
}

func (s *stream) Upload(dst kern.Slice, src []float32) {
	if !s.alive() || !s.fits("upload", dst, len(src)) {
		return
	}
	copy(s.floats("upload", "dst", dst, len(src)), src)
}

func (s *stream) UploadInts(dst kern.Slice, src []int32) {
	if !s.alive() || !s.fits("upload", dst, len(src)) {
		return
	}
	copy(s.ints("upload", "dst", dst, len(src)), src)
}

func (s *stream) Download(dst []float32, src kern.Slice) error {
	if s.alive() && s.fits("download", src, len(dst)) {
		copy(dst, s.floats("download", "src", src, len(dst)))
	}
	return s.err
}

func (s *stream) DownloadInts(dst []int32, src kern.Slice) error {
	if s.alive() && s.fits("download", src, len(dst)) {
		copy(dst, s.ints("download", "src", src, len(dst)))
	}
	return s.err
}

func (s *stream) Copy(dst, src kern.Slice) {
	if !s.alive() || !s.fits("copy", dst, src.N) {
		return
	}
	to, from := s.buffer("copy", "dst", dst, src.N), s.buffer("copy", "src", src, src.N)
	switch {
	case s.err != nil:
	case to == from && dst.Off < src.Off+src.N && src.Off < dst.Off+dst.N:
		s.shapef("copy", "src: overlaps the result")
	case (to.floats == nil) != (from.floats == nil):
		s.shapef("copy", "got floats and integers, want the same")
	case to.floats != nil:
		copy(to.floats[dst.Off:], from.floats[src.Off:src.Off+src.N])
	default:
		copy(to.ints[dst.Off:], from.ints[src.Off:src.Off+src.N])
	}
}

// fits wants a window of exactly n elements.
func (s *stream) fits(op string, w kern.Slice, n int) bool {
	if w.N != n {
		s.shapef(op, "got windows of %d and %d elements, want the same", w.N, n)
	}
	return s.err == nil
}
