package rpc

// Requests that take time. Each is registered on the reading goroutine, before anything else of it happens, so a cancel
// that follows it on the wire always finds it. Those for the device run one at a time in the order they came; those that
// only read files run beside them, a few at once, and so do those that load models and those that bring them, which take
// long and must not keep the former waiting, nor each other. Whatever happens to a request, it is finished exactly once.

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"segue/engine"
)

const (
	queueLimit = 64 // requests waiting for the device; as many may wait in each lane beside it
	asideLimit = 4  // requests at once in each of those
)

// task is one request from its registration to its answer.
type task struct {
	id      uint64 // the library's
	hostID  Token
	token   Token // of its progress, "" for none
	method  string
	since   time.Time
	reports *reporter
	work    func(ctx context.Context, report func(engine.Progress)) (any, error)
	answer  func(result any, failure *jsonrpc2.Error)

	ctx     context.Context
	cancel  context.CancelCauseFunc
	release func() // lets go of timers; nil until registered
}

type jobs struct {
	log   *slog.Logger
	slots map[lane]chan struct{} // of the lanes beside the device: taken by requests that work

	mu      sync.Mutex
	changed *sync.Cond       // queue, tasks or stopped
	tasks   map[uint64]*task // registered and not finished
	open    int              // registered and not answered: a little longer than in tasks
	queue   []*task          // waiting for the device
	running *task            // on the device
	aside   map[lane]int     // of tasks: waiting or working beside the device
	stopped error            // why no more requests are taken
}

func newJobs(log *slog.Logger) *jobs {
	j := &jobs{log: log, tasks: map[uint64]*task{}, aside: map[lane]int{}, slots: map[lane]chan struct{}{
		laneAside: make(chan struct{}, asideLimit), laneLoad: make(chan struct{}, asideLimit), lanePull: make(chan struct{}, asideLimit),
	}}
	j.changed = sync.NewCond(&j.mu)
	go j.serveDevice()
	return j
}

// submit registers t and lets it run, in the queue of the device or beside it. timeout 0 is none.
func (j *jobs) submit(t *task, lane lane, timeout time.Duration) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.admit(t, lane); err != nil {
		return err
	}
	ctx, cancelTimer := context.Background(), context.CancelFunc(func() {})
	if timeout > 0 {
		cause := engine.Errorf(engine.Timeout, "timeoutSeconds", "%s: not finished after %v", t.method, timeout)
		ctx, cancelTimer = context.WithTimeoutCause(ctx, timeout, cause)
	}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.since = time.Now()
	// What still waits when its time is out, or the worker ends, is answered at once.
	forget := context.AfterFunc(t.ctx, func() {
		if j.withdraw(t) {
			j.finish(t, nil, context.Cause(t.ctx))
		}
	})
	t.release = func() { forget(); t.cancel(nil); cancelTimer() }
	j.tasks[t.id] = t
	j.open++
	t.reports.begin()
	if lane != laneDevice {
		j.aside[lane]++
		go j.serveAside(t, lane)
		return nil
	}
	j.queue = append(j.queue, t)
	j.changed.Broadcast()
	return nil
}

// admit is called with mu held.
func (j *jobs) admit(t *task, lane lane) error {
	switch {
	case j.stopped != nil:
		return j.stopped
	case lane == laneDevice && len(j.queue) >= queueLimit, j.aside[lane] >= queueLimit:
		return engine.Errorf(engine.QueueFull, "", "%s: %d requests are waiting already", t.method, queueLimit)
	}
	for _, other := range j.tasks {
		if t.token != "" && other.token == t.token {
			return engine.Errorf(engine.BadParam, "progressToken", "progressToken: %s is in use by a request without an answer", t.token)
		}
	}
	return nil
}

// withdraw takes t out of the queue; false if it was not waiting there.
func (j *jobs) withdraw(t *task) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, waiting := range j.queue {
		if waiting == t {
			j.queue = append(j.queue[:i], j.queue[i+1:]...)
			return true
		}
	}
	return false
}

// serveDevice is the goroutine of the device's requests.
func (j *jobs) serveDevice() {
	for {
		t := j.next()
		if t == nil {
			return
		}
		result, err := j.perform(t)
		j.mu.Lock()
		j.running = nil
		j.mu.Unlock()
		j.finish(t, result, err)
	}
}

func (j *jobs) next() *task {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.queue) == 0 && j.stopped == nil {
		j.changed.Wait()
	}
	if len(j.queue) == 0 {
		return nil
	}
	j.running = j.queue[0]
	j.queue = j.queue[1:]
	return j.running
}

func (j *jobs) serveAside(t *task, lane lane) {
	var result any
	var err error
	select {
	case j.slots[lane] <- struct{}{}:
		result, err = j.perform(t)
		<-j.slots[lane]
	case <-t.ctx.Done():
		err = context.Cause(t.ctx)
	}
	j.mu.Lock()
	j.aside[lane]--
	j.mu.Unlock()
	j.finish(t, result, err)
}

// perform runs the work. An error that a cancel has brought about is told as the cancel.
func (j *jobs) perform(t *task) (result any, err error) {
	if t.ctx.Err() != nil {
		return nil, context.Cause(t.ctx)
	}
	result, err = guard(j.log, t.method, func() (any, error) { return t.work(t.ctx, t.reports.report) })
	if err != nil && t.ctx.Err() != nil {
		err = context.Cause(t.ctx)
	}
	return result, err
}

// guard turns a panic into an error, so that one request cannot end the worker.
func guard(log *slog.Logger, method string, work func() (any, error)) (result any, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // which a mapped file brings about by becoming shorter
	defer func() {
		if p := recover(); p != nil {
			log.Error("panic", "method", method, "value", p, "stack", string(debug.Stack()))
			result, err = nil, engine.Errorf(internal, "", "%s: panic: %v", method, p)
		}
	}()
	return work()
}

// finish ends the progress, forgets the task, and answers; in this order, so that a host that has the answer can use
// the token again. Only the first call for a task does anything.
func (j *jobs) finish(t *task, result any, err error) {
	j.mu.Lock()
	_, first := j.tasks[t.id]
	delete(j.tasks, t.id)
	j.mu.Unlock()
	if !first {
		return
	}
	t.release()
	t.reports.end(err)
	if err != nil {
		t.answer(nil, wireError(err))
	} else {
		t.answer(result, nil)
	}
	j.mu.Lock()
	j.open--
	j.changed.Broadcast()
	j.mu.Unlock()
}

// cancelID and cancelToken cancel a request; one that is unknown or has its answer is none of their business.
func (j *jobs) cancelID(id uint64) {
	j.cancelWhere(func(t *task) bool { return t.id == id })
}

func (j *jobs) cancelToken(token Token) {
	j.cancelWhere(func(t *task) bool { return t.token == token })
}

// cancelWhere has freed the places of those that were waiting when it returns: the host's next request may take one.
func (j *jobs) cancelWhere(match func(*task) bool) {
	for _, t := range j.matching(match) {
		cause := engine.Errorf(engine.Cancelled, "", "%s: cancelled by the host", t.method)
		t.cancel(cause)
		if j.withdraw(t) {
			j.finish(t, nil, cause)
		}
	}
}

func (j *jobs) matching(match func(*task) bool) (list []*task) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.tasks {
		if match(t) {
			list = append(list, t)
		}
	}
	return list
}

// stop takes no more requests, cancels all with cause and waits until they are answered. One that has not come back
// within limit is answered for.
func (j *jobs) stop(cause error, limit time.Duration) {
	j.mu.Lock()
	j.stopped = cause
	for _, t := range j.tasks {
		t.cancel(cause)
	}
	j.changed.Broadcast()
	late := false
	timer := time.AfterFunc(limit, func() {
		j.mu.Lock()
		late = true
		j.changed.Broadcast()
		j.mu.Unlock()
	})
	defer timer.Stop()
	for j.open > 0 && !late {
		j.changed.Wait()
	}
	var left []*task
	for _, t := range j.tasks {
		left = append(left, t)
	}
	j.mu.Unlock()
	for _, t := range left {
		j.log.Warn("request did not stop", "method", t.method, "waited", limit)
		j.finish(t, nil, cause)
	}
}

// report tells of what works and waits for the device.
func (j *jobs) report() (running *JobStatus, queue []JobStatus) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.running != nil {
		status := j.running.status()
		running = &status
	}
	queue = []JobStatus{}
	for _, t := range j.queue {
		queue = append(queue, t.status())
	}
	return running, queue
}

func (t *task) status() JobStatus {
	p := t.reports.now()
	return JobStatus{
		ID: t.hostID, Method: t.method, Token: t.token,
		Stage: p.Stage, Percentage: percent(p.Fraction), Seconds: number(p.Seconds), ETASeconds: number(p.ETASeconds),
		ElapsedSeconds: time.Since(t.since).Seconds(),
	}
}
