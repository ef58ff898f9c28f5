package engine

import (
	"context"
	"errors"
	"testing"
)

// Whoever waits for a save hears of each that ends, of none where there is none, and can give up.
func TestAwaitSave(t *testing.T) {
	e := &Engine{written: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := func(what string, some bool, cause error) {
		t.Helper()
		if got, err := e.awaitSave(ctx); got != some || !errors.Is(err, cause) {
			t.Errorf("%s: got %v, %v, want %v, %v", what, got, err, some, cause)
		}
	}
	want("no save", false, nil)
	e.writing = 3
	e.endSave()
	want("one of three", true, nil)
	e.endSave()
	e.endSave()
	want("the others", true, nil)
	want("all", false, nil)
	e.writing = 1
	go e.endSave()
	want("one that goes on", true, nil)
	e.writing = 1
	stop := errors.New("enough")
	cancel(stop)
	want("cancelled", false, stop)
}
