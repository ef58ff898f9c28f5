package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A worker whose device hangs ends all the same, and says so.
func TestCloseSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var words bytes.Buffer
		log, hangs := slog.New(slog.NewTextHandler(&words, nil)), make(chan struct{})
		closeSoon(func() error { return nil }, log)
		if words.Len() > 0 {
			t.Errorf("a good close says %s", &words)
		}
		closeSoon(func() error { <-hangs; return nil }, log)
		if !strings.Contains(words.String(), "ends without it") {
			t.Errorf("got %q", &words)
		}
		close(hangs)
	})
}

// hesitant takes nothing until it is released.
type hesitant struct {
	release chan struct{}
	bytes.Buffer
}

func (h *hesitant) Write(p []byte) (int, error) {
	<-h.release
	return h.Buffer.Write(p)
}

// Lines arrive whole and in order, and those that found no place are told of.
func TestLineQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &hesitant{release: make(chan struct{})}
		q := newLineQueue(out)
		var want strings.Builder
		for i := range queuedLines + 1 { // one is being written
			fmt.Fprintln(q, i)
			fmt.Fprintln(&want, i)
			synctest.Wait()
		}
		fmt.Fprintln(q, "lost")
		fmt.Fprintln(q, "lost")
		close(out.release)
		synctest.Wait()
		fmt.Fprintln(q, "more")
		fmt.Fprintln(q, "last")
		want.WriteString("segue: 2 lines are lost: nobody read stderr\nmore\nlast\n")
		q.close(time.Hour)
		fmt.Fprintln(q, "late")
		if got := out.String(); got != want.String() {
			t.Errorf("got %q, want %q", got, want.String())
		}
	})
}

// The end waits for whoever reads, but not for ever.
func TestLineQueueThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &hesitant{release: make(chan struct{})}
		q := newLineQueue(out)
		fmt.Fprintln(q, "unread")
		began := time.Now()
		q.close(lastLines)
		if took := time.Since(began); took != lastLines {
			t.Errorf("got %v, want %v", took, lastLines)
		}
		close(out.release)
	})
}

// A host that never reads stderr is answered all the same, and its worker ends.
func TestUnreadLog(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	var out bytes.Buffer
	c := exec.Command(binary, "worker")
	unknown := fmt.Sprintf(`{"jsonrpc":"2.0","method":"%01000d"}`+"\n", 0)
	c.Stdin = strings.NewReader(strings.Repeat(unknown, 2*queuedLines) + `{"jsonrpc":"2.0","id":1,"method":"ping"}` + "\n") // more than pipe and queue hold
	c.Stdout, c.Stderr = &out, write
	if err := c.Run(); err != nil || !strings.Contains(out.String(), `"pong":true`) {
		t.Errorf("got %v, %q, want an answer and exit code 0", err, out.String())
	}
}
