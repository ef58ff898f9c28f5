package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"segue/engine"
	"segue/engine/kern"
)

// notes is a log that a test reads while others write it.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notes) count(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.text.String(), what)
}

const (
	packedAnew = "packed for the first time"
	unusable   = "cannot be used and are made again"
	notKept    = "are not kept"
)

// shop is a place with models and a folder of packed weights, for one engine after another.
type shop struct {
	models, packed string
}

func newShop(t *testing.T) shop {
	t.Helper()
	s := shop{t.TempDir(), filepath.Join(t.TempDir(), "packed")}
	for _, name := range []string{"mono", "mono-audiocraft"} {
		if err := os.CopyFS(filepath.Join(s.models, name), os.DirFS(golden(t, name))); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// take opens an engine, has it make the same half second from a text, and closes it.
func (s shop) take(t *testing.T, model string) (audio []byte, log *notes) {
	t.Helper()
	log = &notes{}
	t.Run("take", func(t *testing.T) { // the engine closes at its end
		w := s.open(t, log)
		r := w.run(t, func(j *engine.Job) { j.Model, j.Quantization, j.Text = model, "q4", "la la" })
		var err error
		if audio, err = os.ReadFile(r.Outputs[0].Path); err != nil {
			t.Fatal(err)
		}
	})
	return audio, log
}

func (s shop) open(t *testing.T, log *notes) world {
	t.Helper()
	return newWorld(t, engine.Options{ModelsDir: s.models, Base: "mono", Packed: s.packed, Log: slog.New(slog.NewTextHandler(log, nil))})
}

func (s shop) files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.packed, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The first engine packs, the next ones find it; a fine-tune finds its base's text encoder and codec.
func TestPackedOnce(t *testing.T) {
	s := newShop(t)
	first, log := s.take(t, "mono")
	if got := log.count(packedAnew); got != 3 || log.count(notKept) != 0 {
		t.Errorf("first: packed %d parts, want 3; log %s", got, &log.text)
	}
	again, log := s.take(t, "mono")
	if log.count(packedAnew) != 0 || log.count(unusable) != 0 {
		t.Errorf("again: log %s", &log.text)
	}
	if !bytes.Equal(first, again) {
		t.Error("packed weights from the cache make other music")
	}
	if _, log = s.take(t, "mono-audiocraft"); log.count(packedAnew) != 1 || len(s.files(t, "text-*")) != 1 {
		t.Errorf("fine-tune: packed %d parts, want the decoder alone; files %v", log.count(packedAnew), s.files(t, "*"))
	}
}

// Without a folder that can be written all works as ever, and the log says what is amiss.
func TestPackedNowhere(t *testing.T) {
	s := newShop(t)
	want, _ := s.take(t, "mono")
	if err := os.WriteFile(s.packed+"2", []byte("a file"), 0o666); err != nil {
		t.Fatal(err)
	}
	s.packed += "2"
	got, log := s.take(t, "mono")
	if log.count(notKept) != 3 || !bytes.Equal(got, want) {
		t.Errorf("same music %v, log %s", bytes.Equal(got, want), &log.text)
	}
}

// Whichever part is damaged, when it is noticed the request begins anew, and the file is made again.
func TestPackedDamaged(t *testing.T) {
	s := newShop(t)
	want, _ := s.take(t, "mono")
	for _, parts := range [][]string{{"text"}, {"codec"}, {"decoder"}, {"text", "codec", "decoder"}} {
		sound := map[string][]byte{}
		for _, part := range parts {
			file := s.files(t, part+"-*")[0]
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sound[file] = data
			damaged := bytes.Clone(data)
			for i := len(damaged) - 4096; i < len(damaged); i++ {
				damaged[i] = 0xff
			}
			if err := os.WriteFile(file, damaged, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		got, log := s.take(t, "mono")
		if !bytes.Equal(got, want) || log.count(unusable) == 0 {
			t.Errorf("%s: same music %v, log %s", parts, bytes.Equal(got, want), &log.text)
		}
		for file, data := range sound {
			if mended, err := os.ReadFile(file); err != nil || !bytes.Equal(mended, data) {
				t.Errorf("%s: %s was not made again (%v)", parts, file, err)
			}
		}
	}
}

// A model that changes is packed anew; prune then removes what was made of the old one, after a dry run that only tells.
func TestPrune(t *testing.T) {
	s := newShop(t)
	s.take(t, "mono")
	path := filepath.Join(s.models, "mono", "model.safetensors")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, log := s.take(t, "mono"); log.count(packedAnew) != 3 || len(s.files(t, "*")) != 6 {
		t.Errorf("after a change: packed %d parts, files %v", log.count(packedAnew), s.files(t, "*"))
	}
	w := s.open(t, &notes{})
	prune := func(change func(*engine.PruneOptions)) engine.PruneResult {
		t.Helper()
		o := engine.NewPruneOptions()
		change(&o)
		r, err := w.engine.Prune(t.Context(), o)
		if err != nil || r.Folder != s.packed {
			t.Fatalf("got %+v, %v", r, err)
		}
		return r
	}
	before := w.engine.Status().PackedBytes
	dry := prune(func(o *engine.PruneOptions) { o.DryRun = true })
	if len(dry.Removed) != 3 || len(dry.Kept) != 3 || dry.RemovedBytes+dry.KeptBytes != before || len(s.files(t, "*")) != 6 {
		t.Errorf("dry run: got %+v of %d bytes", dry, before)
	}
	if r := prune(func(*engine.PruneOptions) {}); len(r.Removed) != 3 || !strings.Contains(r.Removed[0].Reason, "changed") || len(s.files(t, "*")) != 3 {
		t.Errorf("got %+v", r)
	}
	if now := w.engine.Status().PackedBytes; now != dry.KeptBytes {
		t.Errorf("status: got %d bytes, want %d", now, dry.KeptBytes)
	}
	info, err := w.engine.Model(t.Context(), "mono")
	if err != nil || info.PackedBytes != dry.KeptBytes {
		t.Errorf("got %+v, %v, want %d packed bytes", info, err, dry.KeptBytes)
	}
	if r := prune(func(o *engine.PruneOptions) { o.UnusedDays = 0 }); len(r.Removed) != 3 || len(s.files(t, "*")) != 0 {
		t.Errorf("all: got %+v", r)
	}
	if _, err := w.engine.Prune(t.Context(), engine.PruneOptions{UnusedDays: -1}); kindOf(err) != engine.BadParam {
		t.Errorf("-1 days: got %v", err)
	}
}

// Two models that share a base hold its text encoder once.
func TestPackedSharedMemory(t *testing.T) {
	s := newShop(t)
	s.take(t, "mono")
	s.take(t, "mono-audiocraft")
	w := s.open(t, &notes{})
	load := func(model string) (own, held int64) {
		t.Helper()
		before := w.backend.Allocated()
		info, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: model, Quantization: "q4"}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return info.MemoryBytes, w.backend.Allocated() - before
	}
	if own, held := load("mono"); held != own {
		t.Errorf("the first: holds %d bytes, says %d", held, own)
	}
	if own, held := load("mono-audiocraft"); held >= own {
		t.Errorf("the second: holds %d more bytes, want less than its %d", held, own)
	}
	for _, model := range []string{"mono", "mono-audiocraft"} {
		if _, err := w.engine.Unload(t.Context(), model); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all is free", func() bool { return w.backend.Allocated() == 0 })
}

// apart is a device with memory of its own: it copies what it takes from a shelf.
type apart struct{ kern.Packer }

func (apart) InPlace() bool { return false }

// A model on a device with memory of its own finds its packed weights, too, and shares nothing with another: a budget that is
// just enough for two where they share the base's parts holds one.
func TestPackedApart(t *testing.T) {
	s := newShop(t)
	want, _ := s.take(t, "mono")
	s.take(t, "mono-audiocraft")
	shared := int64(0)
	for _, file := range append(s.files(t, "text-*"), s.files(t, "codec-*")...) {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		shared += info.Size()
	}
	log := &notes{}
	resident := func(backend kern.Backend, budget int64) (w world, held int64) {
		w = newWorld(t, engine.Options{ModelsDir: s.models, Base: "mono", Packed: s.packed, Backend: backend, Memory: budget, Log: slog.New(slog.NewTextHandler(log, nil))})
		for _, model := range []string{"mono", "mono-audiocraft"} {
			info, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: model, Quantization: "q4"}, quiet)
			if err != nil {
				t.Fatal(err)
			}
			held += info.MemoryBytes
		}
		return w, held
	}
	w, budget := resident(openBackend(t), 0)
	for len(w.engine.Status().Models) == 2 {
		budget -= shared / 4
		w, _ = resident(openBackend(t), budget)
	}
	w, _ = resident(apart{openBackend(t).(kern.Packer)}, budget+shared/4)
	if n := len(w.engine.Status().Models); n != 1 {
		t.Errorf("apart: %d models are resident, want one", n)
	}
	r := w.run(t, func(j *engine.Job) { j.Model, j.Quantization, j.Text = "mono", "q4", "la la" })
	if got, err := os.ReadFile(r.Outputs[0].Path); err != nil || !bytes.Equal(got, want) || log.count(packedAnew) != 0 {
		t.Errorf("apart: same music %v, %v, log %s", bytes.Equal(got, want), err, &log.text)
	}
}

// eventually waits for what happens beside the test.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not yet after 10 s: %s", what)
		}
	}
}
