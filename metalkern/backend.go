package metalkern

// A backend owns the device until it is closed and the last object made on it is freed.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

var errClosed = errors.New("metalkern: used after Close")

type backend struct {
	device    driver.Device
	info      driver.Info
	nothing   driver.Buffer // what a kernel gets for an operand that is absent
	allocated atomic.Int64
	closed    atomic.Bool
	users     atomic.Int64  // of the device: this backend, its streams, their memory
	turns     atomic.Uint64 // submissions that streams have begun
	graves    graveyard

	uploads sync.Mutex // of weights; guards queue
	queue   driver.Queue

	viewing sync.Mutex // guards views
	views   map[*byte]*view
	copying atomic.Pointer[error] // why weights are copied that could be read in place; nil: they are not
}

// New makes a backend of a device, which it closes. Open is what finds devices.
func New(device driver.Device) (kern.Backend, error) {
	b := &backend{device: device, info: device.Info(), views: map[*byte]*view{}, graves: graveyard{working: map[*stream]uint64{}}}
	b.users.Store(1)
	var err error
	if b.nothing, err = device.Buffer(256); err != nil {
		return nil, errors.Join(fmt.Errorf("metalkern: %w", err), device.Close())
	}
	if b.queue, err = device.Queue(); err != nil {
		b.nothing.Free()
		return nil, errors.Join(fmt.Errorf("metalkern: %w", err), device.Close())
	}
	return b, nil
}

func (b *backend) Device() kern.Device {
	now := b.device.Info() // what a driver has to say may come later
	if why := b.copying.Load(); why != nil {
		now.Detail += fmt.Sprintf(", packed weights are copied (%v)", *why)
	}
	return kern.Device{Backend: now.Backend, Name: now.Name, Detail: now.Detail, Memory: now.Memory, Settling: now.Settling}
}

func (b *backend) Allocated() int64 { return b.allocated.Load() }

func (b *backend) Freed() (bytes int64, some <-chan struct{}) { return b.graves.left() }

func (b *backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.leave()
}

// leave closes the device after its last user.
func (b *backend) leave() error {
	if b.users.Add(-1) > 0 {
		return nil
	}
	b.nothing.Free()
	return errors.Join(b.queue.Close(), b.device.Close())
}

func (b *backend) Stream() (kern.Stream, error) {
	if b.closed.Load() {
		return nil, errClosed
	}
	queue, err := b.device.Queue()
	if err != nil {
		return nil, fmt.Errorf("metalkern: stream: %w", err)
	}
	b.users.Add(1)
	return newStream(b, queue), nil
}

// memory returns zeroed device memory, counted until the device has let go of it.
func (b *backend) memory(what string, bytes int64) (driver.Buffer, error) {
	switch {
	case b.closed.Load():
		return nil, errClosed
	case b.info.Largest > 0 && bytes > b.info.Largest:
		return nil, fmt.Errorf("metalkern: %s: got %d bytes, want at most the %d that a buffer of this device holds",
			what, bytes, b.info.Largest)
	}
	made, err := b.device.Buffer(bytes)
	if err != nil {
		return nil, fmt.Errorf("metalkern: %s: %d bytes beside the %d in use: %w", what, bytes, b.allocated.Load(), err)
	}
	b.users.Add(1)
	b.allocated.Add(bytes)
	return made, nil
}

// free gives memory back, now or when no stream can be using it any more.
func (b *backend) free(memory driver.Buffer, bytes int64) {
	b.graves.bury(b, grave{Buffer: memory, bytes: bytes, after: func() {}})
}

// upload writes data into memory that nothing uses yet, and waits until it is there.
func (b *backend) upload(to driver.Binding, data []byte) error {
	b.uploads.Lock()
	defer b.uploads.Unlock()
	err := b.queue.Write(to, data)
	if err == nil {
		var fence driver.Fence
		if fence, err = b.queue.Commit(); err == nil {
			err = b.queue.Wait(fence)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("metalkern: upload: %w", err), b.queue.Reset())
	}
	return nil
}

// A graveyard keeps freed memory that the device may still be using: what a stream had begun to record by then holds it back,
// until the stream has seen the device be done with that. What is recorded later cannot use it.
type graveyard struct {
	mutex   sync.Mutex
	working map[*stream]uint64 // of streams whose device may not be done: the first turn that it may not be done with
	waiting []grave            // in the order of their turns
	gone    chan struct{}      // closed when some of them go; nil until somebody asks
}

// A grave is memory to free, how much of it counts, what to do after that, and the last turn that may use it.
type grave struct {
	driver.Buffer
	bytes int64
	after func()
	turn  uint64
}

// bury frees memory, now or later.
func (g *graveyard) bury(b *backend, one grave) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	one.turn = b.turns.Load()
	g.waiting = append(g.waiting, one)
	g.clear(b)
}

// reach is called by a stream at work: its device is done with all turns before this one.
func (g *graveyard) reach(s *stream, turn uint64) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.working[s] = turn
	g.clear(s.backend)
}

// rest is called by a stream whose device is done with everything.
func (g *graveyard) rest(s *stream) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	delete(g.working, s)
	g.clear(s.backend)
}

// clear frees what no stream's device can be using.
func (g *graveyard) clear(b *backend) {
	first := uint64(math.MaxUint64)
	for _, turn := range g.working {
		first = min(first, turn)
	}
	n := 0
	for ; n < len(g.waiting) && g.waiting[n].turn < first; n++ {
		one := &g.waiting[n]
		one.Free()
		b.allocated.Add(-one.bytes)
		one.after()
		b.leave()
	}
	if g.waiting = slices.Delete(g.waiting, 0, n); n > 0 && g.gone != nil {
		close(g.gone)
		g.gone = nil
	}
}

// left is how much is waiting, and what is closed when some of it goes.
func (g *graveyard) left() (bytes int64, gone <-chan struct{}) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	for i := range g.waiting {
		bytes += g.waiting[i].bytes
	}
	if g.gone == nil {
		g.gone = make(chan struct{})
	}
	return bytes, g.gone
}
