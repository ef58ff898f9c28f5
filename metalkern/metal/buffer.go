//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"segue/metalkern/driver"
)

// buffer is memory that processor and GPU both see at contents.
type buffer struct {
	device   *device
	id       id
	contents unsafe.Pointer
	bytes    int64
	freed    atomic.Bool
}

func (d *device) Buffer(bytes int64) (driver.Buffer, error) {
	if bytes <= 0 || d.info.Largest > 0 && bytes > d.info.Largest {
		return nil, fmt.Errorf("metal: buffer: got %d bytes, want 1 to %d", bytes, d.info.Largest)
	}
	b := &buffer{device: d, bytes: bytes}
	err := d.thread.do(func(c *caller) error {
		b.id = id(c.send(d.id, deviceNewBuffer, uintptr(bytes), storageShared))
		if b.id == 0 {
			return fmt.Errorf("metal: buffer of %d bytes: no memory (%d bytes are held, the GPU recommends at most %d)", bytes, d.Allocated(), d.info.Memory)
		}
		if err := c.verify(b.id, "MTLBuffer", "NSObject"); err != nil {
			return err
		}
		b.contents = pointer(c.send(b.id, bufferContents))
		if b.contents == nil {
			c.send(b.id, objectRelease)
			return fmt.Errorf("metal: buffer of %d bytes: it has no contents", bytes)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	clear(b.slice(0, bytes)) // Metal does not promise zeros
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.closed {
		return nil, errClosed
	}
	d.buffers[b] = true
	d.allocated.Add(bytes)
	return b, nil
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
