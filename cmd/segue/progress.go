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
	drawn    time.Time
	stage    engine.Stage
	tenths   int
}

const barWidth = 32

func newProgressBar(env *environment) *progressBar {
	return &progressBar{out: env.stderr, terminal: env.terminal, tenths: -1}
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
	full := int(p.Fraction * barWidth)
	eta := ""
	if p.ETASeconds >= 1 {
		eta = fmt.Sprintf("  %.0f s left", p.ETASeconds)
	}
	what := fmt.Sprintf("%.1f s of music", p.Seconds)
	if p.TotalBytes > 0 {
		what = fmt.Sprintf("%s of %s, %s/s", megabytes(p.Bytes), megabytes(p.TotalBytes), megabytes(int64(p.BytesPerSecond)))
	}
	fmt.Fprintf(b.out, "\r\x1b[K%-8s [%s%s] %3.0f %%  %s%s",
		p.Stage, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), p.Fraction*100, what, eta)
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
