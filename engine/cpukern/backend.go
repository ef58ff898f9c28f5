// Package cpukern runs the op list of kern on the processor, with the vector instructions that it has: the backend that is
// always there.
//
//	Stream.Linear(args) ── check operands ──► task ── pool.run ──► chunks on all threads ──► package simd
//
// Ops run at once, before the recording method returns, so Submit and Wait have nothing to do. Weights are packed once, in
// the precision asked for, outside Go's heap: free them, the collector does not. A Table may be a view of the mapped file
// and must not outlive its Checkpoint. The oddity: work is cut so that neither the number of threads nor the rows computed
// together change the order of any sum, so a row has the same bits however it is computed.
package cpukern

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/weights"
)

const maxThreads = 1024

// Options configure Open.
type Options struct {
	Threads int    // 0: all cores, minus one where there are more than four
	ISA     string // instruction set by name, of those that simd.Available lists; "": the best
}

type backend struct {
	pool      *pool
	kernels   *simd.Kernels
	device    kern.Device
	allocated atomic.Int64
	closed    atomic.Bool

	viewing sync.Mutex // guards views
	views   map[*byte]int
}

// Open starts a backend and its threads; Close stops them.
func Open(o Options) (kern.Backend, error) {
	if o.Threads < 0 || o.Threads > maxThreads {
		return nil, fmt.Errorf("cpukern: threads: got %d, want 0 to %d", o.Threads, maxThreads)
	}
	kernels, err := kernelsFor(o.ISA)
	if err != nil {
		return nil, err
	}
	threads := o.Threads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
		if threads > 4 {
			threads-- // leaves a core to the host that spawned us
		}
	}
	return &backend{
		views:   map[*byte]int{},
		pool:    newPool(threads, kernels),
		kernels: kernels,
		device: kern.Device{
			Backend: "cpu",
			Name:    processorName(),
			Detail:  fmt.Sprintf("%s/%s, %v, %d threads", runtime.GOOS, runtime.GOARCH, kernels.ISA(), threads),
			Threads: threads,
		},
	}, nil
}

func kernelsFor(name string) (*simd.Kernels, error) {
	isa := simd.Detect()
	if name != "" {
		var err error
		if isa, err = simd.ParseISA(name); err != nil {
			return nil, fmt.Errorf("cpukern: %w", err)
		}
	}
	kernels, err := simd.New(isa)
	if err != nil {
		return nil, fmt.Errorf("cpukern: %w", err)
	}
	return kernels, nil
}

func (b *backend) Device() kern.Device { return b.device }

func (b *backend) Allocated() int64 { return b.allocated.Load() }

func (b *backend) Freed() (int64, <-chan struct{}) { return 0, nil }

func (b *backend) Close() error {
	if !b.closed.Swap(true) {
		b.pool.close()
	}
	return nil
}

func (b *backend) Stream() (kern.Stream, error) {
	if b.closed.Load() {
		return nil, errClosed
	}
	return newStream(b), nil
}

// holding accounts for one object: its bytes count towards Allocated until it is freed. Views of mapped files count
// too: they occupy memory while they are read.
type holding struct {
	owner *backend
	bytes int64
	freed atomic.Bool
	view  view // memory of a shelf; nil: of its own
}

func (h *holding) hold(owner *backend, bytes int64) {
	h.owner, h.bytes = owner, bytes
	if h.view != nil {
		owner.holdView(h.view)
		return
	}
	owner.allocated.Add(bytes)
}

// drop frees memory of its own.
func (h *holding) drop(memory []byte) {
	if h.view == nil {
		freeMemory(memory)
	}
}

// Bytes is what the object holds, or held.
func (h *holding) Bytes() int64 { return h.bytes }

// release reports whether this call was the first.
func (h *holding) release() bool {
	if h.freed.Swap(true) {
		return false
	}
	if h.view != nil {
		h.owner.releaseView(h.view)
		return true
	}
	h.owner.allocated.Add(-h.bytes)
	return true
}

// buffer holds floats or ints, never both.
type buffer struct {
	holding
	floats []float32
	ints   []int32
}

func (b *buffer) Len() int { return max(len(b.floats), len(b.ints)) }

func (b *buffer) Free() {
	if b.release() {
		b.floats, b.ints = nil, nil
	}
}

func (b *backend) Floats(n int) (kern.Buffer, error) {
	if err := b.checkLength("floats", n); err != nil {
		return nil, err
	}
	return b.newFloats(make([]float32, n)), nil
}

func (b *backend) newFloats(values []float32) *buffer {
	made := &buffer{floats: values}
	made.hold(b, 4*int64(len(values)))
	return made
}

func (b *backend) Ints(n int) (kern.Buffer, error) {
	if err := b.checkLength("ints", n); err != nil {
		return nil, err
	}
	made := &buffer{ints: make([]int32, n)}
	made.hold(b, 4*int64(n))
	return made, nil
}

func (b *backend) Vector(t *weights.Tensor) (kern.Buffer, error) {
	if err := b.checkTensor("vector", t); err != nil {
		return nil, err
	}
	values := make([]float32, t.Len()) // a copy: buffers may be written, mapped files may not
	t.Decode(values, 0)
	return b.newFloats(values), nil
}

func (b *backend) checkLength(what string, n int) error {
	if b.closed.Load() {
		return errClosed
	}
	if n < 1 || n > kern.MaxElements {
		return fmt.Errorf("cpukern: %s: got %d elements, want 1 to %d", what, n, kern.MaxElements)
	}
	return nil
}

// checkTensor refuses a tensor that does not hold what it says.
func (b *backend) checkTensor(what string, t *weights.Tensor) error {
	if b.closed.Load() {
		return errClosed
	}
	if err := kern.CheckTensor(t); err != nil {
		return fmt.Errorf("cpukern: %s: %w", what, err)
	}
	return nil
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
