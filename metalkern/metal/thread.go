//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"errors"
	"runtime"
	"sync"

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
	run   func(*caller)
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
		r.run(c)
		r.done <- nil
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

// ask sends a request and waits for its answer.
func (t *thread) ask(r request) error {
	if err := t.send(r); err != nil {
		return err
	}
	select {
	case err := <-r.done:
		return err
	case <-t.gone:
		return errClosed
	}
}

// do runs f on the thread and waits for it.
func (t *thread) do(f func(c *caller) error) error {
	var failed error
	if err := t.ask(request{run: func(c *caller) { failed = f(c) }, done: make(chan error, 1)}); err != nil {
		return err
	}
	return failed
}

func (t *thread) close() {
	t.once.Do(func() { close(t.quit) })
	<-t.gone
}
