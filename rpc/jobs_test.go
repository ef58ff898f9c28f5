package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"segue/engine"
)

// slow takes an hour for a job, and stops at a cancel.
func slow(ctx context.Context, _ engine.Job, report func(engine.Progress)) (engine.Result, error) {
	report(engine.Progress{Stage: engine.StageDecode, Fraction: 0.25, Seconds: 2.5, ETASeconds: 2700})
	select {
	case <-time.After(time.Hour):
		return engine.Result{}, nil
	case <-ctx.Done():
		return engine.Result{}, ctx.Err()
	}
}

func cancelNote(params string) string {
	return `{"jsonrpc":"2.0","method":"$/cancelRequest","params":` + params + `}`
}

func TestJobsRunOneAtATimeInOrder(t *testing.T) {
	running := 0
	var order []string
	e := &fakeEngine{run: func(ctx context.Context, job engine.Job, _ func(engine.Progress)) (engine.Result, error) {
		running++
		defer func() { running-- }()
		if running > 1 {
			t.Error("two jobs at once")
		}
		order = append(order, job.Text)
		time.Sleep(time.Second)
		return engine.Result{}, nil
	}}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		for i := range 5 {
			h.send(request(fmt.Sprint(i), "generate", fmt.Sprintf(`{"text":"%d"}`, i)))
		}
		time.Sleep(time.Minute)
		check(t, h.heard(), "0 ok; 1 ok; 2 ok; 3 ok; 4 ok")
		if got := strings.Join(order, ""); got != "01234" {
			t.Errorf("order: got %s, want 01234", got)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request(`"a<b"`, "generate", "{}"), request("2", "generate", `{"progressToken":"t\/k"}`), request("3", "generate", `{"progress":true}`))
		check(t, h.heard(), `"t/k" begin; 3 begin`)
		h.send(cancelNote(`{"id":3}`)) // waits
		check(t, h.heard(), "3 end; 3 -32800 cancelled")
		h.send(cancelNote(`{"id":"2"}`), cancelNote(`{"token":2}`), cancelNote(`{}`), cancelNote(`{"id":null}`)) // none of these
		check(t, h.heard(), "")
		h.send(cancelNote(`{"id":"a<b"}`)) // works; the next one starts
		check(t, h.heard(), `"a<b" -32800 cancelled; "t/k" report`)
		h.send(cancelNote(`{"token":"t/k"}`))
		check(t, h.heard(), `"t/k" end; 2 -32800 cancelled`)
		h.send(cancelNote(`{"id":2}`), request("4", "ping", "{}")) // answered already
		check(t, h.heard(), "4 ok")
	})
}

func TestCancelRightBehindItsRequest(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		for i := range 50 {
			id := fmt.Sprint(i)
			h.send("["+request(id, "generate", "{}")+","+cancelNote(`{"id":`+id+`}`)+"]", request(`"p"`, "ping", "{}"))
			got := strings.Join(h.heard(), "\n")
			if !strings.Contains(got, fmt.Sprintf(`[{"jsonrpc":"2.0","id":%d,"error":{"code":-32800`, i)) {
				t.Fatalf("got %s", got)
			}
		}
	})
}

func TestCheapMethodsDoNotWait(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request("1", "generate", `{"progressToken":9}`), request("2", "generate", "{}"))
		check(t, h.heard(), "9 begin; 9 report")
		for _, m := range []string{"ping", "models/list", "models/info", "models/load", "models/unload", "rpc.discover"} {
			h.send(request("3", m, "{}"))
			check(t, h.heard(), "3 ok")
		}
		h.send(request("4", "audio/probe", `{"path":"a.wav"}`))
		check(t, h.heard(), "4 ok")
		time.Sleep(time.Minute)
		h.send(request("5", "status", "{}"))
		var status StatusResult
		if err := json.Unmarshal(parse(t, h.heard()[0]).Result, &status); err != nil {
			t.Fatal(err)
		}
		want := JobStatus{ID: "1", Method: "generate", Token: "9", Stage: engine.StageDecode, Percentage: 25, Seconds: 2.5, ETASeconds: 2700, ElapsedSeconds: 60}
		if status.Running == nil || *status.Running != want {
			t.Errorf("running: got %+v, want %+v", status.Running, want)
		}
		if len(status.Queue) != 1 || status.Queue[0].Method != "generate" || status.Queue[0].Stage != engine.StageQueued {
			t.Errorf("queue: got %+v", status.Queue)
		}
		h.send(cancelNote(`{"id":1}`))
		h.heard()
	})
}

func TestQueueIsBounded(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request("0", "generate", "{}"))
		h.heard() // it runs, and waits no more
		for i := range queueLimit {
			h.send(request(fmt.Sprint(i+1), "generate", "{}"))
		}
		check(t, h.heard(), "")
		h.send(request(`"more"`, "generate", `{"progress":true}`))
		check(t, h.heard(), `"more" 1401 queue.full`)
		h.send(cancelNote(`{"id":7}`), request(`"more"`, "generate", "{}"))
		check(t, h.heard(), "7 -32800 cancelled")
		for i := range queueLimit + 1 {
			h.send(cancelNote(fmt.Sprintf(`{"id":%d}`, i)))
		}
		h.send(cancelNote(`{"id":"more"}`))
		h.heard()
	})
}

func TestProbesAreBoundedAndCancelled(t *testing.T) {
	var working, most atomic.Int32
	e := &fakeEngine{probe: func(ctx context.Context, _ string) (engine.AudioInfo, error) {
		most.Store(max(most.Load(), working.Add(1)))
		<-ctx.Done()
		working.Add(-1)
		return engine.AudioInfo{}, ctx.Err()
	}}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		for i := range queueLimit + 1 {
			h.send(request(fmt.Sprint(i), "audio/probe", `{"path":"a"}`))
			h.heard()
			if i == queueLimit-1 {
				h.send(request(`"over"`, "audio/probe", `{"path":"a"}`))
				check(t, h.heard(), `"over" 1401 queue.full`)
				h.send(cancelNote(`{"id":0}`), cancelNote(`{"id":63}`)) // one works, one waits
				if got := briefs(t, h.heard()); !strings.Contains(got, "0 -32800 cancelled") || !strings.Contains(got, "63 -32800 cancelled") {
					t.Errorf("got %q", got)
				}
			}
		}
		if got := most.Load(); got != asideLimit {
			t.Errorf("got %d probes at once, want %d", got, asideLimit)
		}
		for i := range queueLimit + 1 {
			h.send(cancelNote(fmt.Sprintf(`{"id":%d}`, i)))
		}
		h.heard()
	})
}

// Downloads and loads take minutes; whoever only looks does not wait for them.
func TestLookingDoesNotWaitForModelsThatCome(t *testing.T) {
	e := &fakeEngine{load: func(ctx context.Context, _ string, _ func(engine.Progress)) (engine.ModelInfo, error) {
		<-ctx.Done()
		return engine.ModelInfo{}, ctx.Err()
	}}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		for i := range queueLimit {
			h.send(request(fmt.Sprint(i), "models/load", "{}"))
		}
		h.send(request(`"over"`, "models/load", "{}"))
		check(t, h.heard(), `"over" 1401 queue.full`)
		h.send(request(`"p"`, "audio/probe", `{"path":"a.wav"}`))
		check(t, h.heard(), `"p" ok`)
		h.send(request(`"l"`, "models/list", "{}"))
		check(t, h.heard(), `"l" ok`)
		for i := range queueLimit {
			h.send(cancelNote(fmt.Sprintf(`{"id":%d}`, i)))
		}
		h.heard()
	})
}

// A download waits for the network, a load for the disk: not for each other.
func TestLoadsAndPullsDoNotWaitForEachOther(t *testing.T) {
	untilDone := func(ctx context.Context) (engine.ModelInfo, error) {
		<-ctx.Done()
		return engine.ModelInfo{}, ctx.Err()
	}
	pull, load := request("%d", "models/pull", `{"model":"small"}`), request("%d", "models/load", "{}")
	for name, test := range map[string]struct {
		engine      fakeEngine
		many, other string
	}{
		"load": {fakeEngine{pull: untilDone}, pull, load},
		"pull": {fakeEngine{load: func(ctx context.Context, _ string, _ func(engine.Progress)) (engine.ModelInfo, error) {
			return untilDone(ctx)
		}}, load, pull},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, &test.engine, Options{}, func(t *testing.T, h *host) {
				for i := range asideLimit {
					h.send(fmt.Sprintf(test.many, i))
				}
				h.send(fmt.Sprintf(test.other, asideLimit))
				check(t, h.heard(), fmt.Sprintf("%d ok", asideLimit))
				for i := range asideLimit {
					h.send(cancelNote(fmt.Sprintf(`{"id":%d}`, i)))
				}
				h.heard()
			})
		})
	}
}

// A time that is less than a clock can tell is over at once, not never.
func TestTimeoutOfNearlyNothing(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request("1", "generate", `{"timeoutSeconds":1e-12}`))
		time.Sleep(time.Second)
		check(t, h.heard(), "1 1402 timeout")
	})
}

func TestTimeout(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request("1", "generate", `{"timeoutSeconds":30}`), request("2", "generate", `{"timeoutSeconds":10}`), request("3", "generate", "{}"))
		check(t, h.heard(), "")
		time.Sleep(11 * time.Second) // 2 waits: its time counts from its arrival
		check(t, h.heard(), "2 1402 timeout")
		time.Sleep(20 * time.Second)
		check(t, h.heard(), "1 1402 timeout")
		time.Sleep(time.Hour)
		check(t, h.heard(), "3 ok")
	})
}

func TestIdsAndTokensInFlightAreUnique(t *testing.T) {
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(request(`"x"`, "generate", `{"progressToken":1}`))
		check(t, h.heard(), "1 begin; 1 report")
		h.send(request(`"x"`, "ping", "{}"), request("2", "generate", `{"progressToken":1}`))
		check(t, h.heard(), `"x" -32600 request.invalid; 2 -32602 params.invalid`)
		h.send(cancelNote(`{"id":"x"}`))
		check(t, h.heard(), `1 end; "x" -32800 cancelled`)
		h.send(request(`"x"`, "generate", `{"progressToken":1}`), cancelNote(`{"id":"x"}`)) // free again
		if got := h.heard(); brief(t, got[0]) != "1 begin" || brief(t, got[len(got)-1]) != `"x" -32800 cancelled` {
			t.Errorf("got %q", got)
		}
	})
}

func TestResultThatBeatsTheCancelIsKept(t *testing.T) {
	e := &fakeEngine{run: func(ctx context.Context, _ engine.Job, _ func(engine.Progress)) (engine.Result, error) {
		<-ctx.Done()
		return engine.Result{}, nil // the files are there
	}}
	bubble(t, e, Options{}, func(t *testing.T, h *host) {
		h.send(request("1", "generate", "{}"))
		h.heard()
		h.send(cancelNote(`{"id":1}`))
		check(t, h.heard(), "1 ok")
	})
}
