package rpc

// Progress of one request: begin, reports, end, and then the answer. The engine reports as often as it likes, from any
// goroutine; what passes is at most ten notifications in any second, with percentages that only rise. A new stage is
// told at once, even at the percentage of the old one: loading a model takes long at 0 %.

import (
	"math"
	"sync"
	"time"

	"segue/engine"
)

const (
	reportGap  = 125 * time.Millisecond // between reports of one stage
	reportsMax = 9                      // begin and reports in any second; the tenth is the end
)

type reporter struct {
	send func(ProgressValue) // nil where the host asked for none

	mu         sync.Mutex
	latest     engine.Progress // for status
	percentage int             // last one sent
	stage      engine.Stage    // last one sent
	sent       [reportsMax]time.Time
	next       int // the oldest of sent
	ended      bool
}

func newReporter(send func(ProgressValue)) *reporter {
	return &reporter{send: send, latest: engine.Progress{Stage: engine.StageQueued}}
}

// begin is called once, before the request can run.
func (r *reporter) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stage = engine.StageQueued
	zero := 0
	r.emit(ProgressValue{Kind: progressBegin, Stage: r.stage, Percentage: &zero}, time.Now())
}

// report takes what the engine says and passes on what the host should hear.
func (r *reporter) report(p engine.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.latest = p
	percentage := percent(p.Fraction)
	now := time.Now()
	last := r.sent[(r.next+reportsMax-1)%reportsMax]
	switch {
	case now.Sub(r.sent[r.next]) < time.Second:
		return
	case p.Stage == r.stage && (percentage <= r.percentage || now.Sub(last) < reportGap):
		return
	}
	v := ProgressValue{Kind: progressReport, Stage: p.Stage, Message: p.Message, Seconds: number(p.Seconds), ETASeconds: number(p.ETASeconds),
		Bytes: p.Bytes, TotalBytes: p.TotalBytes, BytesPerSecond: number(p.BytesPerSecond)}
	if percentage > r.percentage {
		r.percentage, v.Percentage = percentage, &percentage
	}
	r.stage = p.Stage
	r.emit(v, now)
}

// end is called before the answer is sent; a percentage of 100 stands for success. Later reports are dropped.
func (r *reporter) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	v := ProgressValue{Kind: progressEnd}
	if err == nil {
		all := 100
		v.Percentage = &all
	} else {
		v.Message = err.Error()
	}
	r.emit(v, time.Now())
}

// emit is called with mu held, so that notifications leave in the order of their decision.
func (r *reporter) emit(v ProgressValue, now time.Time) {
	r.sent[r.next] = now
	r.next = (r.next + 1) % reportsMax
	if r.send != nil {
		r.send(v)
	}
}

// now returns what the request is doing.
func (r *reporter) now() engine.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

// percent leaves 100 to the end.
func percent(fraction float64) int {
	return int(100 * min(max(number(fraction), 0), 0.99))
}

// number keeps what JSON cannot write out of notifications.
func number(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0
	}
	return x
}
