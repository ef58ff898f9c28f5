package cpukern

import (
	"testing"
	"time"
)

func TestReadProbe(t *testing.T) {
	for _, threads := range []int{1, 3} {
		made, err := Open(Options{Threads: threads})
		if err != nil {
			t.Fatal(err)
		}
		b := made.(*backend)
		read, release, err := b.ReadProbe()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		speed := read()
		if least := probeBytes / time.Since(start).Seconds(); speed < least || speed > 1e13 {
			t.Errorf("%d threads: got %g bytes per second, want at least %g and what memory can do", threads, speed, least)
		}
		release()
		if b.Allocated() != 0 {
			t.Errorf("got %d bytes of models, want none: a probe is no part of one", b.Allocated())
		}
		b.Close()
		if _, _, err := b.ReadProbe(); err == nil {
			t.Error("a closed backend: got no error")
		}
	}
}
