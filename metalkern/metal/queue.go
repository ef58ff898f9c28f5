//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"errors"
	"fmt"
	"time"

	"segue/metalkern/driver"
)

// queue is both sides of a command queue. The goroutine that records owns the first fields; the thread that calls Metal
// owns the rest. Batches travel between them and back.
type queue struct {
	device *device
	err    error // the first, until Reset
	batch  *batch
	free   chan *batch
	fence  driver.Fence // of the last commit
	done   chan error
	closed bool

	id       id
	inFlight []inFlight // oldest first
	failed   error      // the first failure of a command buffer; what comes after is not encoded
	bound    [31]bound
	busy     time.Duration
	verified bool // types of what every commit makes anew
}

// inFlight is a command buffer that was committed and not yet waited for.
type inFlight struct {
	command id
	fence   driver.Fence
}

// depth is how many batches may be under way. A step loop has two or three.
const depth = 4

func (d *device) Queue() (driver.Queue, error) {
	q := &queue{device: d, free: make(chan *batch, depth), done: make(chan error, 1), inFlight: make([]inFlight, 0, 64)}
	for range depth {
		q.free <- &batch{ // room for a step, so that not each of the batches grows in turn
			operations: make([]operation, 0, 1024), bindings: make([]bound, 0, 8192), bytes: make([]byte, 0, 128<<10),
		}
	}
	q.batch = <-q.free
	if err := d.thread.do(q.renew); err != nil {
		return nil, err
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	if d.closed {
		return nil, errClosed
	}
	d.queues[q] = true
	return q, nil
}

// renew takes another command queue of Metal's in place of the last, which is nil at first.
func (q *queue) renew(c *caller) (err error) {
	c.send(q.id, objectRelease)
	q.id = id(c.send(q.device.id, deviceNewQueue))
	if q.id == 0 {
		return errors.New("metal: no command queue")
	}
	q.id, err = c.verifyNew(q.id, "MTLCommandQueue")
	return err
}

func (q *queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}

func (q *queue) Dispatch(p driver.Pipeline, groups driver.Size, threads int, constants []byte, bindings []driver.Binding) {
	if q.err != nil {
		return
	}
	pipe, ok := p.(*pipeline)
	if !ok || pipe.device != q.device {
		q.fail(fmt.Errorf("metal: dispatch: got %T, want a pipeline of this device", p))
		return
	}
	if err := pipe.check(groups, threads, len(constants), len(bindings)); err != nil {
		q.fail(err)
		return
	}
	for i, at := range bindings {
		b, err := q.device.place(at, 1)
		if err == nil && at.Offset%4 != 0 {
			err = fmt.Errorf("metal: binding: got offset %d, want a multiple of 4", at.Offset)
		}
		if err != nil {
			q.fail(fmt.Errorf("%w (%s, buffer %d)", err, pipe.kernel, i+1))
			return
		}
		q.batch.bindings = append(q.batch.bindings, bound{b.id, uintptr(at.Offset)})
	}
	q.batch.bytes = append(q.batch.bytes, constants...)
	q.batch.operations = append(q.batch.operations, operation{
		pipeline: pipe.id, constants: len(constants), bindings: len(bindings),
		sizes: [6]uint64{uint64(groups.X), uint64(groups.Y), uint64(groups.Z), uint64(threads), 1, 1},
	})
}

func (p *pipeline) check(groups driver.Size, threads, constants, bindings int) error {
	const most = 1 << 31
	switch {
	case groups.X < 1 || groups.Y < 1 || groups.Z < 1 || groups.X > most || groups.Y > most || groups.Z > most:
		return fmt.Errorf("metal: %s: threadgroups: got %v, want at least 1 in each direction", p.kernel, groups)
	case threads < 1 || threads > p.threads:
		return fmt.Errorf("metal: %s: threads of a threadgroup: got %d, want 1 to %d", p.kernel, threads, p.threads)
	case constants < 1 || constants > driver.MaxConstants:
		return fmt.Errorf("metal: %s: constants: got %d bytes, want 1 to %d", p.kernel, constants, driver.MaxConstants)
	case bindings > 30:
		return fmt.Errorf("metal: %s: bindings: got %d, want at most 30", p.kernel, bindings)
	}
	return nil
}

func (q *queue) Barrier() {
	if q.err == nil {
		q.batch.operations = append(q.batch.operations, operation{})
	}
}

func (q *queue) Commit() (driver.Fence, error) {
	if q.closed {
		q.fail(errors.New("metal: the queue is closed"))
	}
	if q.err != nil {
		return 0, q.err
	}
	q.fence++
	q.batch.fence = q.fence
	if err := q.device.thread.send(request{queue: q, batch: q.batch}); err != nil {
		q.fail(err)
		return 0, err
	}
	q.batch = <-q.free
	return q.fence, nil
}

func (q *queue) Wait(f driver.Fence) error {
	if q.err != nil {
		return q.err
	}
	if f > q.fence {
		q.fail(fmt.Errorf("metal: wait: got fence %d, want one that Commit returned (the last is %d)", f, q.fence))
		return q.err
	}
	if err := q.device.thread.ask(request{queue: q, wait: f, done: q.done}); err != nil {
		q.fail(err)
	}
	return q.err
}

// idle waits until everything recorded is finished.
func (q *queue) idle() error {
	if q.err == nil && len(q.batch.operations) > 0 {
		if _, err := q.Commit(); err != nil {
			return err
		}
	}
	return q.Wait(q.fence)
}

func (q *queue) Write(to driver.Binding, src []byte) error {
	if err := q.idle(); err != nil {
		return err
	}
	b, err := q.device.place(to, int64(len(src)))
	if err == nil && b.wrapped {
		err = fmt.Errorf("metal: write: the buffer of %d bytes wraps memory that is not written", b.bytes)
	}
	if err != nil {
		q.fail(err)
		return err
	}
	copy(b.slice(to.Offset, int64(len(src))), src)
	return nil
}

func (q *queue) Read(dst []byte, from driver.Binding) error {
	if err := q.idle(); err != nil {
		return err
	}
	b, err := q.device.place(from, int64(len(dst)))
	if err != nil {
		q.fail(err)
		return err
	}
	copy(dst, b.slice(from.Offset, int64(len(dst))))
	return nil
}

// Reset ends with an empty command buffer. After a timeout or a page fault Metal may ignore all that comes to the same command
// queue, so where it fails another is tried: if even that fails, the device is lost.
func (q *queue) Reset() error {
	if q.closed {
		return errors.New("metal: the queue is closed")
	}
	err := q.restart(func(*caller) error { return nil })
	if err != nil {
		err = q.restart(q.renew)
	}
	if err != nil {
		return fmt.Errorf("metal: the device is lost: %w", err)
	}
	return nil
}

// restart forgets what failed, prepares, and waits for an empty command buffer.
func (q *queue) restart(prepare func(*caller) error) error {
	q.batch.clear()
	q.err = nil
	err := q.device.thread.do(func(c *caller) error {
		_ = q.settle(c, q.fence) // the failure that is being forgotten
		q.failed = nil
		return prepare(c)
	})
	if err != nil {
		return err
	}
	f, err := q.Commit()
	if err != nil {
		return err
	}
	return q.Wait(f)
}

func (q *queue) Close() error {
	q.device.lock.Lock()
	delete(q.device.queues, q)
	q.device.lock.Unlock()
	q.finish()
	return nil
}

// finish waits for what is under way and frees the command queue.
func (q *queue) finish() {
	if q.closed {
		return
	}
	q.closed = true
	// What failed was said by Wait, or nobody asked.
	_ = q.device.thread.do(func(c *caller) error {
		err := q.settle(c, q.fence)
		c.send(q.id, objectRelease)
		return err
	})
}

// Busy is the time that the GPU has worked for this queue, by its own clock.
func (q *queue) Busy() (total time.Duration) {
	_ = q.device.thread.do(func(*caller) error {
		total = q.busy
		return nil
	})
	return total
}
