// Package rpc speaks JSON-RPC 2.0 with one host over a pair of pipes and has an Engine do the work.
//
// Bytes (ahead.go) become frames (frame.go), frames valid requests (stream.go); the library's Conn calls Handle here,
// which finds the method in the table (methods.go), reads its parameters strictly (params.go), and answers at once or
// hands a task to the jobs (jobs.go). Progress (progress.go) and answers leave through one writer (outbox.go). Errors get
// their numbers in codes.go; the structures that a host sees are in wire.go, and openrpc.json is made from them.
//
// The oddity: Handle runs on the goroutine that reads, so that requests take effect in the order they came and a
// cancel finds the request before it. Nothing there may wait.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"segue/engine"
)

const (
	stopLimit   = 5 * time.Second // for jobs to come back when the worker ends
	alivePeriod = 2 * time.Second // between looks at the host's process
)

// Engine does the work. Its methods are called from several goroutines at once, Run by one at a time.
type Engine interface {
	// Run makes music; a Job without Path is made from nothing. report may be called from any goroutine.
	Run(ctx context.Context, job engine.Job, report func(engine.Progress)) (engine.Result, error)
	Probe(ctx context.Context, path string) (engine.AudioInfo, error)
	Models(ctx context.Context) ([]engine.ModelInfo, error)
	Model(ctx context.Context, name string) (engine.ModelInfo, error)
	Load(ctx context.Context, o engine.ModelOptions, report func(engine.Progress)) (engine.ModelInfo, error)
	Unload(ctx context.Context, name string) (unloaded string, err error)
	Pull(ctx context.Context, name, revision string, report func(engine.Progress)) (engine.ModelInfo, error)
	Prune(ctx context.Context, o engine.PruneOptions) (engine.PruneResult, error)
	// Status must not wait for a job.
	Status() engine.Status
}

// Options is what Serve needs to know. The zero value serves, and watches no process.
type Options struct {
	Framing Framing
	Version string
	Log     *slog.Logger

	// ParentAlive says whether the process that started this one is still there.
	ParentAlive func() bool
	// ProcessAlive says it of the process that the host named in initialize.
	ProcessAlive func(pid int64) bool
}

type server struct {
	engine  Engine
	options Options
	started time.Time
	table   map[string]*method
	stream  *stream
	jobs    *jobs
	exits   chan int // the code that exit asks for

	requests    int          // so far; the reading goroutine's own
	shut        bool         // after shutdown; the reading goroutine's own
	leaving     bool         // after exit; the reading goroutine's own
	hostProcess atomic.Int64 // 0: not told
}

// Serve answers the requests on in until the input ends and all is answered, the host asks for exit or is gone, or ctx
// is done. What is unfinished by then is cancelled and answered. It returns the exit code of the process: 0 after a
// shutdown or the end of the input; where the cause of ctx has a method ExitCode() int, what that returns; else 1. A host
// that has stopped reading is waited for flushLimit long; what it left unread makes an error in the log, and 1 of a 0.
// A read of in may still be under way when Serve returns.
func Serve(ctx context.Context, in io.Reader, out io.Writer, e Engine, o Options) int {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{engine: e, options: o, started: time.Now(), exits: make(chan int, 1), table: map[string]*method{}}
	for _, m := range methods() {
		s.table[m.name] = &m
	}
	s.jobs = newJobs(o.Log)
	s.stream = newStream(in, out, o.Framing)
	// The connection outlives ctx: what is cancelled is still answered.
	conn := jsonrpc2.NewConn(context.WithoutCancel(ctx), s.stream, s, jsonrpc2.SetLogger(logger{o.Log}))
	code := s.wait(ctx, conn)
	s.jobs.stop(engine.Errorf(engine.ShuttingDown, "", "the worker is shutting down"), stopLimit)
	s.stream.out.flush(flushLimit)
	bytes := s.stream.out.close() // first: what the reading goroutine may still refuse does not count
	conn.Close()
	if bytes > 0 {
		o.Log.Error("answers are lost: the host stopped reading; want it to read stdout to its end", "bytes", bytes, "waited", flushLimit)
		code = max(code, 1)
	}
	return code
}

// wait returns the exit code once there is a reason to end.
func (s *server) wait(ctx context.Context, conn *jsonrpc2.Conn) int {
	look := time.NewTicker(alivePeriod)
	defer look.Stop()
	for {
		select {
		case <-conn.DisconnectNotify():
			select {
			case code := <-s.exits: // the input ended behind an exit, which is why
				return code
			default:
				return 0
			}
		case code := <-s.exits:
			return code
		case <-s.stream.out.broken:
			s.options.Log.Info("the host takes no more output")
			return 1
		case <-ctx.Done():
			return exitCode(context.Cause(ctx))
		case <-look.C:
			if !s.hostAlive() {
				s.options.Log.Info("the host is gone")
				return 1
			}
		}
	}
}

func exitCode(cause error) int {
	var coded interface{ ExitCode() int }
	if errors.As(cause, &coded) {
		return coded.ExitCode()
	}
	return 1
}

func (s *server) hostAlive() bool {
	if alive := s.options.ParentAlive; alive != nil && !alive() {
		return false
	}
	pid, alive := s.hostProcess.Load(), s.options.ProcessAlive
	return pid == 0 || alive == nil || alive(pid)
}

// Handle implements jsonrpc2.Handler, on the goroutine that reads.
func (s *server) Handle(_ context.Context, conn *jsonrpc2.Conn, req *jsonrpc2.Request) {
	s.handle(conn, req)
	if s.leaving && len(s.stream.ready) == 0 {
		s.leave() // not before exit has its answer, and all that came in a batch with it
	}
}

func (s *server) handle(conn *jsonrpc2.Conn, req *jsonrpc2.Request) {
	if !req.Notif {
		s.requests++
	}
	if req.Notif && strings.HasPrefix(req.Method, "$/") && s.table[req.Method] == nil {
		return // may be ignored, by convention
	}
	var result any
	m, params, err := s.prepare(req)
	switch {
	case err != nil:
		if req.Method == "initialize" && s.requests == 1 {
			s.requests = 0 // the host may ask again, for a protocol that there is
		}
	case m.lane == laneInline:
		result, err = guard(s.options.Log, m.name, func() (any, error) { return m.call(s, call{}, params) })
	default:
		if err = s.submit(conn, req.ID, m, params); err == nil {
			return // the task answers
		}
	}
	switch {
	case !req.Notif && err != nil:
		s.reply(conn, req.ID, nil, wireError(err))
	case !req.Notif:
		s.reply(conn, req.ID, result, nil)
	case err != nil:
		s.options.Log.Warn("notification not obeyed", "method", req.Method, "error", err)
	}
}

// leave has the worker end.
func (s *server) leave() {
	code := 1
	if s.shut {
		code = 0
	}
	select {
	case s.exits <- code:
	default: // asked for already
	}
}

// prepare finds the method and reads its parameters.
func (s *server) prepare(req *jsonrpc2.Request) (*method, any, error) {
	m := s.table[req.Method]
	switch {
	case s.shut && !req.Notif && req.Method != "exit":
		return nil, nil, engine.Errorf(requestInvalid, "", "%.60q: got it after shutdown, want exit", req.Method)
	case m == nil:
		return nil, nil, unknownMethod(req.Method)
	case req.Notif && m.lane != laneInline:
		return nil, nil, engine.Errorf(requestInvalid, "", "%s: got no id, want one: the answer has to go somewhere", m.name)
	}
	params := m.fresh()
	return m, params, m.decode(req.Params, params)
}

// submit makes a task of a request and hands it to the jobs.
func (s *server) submit(conn *jsonrpc2.Conn, id jsonrpc2.ID, m *method, params any) error {
	t := &task{id: id.Num, hostID: s.stream.hostID(id.Num), method: m.name}
	var wish Delivery
	if p, ok := params.(interface{ delivery() Delivery }); ok {
		wish = p.delivery()
	}
	t.token = wish.ProgressToken
	if wish.Progress && t.token == "" {
		if t.token = t.hostID; t.token == "" {
			return engine.Errorf(engine.BadParam, "progress", "progress: got an id that is null, want a string or a number to be the token")
		}
	}
	var send func(ProgressValue)
	if t.token != "" {
		send = func(v ProgressValue) {
			s.sent("progress", conn.Notify(context.Background(), progressMethod, progressParams{t.token, v}))
		}
	}
	t.reports = newReporter(send)
	t.work = func(ctx context.Context, report func(engine.Progress)) (any, error) {
		return m.call(s, call{ctx, report}, params)
	}
	t.answer = func(result any, failure *jsonrpc2.Error) { s.reply(conn, id, result, failure) }
	timeout := time.Duration(math.Ceil(wish.TimeoutSeconds * float64(time.Second))) // 0 only for none
	return s.jobs.submit(t, m.lane, timeout)
}

// reply answers one request: with failure, or with result where there is none.
func (s *server) reply(conn *jsonrpc2.Conn, id jsonrpc2.ID, result any, failure *jsonrpc2.Error) {
	response := &jsonrpc2.Response{ID: id, Error: failure}
	if failure == nil {
		if err := response.SetResult(result); err != nil {
			response.Error = newError(internal, "answer not encodable: %w", err)
		}
	}
	s.sent("answer", conn.SendResponse(context.Background(), response))
}

// sent logs what could not be sent; a host that is gone is no news.
func (s *server) sent(what string, err error) {
	if err != nil && err != jsonrpc2.ErrClosed {
		s.options.Log.Error("not sent", "what", what, "error", err)
	}
}

// logger lets the library speak through slog: never to stdout.
type logger struct{ *slog.Logger }

func (l logger) Printf(format string, args ...any) {
	l.Debug(strings.TrimSpace(fmt.Sprintf(format, args...)))
}
