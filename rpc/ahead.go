package rpc

// The input is read before it is asked for. While a host that reads slowly is waited for, its requests wait, too; but the end
// of its input has to be seen behind them, or a worker would wait for ever for a host that has left.

import (
	"bytes"
	"io"
	"sync"
)

// aheadBytes is how much of the input may wait; an end behind more is seen later. It is more than what the pipes of most
// systems keep of a host that has written its last.
const aheadBytes = 1 << 20

type ahead struct {
	mu   sync.Mutex
	turn *sync.Cond // something below changed
	data bytes.Buffer
	err  error // of a read behind data
}

// readAhead reads in, and calls ended when no more will come.
func readAhead(in io.Reader, ended func()) *ahead {
	a := &ahead{}
	a.turn = sync.NewCond(&a.mu)
	go func() {
		defer ended()
		piece := make([]byte, 64<<10)
		for {
			n, err := in.Read(piece)
			if !a.put(piece[:n], err) {
				return
			}
		}
	}()
	return a
}

// put keeps what a read gave, and waits until there is place for more. It returns false if none is wanted.
func (a *ahead) put(piece []byte, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.data.Write(piece)
		a.err = err
		a.turn.Broadcast()
	}
	for a.data.Len() >= aheadBytes && a.err == nil {
		a.turn.Wait()
	}
	return a.err == nil
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.data.Len() == 0 && a.err == nil {
		a.turn.Wait()
	}
	if a.data.Len() == 0 {
		return 0, a.err
	}
	a.turn.Broadcast()
	return a.data.Read(p)
}

// close ends the input here. A read of it may still be under way.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.data.Reset()
	a.err = io.EOF
	a.turn.Broadcast()
}
