package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	queuedLines = 1000        // of a worker's log, for a host that reads stderr slowly
	lastLines   = time.Second // for it to read those when the worker ends
)

// lineQueue is the stderr of a worker. A host may never read it, and whoever writes to a full pipe waits for ever, the goroutine
// that reads requests, too. So lines wait here instead; one that finds no place is dropped, and the next that does tells of it.
type lineQueue struct {
	lines   chan []byte
	written chan struct{} // closed when all are

	mu      sync.Mutex
	dropped int // since the last that found a place
	closed  bool
}

func newLineQueue(w io.Writer) *lineQueue {
	q := &lineQueue{lines: make(chan []byte, queuedLines), written: make(chan struct{})}
	go func() {
		defer close(q.written)
		for line := range q.lines {
			w.Write(line) // there is no place to tell of an error
		}
	}()
	return q
}

// Write implements io.Writer. It does not wait for the host.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return len(line), nil
	}
	var text []byte
	if q.dropped > 0 {
		text = fmt.Appendf(text, "segue: %d lines are lost: nobody read stderr\n", q.dropped)
	}
	select {
	case q.lines <- append(text, line...):
		q.dropped = 0
	default:
		q.dropped++
	}
	return len(line), nil
}

// close waits until all lines are written, but not longer than limit.
func (q *lineQueue) close(limit time.Duration) {
	q.mu.Lock()
	q.closed = true
	close(q.lines)
	q.mu.Unlock()
	select {
	case <-q.written:
	case <-time.After(limit):
	}
}
