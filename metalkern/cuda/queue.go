package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"segue/metalkern/driver"
)

const (
	// maxBindings is as many buffers as a Metal kernel can take beside its constants.
	maxBindings = 30
	// shortTape is how many there is room for from the beginning: more than a step of the largest model.
	shortTape = 1024
	// fullTape is how many dispatches are recorded at most before they are handed over without being asked to.
	fullTape = 4096
	// fenceEvents is how many commits can be told apart; waiting for an older one waits for the oldest of these.
	fenceEvents = 64
)

// dispatch is one recorded kernel.
type dispatch struct {
	pipeline      *pipeline
	barrier       bool // between the one before and this
	groups        [3]uint32
	threads       uint32
	constantBytes int
	bindingCount  int
	constants     [driver.MaxConstants]byte
	bindings      [maxBindings]address
}

// same says whether a and b run the same kernel on the same things with the same constants.
func (a *dispatch) same(b *dispatch) bool {
	return a.pipeline == b.pipeline && a.groups == b.groups && a.threads == b.threads &&
		a.constantBytes == b.constantBytes && a.bindingCount == b.bindingCount &&
		string(a.constants[:a.constantBytes]) == string(b.constants[:b.constantBytes]) &&
		equal(a.bindings[:a.bindingCount], b.bindings[:b.bindingCount])
}

func equal(a, b []address) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// set points a launch at d, which must stay where it is until the launch is made.
func (l *launch) set(d *dispatch) {
	l.function, l.groups, l.threads = d.pipeline.function, d.groups, d.threads
	l.room = uint32(d.pipeline.brought) + d.pipeline.room(d.groups)
	l.parameters[0] = unsafe.Pointer(&d.constants)
	for i := range d.bindingCount {
		l.parameters[1+i] = unsafe.Pointer(&d.bindings[i])
	}
}

// queue is one stream of the device.
type queue struct {
	device   *Device
	stream   stream
	err      error
	recorded []dispatch
	barrier  bool // since the last dispatch
	launch   *launch
	replay   replay
	staging  staging

	fences    [fenceEvents]event
	committed driver.Fence
	passed    driver.Fence // is known to be finished
	closed    bool
}

// Queue opens a stream of the device.
func (d *Device) Queue() (driver.Queue, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer leave()
	q := &queue{
		device: d, launch: new(launch), replay: replay{api: d.api, tailor: &d.tailor, overlap: d.overlap}, staging: staging{api: d.api},
		recorded: make([]dispatch, 0, shortTape),
	}
	var err error
	if q.stream, err = d.api.newStream(); err != nil {
		return nil, err
	}
	for i := range q.fences {
		if q.fences[i], err = d.api.newEvent(); err != nil {
			return nil, errors.Join(err, q.release())
		}
	}
	return q, nil
}

// Dispatch records one kernel.
func (q *queue) Dispatch(p driver.Pipeline, groups driver.Size, threads int, constants []byte, bindings []driver.Binding) {
	if q.err != nil {
		return
	}
	mine, ok := p.(*pipeline)
	if !ok || mine.of.device != q.device {
		q.err = fmt.Errorf("cuda: dispatch: got a pipeline of type %T of another device", p)
		return
	}
	if err := mine.check(groups, threads, len(constants), len(bindings)); err != nil {
		q.err = fmt.Errorf("cuda: dispatch of %s: %w", mine.name, err)
		return
	}
	if len(q.recorded) == cap(q.recorded) {
		q.recorded = append(q.recorded, dispatch{})[:len(q.recorded)]
	}
	d := &q.recorded[:len(q.recorded)+1][len(q.recorded)]
	d.pipeline, d.threads = mine, uint32(threads)
	d.groups = [3]uint32{uint32(groups.X), uint32(groups.Y), uint32(groups.Z)}
	d.constantBytes, d.bindingCount = copy(d.constants[:], constants), len(bindings)
	d.barrier = q.barrier && len(q.recorded) > 0
	for i, b := range bindings {
		at, err := q.device.place(b, 4)
		if err != nil {
			q.err = fmt.Errorf("cuda: dispatch of %s: buffer %d: %w", mine.name, i+1, err)
			return
		}
		d.bindings[i] = at
	}
	q.recorded, q.barrier = q.recorded[:len(q.recorded)+1], false
	if len(q.recorded) == fullTape {
		q.enter(q.submit)
	}
}

// check says whether a launch is one that the kernel and the device can run.
func (p *pipeline) check(groups driver.Size, threads, constants, bindings int) error {
	switch {
	case groups.X < 1 || groups.X > 1<<31-1 || groups.Y < 1 || groups.Y > 65535 || groups.Z < 1 || groups.Z > 65535:
		return fmt.Errorf("got %v threadgroups, want at least 1 each way, at most 2147483647 by 65535 by 65535", groups)
	case threads < 1 || threads > p.maxThreads:
		return fmt.Errorf("got threadgroups of %d threads, want 1 to %d threads", threads, p.maxThreads)
	case constants != p.constantBytes:
		return fmt.Errorf("got %d bytes of constants, want %d", constants, p.constantBytes)
	case bindings != p.buffers:
		return fmt.Errorf("got %d buffers, want %d", bindings, p.buffers)
	}
	return nil
}

// Barrier orders what comes before and after it.
func (q *queue) Barrier() { q.barrier = true }

// enter runs a step of work with the context current, unless an earlier one failed, and remembers its error.
func (q *queue) enter(work func() error) error {
	if q.err == nil && q.closed {
		q.err = errors.New("cuda: the queue is closed")
	}
	if q.err != nil {
		return q.err
	}
	if q.err = q.device.enter(); q.err == nil {
		q.err = work()
		leave()
	}
	return q.err
}

// submit hands over what was recorded: a graph where the same kernels have run before, one launch each otherwise.
func (q *queue) submit() error {
	recorded := q.recorded
	q.recorded, q.barrier = q.recorded[:0], false
	if len(recorded) == 0 {
		return nil
	}
	if ready, err := q.replay.run(recorded, q.launch, q.stream); ready || err != nil {
		return err
	}
	for i := range recorded {
		q.launch.set(&recorded[i])
		if tailoring == atOnce {
			if err := q.device.tailor.now(&recorded[i], q.launch); err != nil {
				return err
			}
		}
		early := q.replay.overlap && i > 0 // the first waits for all that was handed over before
		if err := q.device.api.launch(q.launch, q.stream, early); err != nil {
			return fmt.Errorf("cuda: launch of %s over %v threadgroups of %d threads: %w", recorded[i].pipeline.name, recorded[i].groups, recorded[i].threads, err)
		}
	}
	return nil
}

// Commit sends what was recorded.
func (q *queue) Commit() (driver.Fence, error) {
	err := q.enter(q.commit)
	return q.committed, err
}

func (q *queue) commit() error {
	if err := q.submit(); err != nil {
		return err
	}
	err := q.device.api.record(q.fences[(q.committed+1)%fenceEvents], q.stream)
	if err == nil {
		q.committed++
	}
	return err
}

// Wait blocks until the device has finished everything up to f.
func (q *queue) Wait(f driver.Fence) error {
	if q.err == nil && f > q.committed {
		q.err = fmt.Errorf("cuda: wait: got fence %d, want at most %d, the last", f, q.committed)
	}
	if q.err != nil || f <= q.passed {
		return q.err
	}
	// An event that a later commit has taken over tells of that one, which is later than f.
	return q.enter(func() error {
		err := q.device.api.waitEvent(q.fences[f%fenceEvents])
		if err == nil {
			q.passed = f
		}
		return err
	})
}

// Write copies src to the device, after everything recorded before.
func (q *queue) Write(to driver.Binding, src []byte) error {
	return q.transfer("write", to, src, q.staging.upload)
}

// Read copies from the device, after everything recorded before.
func (q *queue) Read(dst []byte, from driver.Binding) error {
	return q.transfer("read", from, dst, q.staging.download)
}

func (q *queue) transfer(what string, b driver.Binding, host []byte, move func(address, []byte, stream) error) error {
	if q.err != nil || len(host) == 0 {
		return q.err
	}
	at, err := q.device.place(b, int64(len(host)))
	if err != nil {
		q.err = fmt.Errorf("cuda: %s: %w", what, err)
		return q.err
	}
	return q.enter(func() error {
		if err := q.submit(); err != nil {
			return err
		}
		return move(at, host, q.stream)
	})
}

// Reset drops what was recorded, waits for the device and forgets the error, unless it is one that stays.
func (q *queue) Reset() error {
	q.recorded, q.barrier, q.err = q.recorded[:0], false, nil
	err := q.enter(func() error { return q.device.api.synchronize(q.stream) })
	var failed *Error
	if errors.As(err, &failed) && failed.lost() {
		q.err = fmt.Errorf("cuda: the device is lost to this process, which must be started again: %w", err)
	}
	return q.err
}

// Close waits for the device and gives everything back.
func (q *queue) Close() error {
	if q.closed {
		return nil
	}
	q.closed = true
	if err := q.device.enter(); err != nil {
		return err
	}
	defer leave()
	return errors.Join(q.device.api.synchronize(q.stream), q.release())
}

// release gives back what the queue has. The context is current, the stream idle.
func (q *queue) release() error {
	errs := []error{q.replay.free(), q.staging.free()}
	for _, e := range q.fences {
		if e != 0 {
			errs = append(errs, q.device.api.destroyEvent(e))
		}
	}
	return errors.Join(append(errs, q.device.api.destroyStream(q.stream))...)
}
