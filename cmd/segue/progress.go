package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"segue/engine"
)

// progressBar shows a job's progress on stderr: a bar that redraws itself on a terminal, a line for every tenth elsewhere.
type progressBar struct {
	out      io.Writer
	terminal bool
	columns  func() int // of the terminal
	drawn    time.Time
	stage    engine.Stage
	tenths   int
}

const barWidth = 32

func newProgressBar(env *environment) *progressBar {
	return &progressBar{out: env.stderr, terminal: env.terminal, columns: env.columns, tenths: -1}
}

func (b *progressBar) report(p engine.Progress) {
	if !b.terminal {
		b.line(p)
		return
	}
	if p.Stage == b.stage && p.Fraction < 1 && time.Since(b.drawn) < 50*time.Millisecond {
		return
	}
	b.stage, b.drawn = p.Stage, time.Now()
	fmt.Fprint(b.out, "\r\x1b[K"+barLine(p, b.columns()-1))
}

// barLine is a bar and words that fit into so many columns: a longer line could not be drawn over.
func barLine(p engine.Progress, columns int) string {
	words := fmt.Sprintf("%3.0f %%", p.Fraction*100)
	switch {
	case p.TotalBytes > 0:
		words += fmt.Sprintf("  %s of %s, %s/s", megabytes(p.Bytes), megabytes(p.TotalBytes), megabytes(int64(p.BytesPerSecond)))
	case p.Stage != engine.StageDownload:
		words += fmt.Sprintf("  %.1f s of music", p.Seconds)
	}
	if p.ETASeconds >= 1 {
		words += fmt.Sprintf("  %.0f s left", p.ETASeconds)
	}
	line, bar := fmt.Sprintf("%-8s ", p.Stage), ""
	if width := min(barWidth, columns-len(line)-len(words)-len("[] ")); width >= 4 {
		full := int(p.Fraction * float64(width))
		bar = "[" + strings.Repeat("█", full) + strings.Repeat("░", width-full) + "] "
	}
	if line += bar + words; bar == "" {
		line = line[:min(len(line), max(0, columns))]
	}
	return line
}

func (b *progressBar) line(p engine.Progress) {
	if tenths := int(p.Fraction * 10); tenths > b.tenths {
		b.tenths = tenths
		fmt.Fprintf(b.out, "%s %d %%\n", p.Stage, tenths*10)
	}
}

// end leaves the cursor on a fresh line.
func (b *progressBar) end() {
	if b.terminal && !b.drawn.IsZero() {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
