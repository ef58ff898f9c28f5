package rpc

// The one writer. Everything that goes to the host passes through this queue, so a message is always whole and no job
// waits for a host that reads slowly. A progress report not yet written is replaced, in its place, by a newer one of
// the same token; answers are never dropped. What bounds the queue is the reader: it asks for room first (see room).

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

const (
	// roomLimit is how many unwritten bytes the host may leave before no more of its requests are read.
	roomLimit = 8 << 20

	// pieceBytes is how much is written at once: a page, so that a host is seen to read however slowly it does.
	pieceBytes = 4 << 10
)

type message struct {
	token  Token // of a progress notification, "" for answers
	report bool  // a newer report of the token may take its place
	text   []byte
}

type outbox struct {
	w    io.Writer
	mu   sync.Mutex
	turn *sync.Cond // something below changed

	queue   []message
	bytes   int // in queue, and in the write under way
	pieces  int // written so far: a host is seen to read by them
	headers bool
	ended   bool // the host will send no more
	closed  bool
	dropped int           // bytes that were unwritten when it closed, and of answers since
	broken  chan struct{} // closed when the host no longer takes output
}

func newOutbox(w io.Writer) *outbox {
	o := &outbox{w: w, broken: make(chan struct{})}
	o.turn = sync.NewCond(&o.mu)
	go o.write()
	return o
}

// useHeaders frames all further messages with Content-Length.
func (o *outbox) useHeaders() {
	o.mu.Lock()
	o.headers = true
	o.mu.Unlock()
}

// push queues a message; it never waits. After close it only counts what is lost.
func (o *outbox) push(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.text = o.frame(m.text)
	if o.closed {
		if !m.report {
			o.dropped += len(m.text)
		}
		return
	}
	o.bytes += len(m.text)
	if old := o.outdated(m); old != nil {
		o.bytes -= len(old.text)
		*old = m
	} else {
		o.queue = append(o.queue, m)
	}
	o.turn.Broadcast()
}

// outdated returns the message that m replaces: the last of its token, if that is a report. Behind a begin or an end m
// belongs to another request.
func (o *outbox) outdated(m message) *message {
	for i := len(o.queue) - 1; m.report && i >= 0; i-- {
		if old := &o.queue[i]; old.token == m.token {
			if old.report {
				return old
			}
			break
		}
	}
	return nil
}

func (o *outbox) frame(body []byte) []byte {
	if o.headers {
		return append(fmt.Appendf(nil, "Content-Length: %d\r\n\r\n", len(body)), body...)
	}
	return append(body, '\n')
}

// end says that the host will send no more.
func (o *outbox) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.turn.Broadcast()
}

// room waits until the host has read enough of what it was sent, or is gone. After the end of its input one that has stopped
// reading is given up: what it still asked for is done, and the answers are lost.
func (o *outbox) room() {
	o.mu.Lock()
	for o.bytes > roomLimit && !o.ended && !o.closed {
		o.turn.Wait()
	}
	ended := o.ended
	o.mu.Unlock()
	if ended && !o.shrink(roomLimit, flushLimit) {
		o.close()
	}
}

// flush waits until all is written, or the host has stopped reading.
func (o *outbox) flush(limit time.Duration) { o.shrink(0, limit) }

// shrink waits until no more than bytes are unwritten, but not longer than limit for a host that reads nothing: it may have
// stopped for good. Then it returns false.
func (o *outbox) shrink(bytes int, limit time.Duration) bool {
	late := false
	timer := time.AfterFunc(limit, func() {
		o.mu.Lock()
		late = true
		o.turn.Broadcast()
		o.mu.Unlock()
	})
	defer timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for seen := o.pieces; o.bytes > bytes && !late; o.turn.Wait() {
		if o.pieces != seen {
			seen = o.pieces
			timer.Reset(limit)
		}
	}
	return o.bytes <= bytes
}

// close drops what is unwritten, and returns how many bytes are lost so far; a page that the host has read in part counts
// whole. The writer may be stuck in a write; it is not waited for.
func (o *outbox) close() (lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropped += o.bytes
	o.closed, o.queue, o.bytes = true, nil, 0
	o.turn.Broadcast()
	return o.dropped
}

// write is the writer's goroutine.
func (o *outbox) write() {
	for {
		text, ok := o.take()
		if !ok {
			return
		}
		for piece := range slices.Chunk(text, pieceBytes) {
			if _, err := o.w.Write(piece); err != nil {
				close(o.broken)
				o.close()
				return
			}
			o.written(len(piece))
		}
	}
}

func (o *outbox) written(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.bytes -= n
	}
	o.pieces++
	o.turn.Broadcast()
}

func (o *outbox) take() ([]byte, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) == 0 && !o.closed {
		o.turn.Wait()
	}
	if o.closed {
		return nil, false
	}
	text := o.queue[0].text
	o.queue[0] = message{} // let go of the text when written
	o.queue = o.queue[1:]
	return text, true
}
