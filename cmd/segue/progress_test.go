package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"segue/engine"
)

// A line that is longer than the terminal is wide could not be drawn over.
func TestBarFits(t *testing.T) {
	download := engine.Progress{Stage: engine.StageDownload, Fraction: 0.5, Bytes: 69e6, TotalBytes: 2363e6, BytesPerSecond: 23.8e6, ETASeconds: 96}
	for columns := range 200 {
		for _, p := range []engine.Progress{download, {Stage: engine.StageDownload}, {Stage: engine.StageDecode, Fraction: 1, Seconds: 10, ETASeconds: 1}} {
			line := barLine(p, columns)
			if n := utf8.RuneCountInString(line); n > columns || !utf8.ValidString(line) {
				t.Errorf("%d columns: got %d, %q", columns, n, line)
			}
		}
	}
	for _, want := range []struct {
		columns int
		line    string
	}{
		{79, "download [█████████░░░░░░░░░]  50 %  69.0 MB of 2363.0 MB, 23.8 MB/s  96 s left"},
		{30, "download  50 %  69.0 MB of 236"},
	} {
		if got := barLine(download, want.columns); got != want.line {
			t.Errorf("%d columns: got %q, want %q", want.columns, got, want.line)
		}
	}
	if got := barLine(engine.Progress{Stage: engine.StageDownload}, 80); strings.Contains(got, "music") {
		t.Errorf("got %q", got)
	}
}

func TestAsFlags(t *testing.T) {
	for text, want := range map[string]string{
		"outputPath: got outputDir too, want one of the two": "--output-path: got --output-dir too, want one of the two",
		"seconds: got 99, want less than promptSeconds":      "seconds: got 99, want less than --prompt-seconds",
		"path: /tmp/myLoop.wav is not there":                 "path: /tmp/myLoop.wav is not there",
	} {
		if got := asFlags(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
