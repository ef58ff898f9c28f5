package rpc

// An Engine without a model, and a host to talk to Serve with.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"segue/engine"
)

// fakeEngine answers at once; a test replaces what it is about.
type fakeEngine struct {
	run   func(context.Context, engine.Job, func(engine.Progress)) (engine.Result, error)
	probe func(context.Context, string) (engine.AudioInfo, error)
	load  func(context.Context, string, func(engine.Progress)) (engine.ModelInfo, error)
	pull  func(context.Context) (engine.ModelInfo, error)
}

// drawn is how the fake's model draws.
var drawn = engine.Sampling{Temperature: 0.9, TopK: 20, TopP: 1, Guidance: 3}

func (e *fakeEngine) Run(ctx context.Context, job engine.Job, report func(engine.Progress)) (engine.Result, error) {
	if e.run != nil {
		return e.run(ctx, job, report)
	}
	peak := -3.5
	result := engine.Result{
		Outputs: []engine.Output{{Path: "/music/clip-2.wav", Format: "wav", Bits: "24", SampleRate: 44100, Channels: 2, Frames: 441000, Seconds: 10, Seed: 7, PeakDB: &peak}},
		Model:   "tiny", Quantization: "q8", Device: "cpu", Sampling: drawn,
	}
	if job.Path != "" {
		result.Prompt = &engine.Prompt{Seconds: 6}
	}
	return result, nil
}

func (e *fakeEngine) Probe(ctx context.Context, path string) (engine.AudioInfo, error) {
	if e.probe != nil {
		return e.probe(ctx, path)
	}
	return engine.AudioInfo{Path: path, Format: "wav", Encoding: "16-bit integer", SampleRate: 44100, Channels: 1, Frames: 44100, Seconds: 1}, nil
}

func (e *fakeEngine) Models(context.Context) ([]engine.ModelInfo, error) {
	return []engine.ModelInfo{{Name: "tiny", Source: "bundled", Layout: "huggingface", Bytes: 1, Parameters: 1, Sampling: &drawn}}, nil
}

func (e *fakeEngine) Model(_ context.Context, name string) (engine.ModelInfo, error) {
	if name == "none" {
		return engine.ModelInfo{}, engine.Errorf(engine.ModelUnknown, "model", "model: %q is unknown", name)
	}
	return engine.ModelInfo{Name: "tiny", Source: "bundled", Layout: "huggingface", Sampling: &drawn}, nil
}

func (e *fakeEngine) Load(ctx context.Context, o engine.ModelOptions, report func(engine.Progress)) (engine.ModelInfo, error) {
	if e.load != nil {
		return e.load(ctx, o.Model, report)
	}
	return engine.ModelInfo{Name: "tiny", Source: "bundled", Layout: "huggingface", Resident: true}, nil
}

func (e *fakeEngine) Unload(context.Context, string) (string, error) { return "found", nil }

func (e *fakeEngine) Pull(ctx context.Context, name, _ string, report func(engine.Progress)) (engine.ModelInfo, error) {
	if e.pull != nil {
		return e.pull(ctx)
	}
	report(engine.Progress{Stage: engine.StageDownload, Fraction: 0.5, Bytes: 5, TotalBytes: 10, BytesPerSecond: 2})
	if name == "missing" {
		return engine.ModelInfo{}, engine.Errorf(engine.DownloadFailed, "model", "model: no such repository")
	}
	return engine.ModelInfo{Name: name, Source: "huggingface", Layout: "huggingface"}, nil
}

func (e *fakeEngine) Prune(_ context.Context, o engine.PruneOptions) (engine.PruneResult, error) {
	file := engine.PackedFile{Path: "/cache/decoder-q4-1.safetensors", Bytes: 5, Reason: fmt.Sprintf("was not used for %g days", o.UnusedDays)}
	return engine.PruneResult{Folder: "/cache", DryRun: o.DryRun, Removed: []engine.PackedFile{file}, RemovedBytes: 5, Kept: []engine.PackedFile{}}, nil
}

func (e *fakeEngine) Status() engine.Status { return engine.Status{Device: "cpu"} }

// untilCancelled is a job that only a cancel ends.
func untilCancelled(ctx context.Context, _ engine.Job, _ func(engine.Progress)) (engine.Result, error) {
	<-ctx.Done()
	return engine.Result{}, ctx.Err()
}

// serveAll gives Serve the whole input and returns all it wrote, and its exit code.
func serveAll(t testing.TB, e Engine, input string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	code := Serve(t.Context(), strings.NewReader(input), &out, e, Options{Version: "test"})
	return out.String(), code
}

// serveLines is serveAll for what is one message per line.
func serveLines(t testing.TB, e Engine, requests ...string) []string {
	t.Helper()
	out, code := serveAll(t, e, strings.Join(requests, "\n")+"\n")
	if code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	return lines(out)
}

func lines(out string) []string {
	if out = strings.TrimSuffix(out, "\n"); out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

// host talks to a running Serve inside of a synctest bubble.
type host struct {
	t    *testing.T
	in   *io.PipeWriter
	code chan int

	mu  sync.Mutex
	out bytes.Buffer
}

// bubble runs a test with a host; Serve has returned at its end.
func bubble(t *testing.T, e Engine, o Options, test func(t *testing.T, h *host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := start(t, t.Context(), e, o)
		test(t, h)
		h.in.Close()
		synctest.Wait()
	})
}

func start(t *testing.T, ctx context.Context, e Engine, o Options) *host {
	in, w := io.Pipe()
	h := &host{t: t, in: w, code: make(chan int, 1)}
	go func() { h.code <- Serve(ctx, in, h, e, o) }()
	return h
}

// Write is the host's side of stdout.
func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(p)
}

func (h *host) send(requests ...string) {
	h.t.Helper()
	for _, request := range requests {
		if _, err := io.WriteString(h.in, request+"\n"); err != nil {
			h.t.Fatal(err)
		}
	}
}

// heard waits until nothing more happens by itself and returns what came since the last call.
func (h *host) heard() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.out.Reset()
	return lines(h.out.String())
}

// reply is an answer or a notification, read by a host.
type reply struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int64     `json:"code"`
		Message string    `json:"message"`
		Data    ErrorData `json:"data"`
	} `json:"error"`
	Method string         `json:"method"`
	Params progressParams `json:"params"`
}

func parse(t testing.TB, text string) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("answer %q: %v", text, err)
	}
	return r
}

// brief writes an answer as id and ok, or id and the error's code and kind; a notification as token and kind.
func brief(t testing.TB, text string) string {
	t.Helper()
	r := parse(t, text)
	switch {
	case r.Method != "":
		return string(r.Params.Token) + " " + string(r.Params.Value.Kind)
	case r.Error != nil:
		code, _ := json.Marshal(r.Error.Code)
		return string(r.ID) + " " + string(code) + " " + string(r.Error.Data.Kind)
	}
	return string(r.ID) + " ok"
}

func briefs(t testing.TB, texts []string) string {
	t.Helper()
	var all []string
	for _, text := range texts {
		all = append(all, brief(t, text))
	}
	return strings.Join(all, "; ")
}
