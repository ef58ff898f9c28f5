package metalkern

// A stream checks operands and records dispatches. It remembers the first error; ops after it are skipped until Reset.
// All device memory that ops need besides their operands is its scratch: it grows to the largest shape seen and is used
// again.

import (
	"fmt"
	"slices"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

type stream struct {
	*backend
	queue     driver.Queue
	err       error
	closed    bool
	working   bool       // the device may not be done
	submitted kern.Fence // the last one
	flying    []flight   // submissions that the device may not be done with, the oldest first
	dirty     bool       // something was recorded since
	constants [driver.MaxConstants / 8]uint64
	bindings  []driver.Binding
	pipelines map[pipelineKey]pipeline
	hazards   hazards
	fresh     fresh
	turn      uint64 // of this submission, among all of the backend's
	scratch   [scratches]scratch
}

// A flight is a submission on the device.
type flight struct {
	fence kern.Fence
	turn  uint64
}

// A kernelName is a kernel and the file of package kernels that it is in.
type kernelName struct{ file, kernel string }

// A pipeline is a kernel ready to run, and the most threads its threadgroups can have: a multiple of simdWidth.
type pipeline struct {
	driver.Pipeline
	most int
}

// simdWidth is how many threads of a threadgroup go together, on every device that there is.
const simdWidth = 32

// scratch is memory of a stream for one purpose.
type scratch struct {
	memory driver.Buffer
	bytes  int64
}

// The purposes.
const (
	scratchParts = iota // of CausalAttention
	scratchQKV          // of CausalAttention: its input, padded
	scratchRows         // of Linear over many rows: its input, rounded
	scratchState        // of LSTM: c and h
	scratches
)

func newStream(b *backend, queue driver.Queue) *stream {
	return &stream{backend: b, queue: queue, pipelines: make(map[pipelineKey]pipeline), turn: b.turns.Add(1)}
}

func (s *stream) Submit() (kern.Fence, error) {
	if !s.alive() {
		return s.submitted, s.err
	}
	fence, err := s.queue.Commit()
	if err != nil {
		s.fail(fmt.Errorf("metalkern: submit: %w", err))
	} else {
		s.submitted = kern.Fence(fence)
		if s.working {
			s.flying = append(s.flying, flight{s.submitted, s.turn})
		}
	}
	s.nextTurn()
	s.dirty = false
	return s.submitted, s.err
}

// nextTurn begins another submission.
func (s *stream) nextTurn() {
	s.hazards.clear()
	s.fresh.clear()
	s.turn = s.turns.Add(1)
}

func (s *stream) Wait(f kern.Fence) error {
	if f > s.submitted {
		s.fail(fmt.Errorf("metalkern: wait: got fence %d, want at most %d", f, s.submitted))
	}
	if !s.alive() || f == 0 {
		return s.err
	}
	if err := s.queue.Wait(driver.Fence(f)); err != nil {
		s.fail(fmt.Errorf("metalkern: wait: %w", err))
	} else {
		s.pass(f)
	}
	return s.err
}

// pass says that the device is done with what was submitted up to f.
func (s *stream) pass(f kern.Fence) {
	done := 0
	for done < len(s.flying) && s.flying[done].fence <= f {
		done++
	}
	s.flying = slices.Delete(s.flying, 0, done)
	switch {
	case len(s.flying) > 0:
		s.graves.reach(s, s.flying[0].turn)
	case s.dirty:
		s.graves.reach(s, s.turn)
	default:
		s.pause()
	}
}

func (s *stream) Err() error {
	s.alive()
	return s.err
}

// Reset lets what was recorded before the error finish, if the device still can. If it cannot, nothing is at work on it.
func (s *stream) Reset() error {
	if s.closed {
		return s.Err()
	}
	if fence, err := s.queue.Commit(); err == nil {
		s.submitted = kern.Fence(fence)
		s.queue.Wait(fence)
	}
	s.err, s.dirty = nil, false
	s.nextTurn()
	if err := s.queue.Reset(); err != nil {
		s.fail(fmt.Errorf("metalkern: reset: %w", err))
	}
	s.pause()
	return s.Err()
}

func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.Reset()
	err := s.queue.Close()
	for i := range s.scratch {
		s.shrink(&s.scratch[i])
	}
	*s = stream{backend: s.backend, closed: true}
	if left := s.backend.leave(); err == nil {
		err = left
	}
	return err
}

// alive reports whether ops may be recorded.
func (s *stream) alive() bool {
	if s.closed || s.backend.closed.Load() {
		s.fail(errClosed)
	}
	return s.err == nil
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

// record says that the device has work again.
func (s *stream) record() {
	s.dirty = true
	if !s.working {
		s.working = true
		s.graves.reach(s, s.turn)
	}
}

// pause says that the device is done with all of this stream's work.
func (s *stream) pause() {
	if s.working {
		s.working, s.flying = false, s.flying[:0]
		s.graves.rest(s)
	}
}

// A pipelineKey is a kernel and how many threads its threadgroups are to have; 0: that is all the same.
type pipelineKey struct {
	kernelName
	threads int
}

// pipeline finds a kernel; compiling it, or its file, is for its first use.
func (s *stream) pipeline(name kernelName) (pipeline, bool) { return s.pipelineOf(name, 0) }

// pipelineOf finds a kernel of which threadgroups are to have so many threads.
func (s *stream) pipelineOf(name kernelName, threads int) (pipeline, bool) {
	key := pipelineKey{name, threads}
	if p, ok := s.pipelines[key]; ok {
		return p, true
	}
	library, err := s.device.Library(name.file)
	if err != nil {
		s.fail(fmt.Errorf("metalkern: kernels %s: %w", name.file, err))
		return pipeline{}, false
	}
	made, err := library.Pipeline(name.kernel, threads)
	if err != nil {
		s.fail(fmt.Errorf("metalkern: kernel %s: %w", name.kernel, err))
		return pipeline{}, false
	}
	p := pipeline{made, made.MaxThreads() / simdWidth * simdWidth}
	if p.most == 0 {
		s.fail(fmt.Errorf("metalkern: kernel %s: got threadgroups of %d threads at most, want %d", name.kernel, made.MaxThreads(), simdWidth))
		return pipeline{}, false
	}
	s.pipelines[key] = p
	return p, true
}

// threads is as many threads of the ones wanted, a multiple of simdWidth, as the kernel can have.
func (p pipeline) threads(wanted int) int { return min(wanted, p.most) }

// constants makes the bytes of an argument struct. They are good until the next call. One that has no room fails the stream.
func constants[T any](s *stream, args T) []byte {
	size := unsafe.Sizeof(args)
	if room := unsafe.Sizeof(s.constants); size > room {
		s.fail(fmt.Errorf("metalkern: %T: got %d bytes of arguments, want at most %d", args, size, room))
		return nil
	}
	*(*T)(unsafe.Pointer(&s.constants)) = args
	return unsafe.Slice((*byte)(unsafe.Pointer(&s.constants)), size)
}

// dispatch records a kernel, after a barrier if it must wait for another. Operands are its buffers from 1 on, in order;
// written ones are marked.
func (s *stream) dispatch(p pipeline, groups driver.Size, threads int, args []byte, operands ...region) {
	if s.err != nil {
		return
	}
	if s.hazards.conflict(operands) {
		s.queue.Barrier()
		s.hazards.clear()
	}
	s.hazards.add(operands)
	s.fresh.add(operands)
	s.bindings = s.bindings[:0]
	for _, o := range operands {
		if o.absent() {
			o = region{memory: s.nothing}
		}
		s.bindings = append(s.bindings, driver.Binding{Buffer: o.memory, Offset: o.from})
	}
	s.record()
	s.queue.Dispatch(p.Pipeline, groups, threads, args, s.bindings)
}

// grow returns at least bytes bytes of scratch memory, with stale contents; absent after an error.
func (s *stream) grow(purpose int, bytes int64) region {
	m := &s.scratch[purpose]
	if m.bytes < bytes {
		s.shrink(m)
		memory, err := s.backend.memory("scratch", bytes)
		if err != nil {
			s.fail(err)
			return region{}
		}
		*m = scratch{memory, bytes}
	}
	return region{memory: m.memory, to: bytes}
}

func (s *stream) shrink(m *scratch) {
	if m.memory != nil {
		s.backend.free(m.memory, m.bytes)
	}
	*m = scratch{}
}
