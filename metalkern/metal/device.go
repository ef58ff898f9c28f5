//go:build (darwin || linux) && (amd64 || arm64)

// Package metal implements metalkern/driver with Apple's Metal, without cgo: Objective-C's runtime is loaded when a
// device is opened, and messages are sent through a few instructions of assembly.
//
//	Queue.Dispatch ─► batch ─► Commit ─► thread ─► command buffer, concurrent encoder, barriers ─► GPU
//	                                       ▲
//	               Buffer, Library, Wait ──┘        one locked thread makes every call
//
// Nothing here can catch an Objective-C exception, and misuse of Metal is undefined, so arguments are checked before
// they are sent, every returned object is checked for nil, and every method's types are compared with the table of
// selectors before its first use.
//
// Buffers are shared between processor and GPU, and tracked: Metal itself orders the command buffers that touch them.
// Inside one encoder it orders nothing, there the driver's barriers do.
package metal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// Values of Apple's headers.
const (
	familyApple7     = 1007
	languageMetal3   = 3 << 16
	mathSafe         = 0
	functionsPrecise = 1
	storageShared    = 0
	concurrent       = 1
	scopeBuffers     = 1
	statusCompleted  = 4
	codeOutOfMemory  = 8 // of a command buffer's error
	simdgroupThreads = 32
)

type device struct {
	thread *thread
	source func(name string) (string, error)
	id     id
	info   driver.Info

	allocated atomic.Int64
	lock      sync.Mutex
	libraries map[string]*shaders
	queues    map[*queue]bool
	buffers   map[*buffer]bool
	closed    bool
}

// Open finds the GPU. source returns the text of the kernels of a name. Where there is no Metal, or no GPU that can run the
// kernels, the error wraps kern.ErrUnavailable; one that could and fails is another error.
func Open(source func(name string) (string, error)) (driver.Device, error) {
	l, err := load()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, kern.ErrUnavailable)
	}
	d := &device{thread: newThread(l), source: source, libraries: map[string]*shaders{}, queues: map[*queue]bool{}, buffers: map[*buffer]bool{}}
	if err := d.thread.do(d.find); err != nil {
		d.thread.close()
		return nil, err
	}
	return d, nil
}

// find looks for a GPU in both ways that Metal has: either finds nothing on some machines (the first without a window
// server's session, the second in a sandbox).
func (d *device) find(c *caller) (err error) {
	c.register()
	d.id = id(c.c(c.defaultDevice))
	if d.id == 0 {
		if err := d.findAny(c); err != nil {
			return err
		}
	}
	if d.id, err = c.verifyNew(d.id, "MTLDevice"); err != nil {
		return err
	}
	name := c.text(id(c.send(d.id, deviceName)))
	if !c.truth(d.id, deviceSupportsFamily, familyApple7) {
		c.send(d.id, objectRelease)
		return fmt.Errorf("metal: %s: got a GPU without matrix operations in simdgroups, want Apple silicon (M1 or later): %w", name, kern.ErrUnavailable)
	}
	d.info = driver.Info{
		Backend: "metal",
		Name:    name,
		Detail:  systemDetail(),
		Memory:  int64(c.send(d.id, deviceWorkingSet)),
		Largest: int64(c.send(d.id, deviceMaxBuffer)),
		Unified: c.truth(d.id, deviceUnified),
	}
	return nil
}

// findAny takes the first device of the list that has what kernels need.
func (d *device) findAny(c *caller) error {
	all := id(c.c(c.allDevices))
	if all == 0 {
		return fmt.Errorf("metal: no GPU: MTLCreateSystemDefaultDevice and MTLCopyAllDevices both returned nil: %w", kern.ErrUnavailable)
	}
	all, err := c.verifyNew(all, "NSArray")
	if err != nil {
		return err
	}
	defer c.send(all, objectRelease)
	for i := range c.send(all, arrayCount) {
		one := id(c.send(all, arrayObject, i))
		if one == 0 {
			continue
		}
		if err := c.verify(one, "MTLDevice"); err != nil {
			return err
		}
		if c.truth(one, deviceSupportsFamily, familyApple7) {
			d.id = id(c.send(one, objectRetain))
			return nil
		}
	}
	return fmt.Errorf("metal: no GPU: MTLCreateSystemDefaultDevice returned nil, and MTLCopyAllDevices has no Apple silicon (M1 or later): %w", kern.ErrUnavailable)
}

func (d *device) Info() driver.Info { return d.info }

func (d *device) Allocated() int64 { return d.allocated.Load() }

// Close frees queues, buffers and libraries, then the device.
func (d *device) Close() error {
	d.lock.Lock()
	queues, buffers := d.queues, d.buffers
	d.queues, d.buffers, d.closed = nil, nil, true
	d.lock.Unlock()
	for q := range queues {
		q.finish()
	}
	err := d.thread.do(func(c *caller) error {
		for b := range buffers {
			c.send(b.id, objectRelease)
		}
		for _, s := range d.libraries {
			s.release(c)
		}
		c.send(d.id, objectRelease)
		return nil
	})
	d.thread.close()
	if errors.Is(err, errClosed) {
		return nil // closed twice
	}
	return err
}
