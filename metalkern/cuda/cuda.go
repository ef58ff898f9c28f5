// Package cuda runs metalkern's kernels on an NVIDIA GPU through the driver alone: libcuda or nvcuda.dll is opened at run
// time, and no toolkit is needed. The kernels are PTX, made from the Metal texts by `make ptx` and compiled for the GPU at
// hand by the driver, which keeps the result.
//
//	Queue ── recorded dispatches ──► the same kernels as before? ── yes ──► the graph of that time, with what differs set anew
//	                                                             └─ no ───► one launch each
//
// Its oddity: recording calls no driver. Commit, Write and Read hand over what was recorded, from a thread that they
// lock and give the context to; that costs one call for each of them instead of one for each dispatch, and leaves a
// goroutine free to move between.
package cuda

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// oldestMajor is the first GPU generation that the PTX is made for (Ampere), oldestDriver the first driver that reads it.
const (
	oldestMajor  = 8
	oldestDriver = 12000
)

// Device is the first NVIDIA GPU that the driver shows; CUDA_VISIBLE_DEVICES, which the driver reads, chooses another.
type Device struct {
	api     api
	context context
	info    driver.Info
	overlap bool // see overlap.go
	// Of a core: its memory that can be threadgroups', and what of it the driver takes for each.
	coreBytes, reservedBytes int
	tailor                   tailor

	allocated atomic.Int64
	mu        sync.Mutex // guards what follows
	stream    stream     // zeroes buffers
	libraries map[string]*library
	closed    bool
}

// Open opens the GPU. Where there is none that can run the kernels, the error wraps kern.ErrUnavailable and says why; one that
// could and fails is another error.
func Open() (driver.Device, error) {
	a, err := load()
	if err != nil {
		return nil, unavailable(err)
	}
	d, err := open(a)
	if err != nil {
		return nil, err
	}
	return d, nil
}

const device = 0

func open(a api) (*Device, error) {
	d := &Device{api: a, libraries: map[string]*library{}}
	d.tailor = tailor{device: d, all: map[cut]*tailored{}}
	err := d.examine()
	if err == nil {
		d.context, err = a.retainContext(device)
	}
	if err != nil {
		return nil, err
	}
	if err := d.enter(); err != nil {
		return nil, errors.Join(err, a.releaseContext(device))
	}
	defer leave()
	if d.stream, err = a.newStream(); err != nil {
		return nil, errors.Join(err, a.releaseContext(device))
	}
	return d, nil
}

// unavailable is why there is no GPU that can run the kernels.
func unavailable(why error) error { return fmt.Errorf("cuda: %w: %w", kern.ErrUnavailable, why) }

// examine finds out what the GPU is and whether it will do.
func (d *Device) examine() error {
	version, err := d.api.driverVersion()
	if err != nil { // the driver does not start: there is no GPU, or its installation is broken
		return unavailable(err)
	}
	if version < oldestDriver {
		return unavailable(fmt.Errorf("the NVIDIA driver supports CUDA %s, want %s or later: a newer driver is needed", dotted(version), dotted(oldestDriver)))
	}
	count, err := d.api.deviceCount()
	if err != nil {
		return err
	}
	if count == 0 {
		return unavailable(errors.New("the NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES hides some)"))
	}
	name, err := d.api.deviceName(device)
	if err != nil {
		return err
	}
	var major, minor, cores int
	for a, number := range map[attribute]*int{
		attributeMajor: &major, attributeMinor: &minor, attributeMultiprocessors: &cores,
		attributeCoreBytes: &d.coreBytes, attributeReservedBytes: &d.reservedBytes,
	} {
		if *number, err = d.api.deviceAttribute(device, a); err != nil {
			return err
		}
	}
	d.overlap = major >= overlapMajor && d.api.canOverlap() && overlapping == "yes"
	if major < oldestMajor {
		return unavailable(fmt.Errorf("%s has compute capability %d.%d, want %d.0 or later", name, major, minor, oldestMajor))
	}
	memory, err := d.api.deviceMemory(device)
	d.info = driver.Info{
		Backend: "cuda", Name: name, Memory: memory, Cores: cores, Warpgroups: 10*major+minor == hopper && warpgroups == "yes",
		Detail: fmt.Sprintf("compute capability %d.%d, driver for CUDA %s", major, minor, dotted(version)),
	}
	return err
}

// dotted writes a version as NVIDIA does: 12040 is 12.4.
func dotted(version int) string { return fmt.Sprintf("%d.%d", version/1000, version%1000/10) }

// Info describes the GPU.
func (d *Device) Info() driver.Info {
	info := d.info
	if tailoring != "no" {
		info.Settling = settling
	}
	info.Detail += d.tailor.detail()
	return info
}

// Allocated is the bytes of device memory now held by buffers.
func (d *Device) Allocated() int64 { return d.allocated.Load() }

// Close gives everything back. Queues must be closed and buffers freed before; what was forgotten goes with the context if
// nothing else in this process uses it.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	if err := d.enter(); err != nil {
		return err
	}
	defer leave()
	errs := append(d.tailor.close(), d.api.destroyStream(d.stream))
	for _, l := range d.libraries {
		errs = append(errs, l.unload()...)
	}
	return errors.Join(append(errs, d.api.releaseContext(device))...)
}

// buffer is device memory.
type buffer struct {
	device *Device
	bytes  int64
	at     address
	freed  atomic.Bool
}

// Buffer returns zeroed memory of at least bytes bytes.
func (d *Device) Buffer(bytes int64) (driver.Buffer, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: buffer: got %d bytes, want more than 0", bytes)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer leave()
	at, err := d.api.allocate(bytes)
	if err != nil {
		return nil, fmt.Errorf("cuda: buffer of %d bytes, beside %d already held: %w", bytes, d.Allocated(), err)
	}
	if err = d.api.zero(at, bytes, d.stream); err == nil {
		err = d.api.synchronize(d.stream)
	}
	if err != nil {
		return nil, errors.Join(err, d.api.free(at))
	}
	d.allocated.Add(bytes)
	return &buffer{device: d, bytes: bytes, at: at}, nil
}

var errClosed = errors.New("cuda: the device is closed")

// Bytes is the size that was asked for.
func (b *buffer) Bytes() int64 { return b.bytes }

// Contents is nil: the memory is the GPU's own.
func (b *buffer) Contents() []byte { return nil }

// Wrap refuses: the memory of these GPUs is their own.
func (d *Device) Wrap([]byte) (driver.Buffer, error) {
	return nil, fmt.Errorf("cuda: wrap: %s has memory of its own", d.info.Name)
}

// Free returns the memory; the driver waits for the device first.
func (b *buffer) Free() {
	d := b.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.freed.Swap(true) {
		return
	}
	d.allocated.Add(-b.bytes)
	if d.closed || d.enter() != nil {
		return // the memory went with the context
	}
	defer leave()
	_ = d.api.free(b.at) // fails only on a lost device, which the next queue call tells
}

// place is the address of bytes bytes at b.
func (d *Device) place(b driver.Binding, bytes int64) (address, error) {
	mine, ok := b.Buffer.(*buffer)
	switch {
	case !ok || mine.device != d:
		return 0, fmt.Errorf("cuda: binding: got a buffer of type %T of another device", b.Buffer)
	case mine.freed.Load():
		return 0, errors.New("cuda: binding: got a freed buffer")
	case b.Offset < 0 || b.Offset%4 != 0 || bytes > mine.bytes || b.Offset > mine.bytes-bytes:
		return 0, fmt.Errorf("cuda: binding: got %d bytes at offset %d of a buffer of %d, want an offset divisible by 4 within it", bytes, b.Offset, mine.bytes)
	}
	return mine.at + address(b.Offset), nil
}
