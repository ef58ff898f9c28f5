//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

var errClosed = errors.New("metal: the device is closed")

// thread is the one that calls Metal, locked to an operating system's thread: autorelease pools belong to a thread, and
// Go may move a goroutine to another between a push and its pop.
type thread struct {
	requests chan request
	quit     chan struct{}
	gone     chan struct{} // closed after the last request was served
	once     sync.Once
	caller   *caller
}

// request is one of: a function to run, a batch to encode, a fence to wait for. Only the first allocates.
type request struct {
	run   func(*caller) error
	queue *queue
	batch *batch
	wait  driver.Fence
	done  chan error // has room for one; nil for a batch
}

func newThread(l *library) *thread {
	t := &thread{requests: make(chan request, 8), quit: make(chan struct{}), gone: make(chan struct{}), caller: &caller{library: l}}
	go t.serve()
	return t
}

func (t *thread) serve() {
	runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
	defer close(t.gone)
	for {
		select {
		case r := <-t.requests:
			t.answer(r)
		case <-t.quit:
			return
		}
	}
}

// answer serves one request in an autorelease pool of its own: what messages return without "new", "alloc" or "copy" in their
// name dies with it.
func (t *thread) answer(r request) {
	c := t.caller
	pool := c.c(c.poolPush)
	switch {
	case r.run != nil:
		r.done <- r.run(c)
	case r.batch != nil:
		r.queue.encode(c, r.batch)
	default:
		r.done <- r.queue.settle(c, r.wait)
	}
	c.c(c.poolPop, pool)
}

func (t *thread) send(r request) error {
	select {
	case <-t.quit:
		return errClosed
	default:
	}
	select {
	case t.requests <- r:
		return nil
	case <-t.quit:
		return errClosed
	}
}

// ask sends a request and waits for its answer. All that Metal refuses comes by here.
func (t *thread) ask(r request) error {
	if err := t.send(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return refusal(err)
	case <-t.gone:
		return errClosed
	}
}

// refusal is an error that says of what kind it is: the device has failed, unless it is known better.
func refusal(err error) error {
	if err == nil || errors.Is(err, kern.ErrMemory) || errors.Is(err, kern.ErrUnavailable) || errors.Is(err, kern.ErrDevice) {
		return err
	}
	return fmt.Errorf("%w: %w", err, kern.ErrDevice)
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func(c *caller) error) error {
	return t.ask(request{run: f, done: make(chan error, 1)})
}

func (t *thread) close() {
	t.once.Do(func() { close(t.quit) })
	<-t.gone
}
