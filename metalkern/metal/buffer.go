//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// buffer is memory that processor and GPU both see at contents.
type buffer struct {
	device   *device
	id       id
	contents unsafe.Pointer
	bytes    int64
	wrapped  bool // memory that is not Metal's, and is not written
	freed    atomic.Bool
}

func (d *device) Buffer(bytes int64) (driver.Buffer, error) {
	if bytes <= 0 || d.info.Largest > 0 && bytes > d.info.Largest {
		return nil, fmt.Errorf("metal: buffer: got %d bytes, want 1 to %d", bytes, d.info.Largest)
	}
	b := &buffer{device: d, bytes: bytes}
	err := d.thread.do(func(c *caller) error {
		return b.take(c, id(c.send(d.id, deviceNewBuffer, uintptr(bytes), storageShared)), "no memory")
	})
	if err != nil {
		return nil, err
	}
	clear(b.slice(0, bytes)) // Metal does not promise zeros
	return d.hold(b)
}

// Wrap gives Metal no deallocator: it never frees the memory, whose owner lets it go after the buffer.
func (d *device) Wrap(memory []byte) (driver.Buffer, error) {
	page := uintptr(os.Getpagesize())
	at, bytes := uintptr(unsafe.Pointer(unsafe.SliceData(memory))), uintptr(len(memory))
	if bytes == 0 || at%page != 0 || bytes%page != 0 || d.info.Largest > 0 && int64(bytes) > d.info.Largest {
		return nil, fmt.Errorf("metal: wrap: got %d bytes at %#x, want whole pages of %d bytes, at most %d in all", bytes, at, page, d.info.Largest)
	}
	if !d.info.Unified {
		return nil, fmt.Errorf("metal: wrap: %s has memory of its own", d.info.Name)
	}
	b := &buffer{device: d, bytes: int64(bytes), wrapped: true}
	err := d.thread.do(func(c *caller) error {
		const noDeallocator = 0
		made := id(c.send(d.id, deviceWrapMemory, at, bytes, storageShared, noDeallocator))
		if err := b.take(c, made, "Metal refuses to use memory of the process in place"); err != nil {
			return err
		}
		if uintptr(b.contents) != at {
			c.send(b.id, objectRelease)
			return fmt.Errorf("metal: wrap: got a buffer at %p, want one at %#x", b.contents, at)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.hold(b)
}

// take takes a new object, which is nil where Metal has refused.
func (b *buffer) take(c *caller, made id, refusal string) error {
	if made == 0 {
		return fmt.Errorf("metal: buffer of %d bytes: %s (%d bytes are held, the GPU recommends at most %d): %w",
			b.bytes, refusal, b.device.Allocated(), b.device.info.Memory, kern.ErrMemory)
	}
	made, err := c.verifyNew(made, "MTLBuffer")
	if err != nil {
		return err
	}
	b.id, b.contents = made, pointer(c.send(made, bufferContents))
	if b.contents == nil {
		c.send(made, objectRelease)
		return fmt.Errorf("metal: buffer of %d bytes: it has no contents", b.bytes)
	}
	return nil
}

// hold counts a new buffer.
func (d *device) hold(b *buffer) (driver.Buffer, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.closed {
		return nil, errClosed
	}
	d.buffers[b] = true
	d.allocated.Add(b.bytes)
	return b, nil
}

func (b *buffer) Contents() []byte {
	if b.wrapped || !b.device.info.Unified {
		return nil
	}
	return b.slice(0, b.bytes)
}

func (b *buffer) slice(offset, n int64) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(b.contents, offset)), n)
}

func (b *buffer) Bytes() int64 { return b.bytes }

func (b *buffer) Free() {
	if b.freed.Swap(true) {
		return
	}
	b.device.allocated.Add(-b.bytes)
	b.device.lock.Lock()
	held := b.device.buffers[b]
	delete(b.device.buffers, b)
	b.device.lock.Unlock()
	if !held {
		return // the device is closed, and freed it
	}
	// An error would mean that the device was closed meanwhile; then it has no buffer left, and nobody uses this one.
	_ = b.device.thread.do(func(c *caller) error {
		c.send(b.id, objectRelease)
		return nil
	})
}

// place checks a binding and returns its buffer.
func (d *device) place(at driver.Binding, bytes int64) (*buffer, error) {
	b, ok := at.Buffer.(*buffer)
	switch {
	case !ok || b == nil:
		return nil, fmt.Errorf("metal: binding: got %T, want a buffer of this device", at.Buffer)
	case b.device != d:
		return nil, fmt.Errorf("metal: binding: got a buffer of another device")
	case b.freed.Load():
		return nil, fmt.Errorf("metal: binding: the buffer of %d bytes is freed", b.bytes)
	case at.Offset < 0 || bytes < 0 || at.Offset > b.bytes-bytes:
		return nil, fmt.Errorf("metal: binding: got %d bytes at offset %d, want them inside the buffer's %d", bytes, at.Offset, b.bytes)
	}
	return b, nil
}
