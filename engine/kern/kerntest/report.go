package kerntest

// The table outside a test, for a program that examines a machine which its authors do not have.

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"segue/engine/kern"
)

// Examine runs every row of the table on k, in both alignments, and tells of each what is wrong with it, until told to stop.
func Examine(k kern.Backend, tell func(row string, wrong []string) (more bool)) {
	examine(k, table(), tell)
}

func examine(k kern.Backend, rows []row, tell func(row string, wrong []string) (more bool)) {
	for _, r := range rows {
		for _, margin := range []int{oddMargin, alignedMargin} {
			wrong := noted(func(t testing.TB) { runRow(t, k, r, margin) })
			if !tell(fmt.Sprintf("%s, windows %d apart", r.name, margin), wrong) {
				return
			}
		}
	}
}

// A Timing is what one op takes at a shape that models have, recorded many times before one wait.
type Timing struct {
	Row   string
	One   time.Duration
	Bytes int64 // that it must read at least; 0 where reading does not set its speed
	Wrong []string
}

const (
	timedBatch  = 32
	timedLength = 50 * time.Millisecond
)

// Time runs every row that Bench has, until told to stop.
func Time(k kern.Backend, tell func(Timing) (more bool)) {
	for _, r := range benchRows() {
		t := Timing{Row: r.name}
		t.Wrong = noted(func(tb testing.TB) { t.One, t.Bytes = timeRow(tb, k, r) })
		if !tell(t) {
			return
		}
	}
}

// timeRow is the fastest of some batches.
func timeRow(t testing.TB, k kern.Backend, r row) (one time.Duration, bytes int64) {
	f := newFixture(t, k, r.name)
	defer f.close()
	c := r.build(f)
	c.record(f.stream)
	f.wait()
	for begin := time.Now(); time.Since(begin) < timedLength; {
		start := time.Now()
		for range timedBatch {
			c.record(f.stream)
		}
		f.wait()
		if took := time.Since(start) / timedBatch; one == 0 || took < one {
			one = took
		}
	}
	return one, c.bytes
}

// noted runs fn and returns its complaints.
func noted(fn func(testing.TB)) []string {
	n := &notes{}
	done := make(chan struct{})
	go func() { // Fatal ends a goroutine
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				n.Errorf("panic: %v", p)
			}
		}()
		fn(n)
	}()
	<-done
	return n.wrong
}

// notes is as much of a test as a fixture needs.
type notes struct {
	testing.TB // nil: the rest is not there
	wrong      []string
}

func (n *notes) Helper() {}

func (n *notes) Errorf(format string, args ...any) {
	n.wrong = append(n.wrong, fmt.Sprintf(format, args...))
}

func (n *notes) Fatal(args ...any) {
	n.wrong = append(n.wrong, fmt.Sprint(args...))
	runtime.Goexit()
}

func (n *notes) Fatalf(format string, args ...any) {
	n.Errorf(format, args...)
	runtime.Goexit()
}
