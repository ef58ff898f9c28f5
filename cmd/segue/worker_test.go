package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
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
