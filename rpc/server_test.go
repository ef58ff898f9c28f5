package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"segue/engine"
)

func request(id, method, params string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params)
}

func TestEachMethodAnswers(t *testing.T) {
	var requests []string
	for i, m := range methods() {
		params := "{}"
		if m.required != "" {
			params = `{"path":"/a.wav"}`
		}
		if m.name != "exit" && m.name != "shutdown" {
			requests = append(requests, request(fmt.Sprint(i), m.name, params))
		}
	}
	got := serveLines(t, &fakeEngine{}, requests...)
	if len(got) != len(requests) {
		t.Fatalf("got %d answers, want %d", len(got), len(requests))
	}
	for _, text := range got {
		if r := parse(t, text); r.Error != nil {
			t.Errorf("got %s", text)
		}
	}
}

func TestLifecycle(t *testing.T) {
	const exit = `{"jsonrpc":"2.0","method":"exit"}`
	tests := []struct {
		name, input, want string
		code              int
	}{
		{"end of input", request("1", "ping", "{}"), "1 ok", 0},
		{"no input", "", "", 0},
		{"exit", exit, "", 1},
		{"exit with an id", request("1", "exit", "{}"), "1 ok", 1},
		{"shutdown and exit", request("1", "shutdown", "{}") + "\n" + exit, "1 ok", 0},
		{"after shutdown", request("1", "shutdown", "null") + "\n" + request("2", "ping", "{}") + "\n" + exit, "1 ok; 2 -32600 request.invalid", 0},
		{"initialize", request("1", "initialize", `{"protocolVersion":"1","processId":null,"rootUri":"x"}`) + "\n" + `{"jsonrpc":"2.0","method":"initialized","params":{}}`, "1 ok", 0},
		{"initialize twice", request("1", "initialize", "{}") + "\n" + request("2", "initialize", "{}"), "1 ok; 2 -32600 request.invalid", 0},
		{"initialize late", request("1", "ping", "{}") + "\n" + request("2", "initialize", "{}"), "1 ok; 2 -32600 request.invalid", 0},
		{"another protocol", request("1", "initialize", `{"protocolVersion":"2"}`), "1 -32602 params.invalid", 0},
		{"another protocol, then this one", request("1", "initialize", `{"protocolVersion":"2"}`) + "\n" + request("2", "initialize", `{"protocolVersion":"1"}`), "1 -32602 params.invalid; 2 ok", 0},
		{"unknown method", request("1", "contnue", "{}"), "1 -32601 method.unknown", 0},
		{"pull", request("1", "models/pull", `{"model":"musicgen-small","revision":"main"}`), "1 ok", 0},
		{"failed pull", request("1", "models/pull", `{"model":"missing"}`), "1 1301 download.failed", 0},
		{"unknown $/ request", request("1", "$/x", "{}"), "1 -32601 method.unknown", 0},
		{"unknown $/ notification", `{"jsonrpc":"2.0","method":"$/x"}`, "", 0},
		{"job without id", `{"jsonrpc":"2.0","method":"generate"}`, "", 0},
		{"cancel of nothing", `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":77}}`, "", 0},
		{"cancel with bad params", `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":{}}}`, "", 0},
		{"positional, of nothing", request("1", "ping", "[]"), "1 ok", 0},
		{"positional", request("1", "generate", "[1]"), "1 -32602 params.invalid", 0},
		{"progress without a token", request("null", "generate", `{"progress":true}`), "null -32602 params.invalid", 0},
		{"engine's error", request("1", "models/info", `{"model":"none"}`), "1 1001 model.unknown", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, code := serveAll(t, &fakeEngine{}, test.input)
			if got := briefs(t, lines(out)); got != test.want || code != test.code {
				t.Errorf("got %q and exit code %d, want %q and %d", got, code, test.want, test.code)
			}
		})
	}
}

// watcher is a connection that notes whether the worker was leaving when it was written to.
type watcher struct {
	server  *server
	closed  chan struct{}
	leaving []bool
}

func (w *watcher) WriteObject(any) error {
	w.leaving = append(w.leaving, len(w.server.exits) > 0)
	return nil
}

func (w *watcher) ReadObject(any) error { <-w.closed; return io.EOF }
func (w *watcher) Close() error         { close(w.closed); return nil }

func TestExitIsAnsweredBeforeTheWorkerLeaves(t *testing.T) {
	s := &server{options: Options{Log: slog.New(slog.DiscardHandler)}, exits: make(chan int, 1), table: map[string]*method{}, stream: &stream{}}
	for _, m := range methods() {
		s.table[m.name] = &m
	}
	w := &watcher{server: s, closed: make(chan struct{})}
	conn := jsonrpc2.NewConn(t.Context(), w, s)
	defer conn.Close()
	s.Handle(t.Context(), conn, &jsonrpc2.Request{Method: "exit", ID: jsonrpc2.ID{Num: 1}})
	if len(w.leaving) != 1 || w.leaving[0] || len(s.exits) != 1 {
		t.Errorf("got answers with the worker leaving %v, then %d codes, want one answer before, then one code", w.leaving, len(s.exits))
	}
}

// What came in a batch with exit, or is told to be ignored there, is handled before the worker leaves.
func TestExitInABatch(t *testing.T) {
	const exit, ignored = `{"jsonrpc":"2.0","method":"exit"}`, `{"jsonrpc":"2.0","method":"$/x"}`
	for _, test := range []struct {
		batch []string
		want  string
		code  int
	}{
		{[]string{request("1", "shutdown", "{}"), request("2", "exit", "{}"), request("3", "ping", "{}")}, "1 ok; 2 ok; 3 -32600 request.invalid", 0},
		{[]string{exit, request("1", "ping", "{}"), ignored}, "1 ok", 1},
		{[]string{request("1", "ping", "{}"), request("2", "exit", "{}"), request("3", "generate", "{}")}, "1 ok; 2 ok; 3 -32802 shutdown", 1},
		{[]string{exit, ignored}, "", 1},
	} {
		for range 500 { // who is faster, the reading goroutine or the end, is chance
			synctest.Test(t, func(t *testing.T) {
				h := start(t, t.Context(), &fakeEngine{run: untilCancelled}, Options{})
				h.send("[" + strings.Join(test.batch, ",") + "]")
				code := <-h.code // the input stays open
				var parts []json.RawMessage
				for _, text := range h.heard() {
					if err := json.Unmarshal([]byte(text), &parts); err != nil {
						t.Fatal(err)
					}
				}
				var got []string
				for _, part := range parts {
					got = append(got, string(part))
				}
				if all := briefs(t, got); all != test.want || code != test.code {
					t.Errorf("%s: got %q and exit code %d, want %q and %d", test.batch, all, code, test.want, test.code)
				}
				h.in.Close()
			})
			if t.Failed() {
				return
			}
		}
	}
}

func TestInitializeTellsTheMethods(t *testing.T) {
	var result InitializeResult
	got := parse(t, serveLines(t, &fakeEngine{}, request("1", "initialize", "{}"))[0])
	if err := json.Unmarshal(got.Result, &result); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(result.Capabilities.Methods, "continue") || !slices.Contains(result.Capabilities.Methods, "models/pull") {
		t.Errorf("got %v", result.Capabilities.Methods)
	}
	if result.ServerInfo.Version != "test" || result.Limits.MessageBytes != 1<<20 {
		t.Errorf("got %+v", result)
	}
}

func TestJobReachesTheEngine(t *testing.T) {
	var got engine.Job
	e := &fakeEngine{run: func(_ context.Context, job engine.Job, _ func(engine.Progress)) (engine.Result, error) {
		got = job
		return engine.Result{}, nil
	}}
	serveLines(t, e, request("1", "continue", `{"path":"/a b/é.wav","topK":5,"sampleRate":48000,"bits":16}`))
	want := engine.NewJob()
	want.Path, want.TopK, want.SampleRate, want.Bits = "/a b/é.wav", new(5), 48000, "16"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBatchOfJobsIsOneAnswer(t *testing.T) {
	got := serveLines(t, &fakeEngine{}, "["+request("1", "generate", "{}")+","+request("2", "ping", "{}")+",3]")
	if len(got) != 1 {
		t.Fatalf("got %d messages, want 1", len(got))
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(got[0]), &parts); err != nil || len(parts) != 3 {
		t.Errorf("got %s", got[0])
	}
}

func TestPanicIsAnswered(t *testing.T) {
	e := &fakeEngine{
		run:   func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error) { panic("boom") },
		probe: func(context.Context, string) (engine.AudioInfo, error) { panic("bang") },
	}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		h.send(request("1", "generate", "{}"))
		check(t, h.heard(), "1 -32603 internal")
		h.send(request("2", "audio/probe", `{"path":"a"}`))
		check(t, h.heard(), "2 -32603 internal")
		h.send(request("3", "models/load", `{}`))
		check(t, h.heard(), "3 ok")
	})
}

func TestUnencodableAnswerIsAnError(t *testing.T) {
	e := &fakeEngine{run: func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error) {
		return engine.Result{Timing: engine.Timing{StepMS: math.NaN()}}, nil
	}}
	check(t, serveLines(t, e, request("1", "generate", "{}")), "1 -32603 internal")
}

type signalled struct{ error }

func (signalled) ExitCode() int { return 143 }

func TestContextEndsTheWorker(t *testing.T) {
	for _, test := range []struct {
		cause error
		code  int
	}{{signalled{errors.New("terminated")}, 143}, {errors.New("other"), 1}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			h := start(t, ctx, &fakeEngine{run: untilCancelled}, Options{})
			h.send(request("1", "generate", "{}"), request("2", "generate", "{}"))
			check(t, h.heard(), "")
			cancel(test.cause)
			if got := <-h.code; got != test.code {
				t.Errorf("exit code: got %d, want %d", got, test.code)
			}
			got := strings.Split(briefs(t, h.heard()), "; ")
			slices.Sort(got)
			if want := []string{"1 -32802 shutdown", "2 -32802 shutdown"}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			h.in.Close()
		})
	}
}

func TestEngineThatIgnoresCancelIsAnsweredFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		e := &fakeEngine{run: func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error) {
			<-release
			return engine.Result{}, nil
		}}
		h := start(t, ctx, e, Options{})
		h.send(request("1", "generate", "{}"))
		h.heard()
		began := time.Now()
		cancel()
		<-h.code
		if took := time.Since(began); took != stopLimit {
			t.Errorf("took %v, want %v", took, stopLimit)
		}
		check(t, h.heard(), "1 -32802 shutdown")
		close(release)
		h.in.Close()
	})
}

func TestHostThatDies(t *testing.T) {
	var parent, process atomic.Bool
	for name, alive := range map[string]*atomic.Bool{"parent": &parent, "process": &process} {
		t.Run(name, func(t *testing.T) {
			parent.Store(true)
			process.Store(true)
			synctest.Test(t, func(t *testing.T) {
				h := start(t, t.Context(), &fakeEngine{run: untilCancelled}, Options{
					ParentAlive:  func() bool { return parent.Load() },
					ProcessAlive: func(pid int64) bool { return pid == 42 && process.Load() },
				})
				h.send(request("1", "initialize", `{"processId":42}`), request("2", "generate", "{}"))
				time.Sleep(10 * time.Second)
				check(t, h.heard(), "1 ok")
				alive.Store(false)
				if code := <-h.code; code != 1 {
					t.Errorf("exit code: got %d, want 1", code)
				}
				check(t, h.heard(), "2 -32802 shutdown")
				h.in.Close()
			})
		})
	}
}

func TestEndOfInputWaitsForJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEngine{run: func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error) {
			time.Sleep(time.Hour)
			return engine.Result{}, nil
		}}
		h := start(t, t.Context(), e, Options{})
		h.send(request("1", "generate", "{}"), request("2", "generate", "{}"))
		h.in.Close()
		if code := <-h.code; code != 0 {
			t.Errorf("exit code: got %d, want 0", code)
		}
		check(t, h.heard(), "1 ok; 2 ok")
	})
}

// stuck is the stdout of a host that does not read.
type stuck struct{ release chan struct{} }

func (s stuck) Write([]byte) (int, error) {
	<-s.release
	return 0, io.ErrClosedPipe
}

func TestHostThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := 0
		e := &fakeEngine{run: func(_ context.Context, _ engine.Job, report func(engine.Progress)) (engine.Result, error) {
			for i := range 100000 {
				report(engine.Progress{Stage: engine.StageDecode, Fraction: float64(i) / 100000})
				if i%1000 == 0 {
					time.Sleep(time.Second)
				}
			}
			jobs++
			return engine.Result{}, nil
		}}
		in, w := io.Pipe()
		out := stuck{make(chan struct{})}
		code := make(chan int, 1)
		var log bytes.Buffer
		o := Options{Log: slog.New(slog.NewTextHandler(&log, nil))}
		go func() { code <- Serve(t.Context(), in, out, e, o) }()
		fmt.Fprintln(w, request("1", "generate", `{"progress":true}`))
		fmt.Fprintln(w, request("2", "generate", `{"progress":true}`))
		w.Close()
		began := time.Now()
		if got := <-code; got != 1 || !strings.Contains(log.String(), "level=ERROR msg=\"answers are lost") {
			t.Errorf("exit code: got %d, and the log says %q, want 1 and that answers are lost", got, log.String())
		}
		// Both jobs ran through, and then the host was given a little time, not forever.
		if took := time.Since(began); jobs != 2 || took > 200*time.Second+2*flushLimit {
			t.Errorf("got %d jobs in %v, want 2 in 200 s", jobs, took)
		}
		close(out.release)
	})
}

// A host that asks for an end and does not wait for it has lost its answers, too.
func TestHostThatLeavesAnswersUnread(t *testing.T) {
	for name, last := range map[string]string{"end of input": "", "exit": request("2", "shutdown", "null") + "\n" + `{"jsonrpc":"2.0","method":"exit"}` + "\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out := stuck{make(chan struct{})}
				input := strings.NewReader(request("1", "ping", "{}") + "\n" + last)
				if got := Serve(t.Context(), input, out, &fakeEngine{}, Options{}); got != 1 {
					t.Errorf("exit code: got %d, want 1", got)
				}
				close(out.release)
			})
		})
	}
}

// discoveries are requests whose answers, of 42 KB each, are twice as much as may be unread.
var discoveries = strings.Repeat(request("1", "rpc.discover", "{}")+"\n", 400)

// The end of the input is seen behind requests that wait for the host to read, and what was asked before it is done.
func TestEndOfInputBehindUnreadAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := 0
		e := &fakeEngine{run: func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error) {
			jobs++
			return engine.Result{}, nil
		}}
		out := stuck{make(chan struct{})}
		var log bytes.Buffer
		began := time.Now()
		code := Serve(t.Context(), strings.NewReader(discoveries+request("2", "generate", "{}")), out, e, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		_, after, _ := strings.Cut(log.String(), "answers are lost")
		_, after, _ = strings.Cut(after, " bytes=")
		var lost int
		fmt.Sscan(after, &lost)
		if code != 1 || lost < 2*roomLimit {
			t.Errorf("got exit code %d and the log %q, want 1 and %d bytes or more", code, log.String(), 2*roomLimit)
		}
		if took := time.Since(began); took != flushLimit || jobs != 1 {
			t.Errorf("got %d jobs in %v, want 1 in %v", jobs, took, flushLimit)
		}
		close(out.release)
	})
}

// unhurried is the stdout of a host that reads a page at a time and then does something else.
type unhurried struct{ bytes.Buffer }

func (u *unhurried) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(len(p)+4095) / 4096 * time.Second)
	return u.Buffer.Write(p)
}

// A host that reads slowly gets every answer, though its requests have long ended.
func TestHostThatReadsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &unhurried{}
		code := Serve(t.Context(), strings.NewReader(discoveries), out, &fakeEngine{}, Options{})
		if got := strings.Count(out.String(), "\n"); code != 0 || got != 400 {
			t.Errorf("got exit code %d after %d answers in %d bytes, want 400 answers", code, got, out.Len())
		}
	})
}

func TestOutboxIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		out := stuck{make(chan struct{})}
		code := make(chan int, 1)
		go func() { code <- Serve(t.Context(), in, out, &fakeEngine{}, Options{}) }()
		sent := 0
		go func() {
			line := `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 100000) + `","method":"ping"}` + "\n"
			for range 1000 {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
				sent++
			}
		}()
		time.Sleep(time.Hour)
		synctest.Wait() // it may read again, as long as its input has not ended
		if limit := (roomLimit+aheadBytes)/100000 + 5; sent > limit || len(code) > 0 {
			t.Errorf("read %d requests of a host that does not read, and left: %v, want at most %d and to stay", sent, len(code) > 0, limit)
		}
		close(out.release) // the write fails: the host is gone
		if got := <-code; got != 1 {
			t.Errorf("exit code: got %d, want 1", got)
		}
		in.Close()
	})
}

func TestClosedStdoutEndsTheWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, w := io.Pipe()
		outRead, outWrite := io.Pipe()
		outRead.Close()
		cancelled := false
		e := &fakeEngine{run: func(ctx context.Context, job engine.Job, report func(engine.Progress)) (engine.Result, error) {
			_, err := untilCancelled(ctx, job, report)
			cancelled = true
			return engine.Result{}, err
		}}
		code := make(chan int, 1)
		go func() { code <- Serve(t.Context(), in, outWrite, e, Options{}) }()
		fmt.Fprintln(w, request("1", "generate", "{}"))
		synctest.Wait() // it runs
		fmt.Fprintln(w, request("2", "ping", "{}"))
		if got := <-code; got != 1 || !cancelled {
			t.Errorf("got exit code %d, cancelled %v, want 1, true", got, cancelled)
		}
		w.Close()
	})
}

func check(t *testing.T, texts []string, want string) {
	t.Helper()
	if got := briefs(t, texts); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
