package engine_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"segue/engine"
	"segue/engine/kern"
	"segue/weights"
)

// hooked is a device that calls a function before each matrix.
type hooked struct {
	kern.Backend
	matrix func() error
}

func (b hooked) Matrix(p kern.Precision, parts ...*weights.Tensor) (kern.Matrix, error) {
	if err := b.matrix(); err != nil {
		return nil, err
	}
	return b.Backend.Matrix(p, parts...)
}

var errGivenUp = errors.New("given up")

// A load that is cancelled brings no more of its model to the device.
func TestCancelledLoad(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	made := 0
	w := newWorld(t, engine.Options{ModelsDir: goldensDir(t), Backend: hooked{openBackend(t), func() error {
		if made++; made == 3 {
			cancel(errGivenUp)
		}
		return nil
	}}})
	if _, err := w.engine.Load(ctx, engine.ModelOptions{Model: "mono"}, quiet); !errors.Is(err, errGivenUp) {
		t.Errorf("got %v, want %v", err, errGivenUp)
	}
	if made != 3 || w.backend.Allocated() != 0 {
		t.Errorf("got %d matrices and %d bytes held, want 3, 0", made, w.backend.Allocated())
	}
}

// Who waits for another's load can give up.
func TestCancelBehindAnotherLoad(t *testing.T) {
	begun, release := make(chan bool), make(chan bool)
	first := true
	w := newWorld(t, engine.Options{ModelsDir: goldensDir(t), Backend: hooked{openBackend(t), func() error {
		if first {
			first = false
			begun <- true
			<-release
		}
		return nil
	}}})
	done := make(chan error)
	go func() {
		_, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: "mono"}, quiet)
		done <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errGivenUp)
	defer cancel()
	if _, err := w.engine.Load(ctx, engine.ModelOptions{Model: "stereo"}, quiet); !errors.Is(err, errGivenUp) {
		t.Errorf("got %v, want %v", err, errGivenUp)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of a model that is resident in several precisions, the one that was used last is told of.
func TestResidentTwice(t *testing.T) {
	w := newWorld(t, engine.Options{ModelsDir: goldensDir(t)})
	for _, quantization := range []string{"q8", "q4", "f16", "q8", "q4"} {
		if _, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: "mono", Quantization: quantization}, quiet); err != nil {
			t.Fatal(err)
		}
		if info, err := w.engine.Model(t.Context(), "mono"); err != nil || info.Quantization != quantization {
			t.Errorf("got %s, %v, want %s", info.Quantization, err, quantization)
		}
	}
}

// A device without room, or one that fails, does not mean that the model is damaged.
func TestDeviceFailsLoad(t *testing.T) {
	for kind, failure := range map[engine.Kind]error{engine.OutOfMemory: kern.ErrMemory, engine.DeviceFailed: kern.ErrDevice, engine.ModelInvalid: errors.New("odd")} {
		w := newWorld(t, engine.Options{ModelsDir: goldensDir(t), Backend: hooked{openBackend(t), func() error { return failure }}})
		_, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: "mono"}, quiet)
		var e *engine.Error
		if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Detail, "mono") {
			t.Errorf("%v: got %v, want kind %s", failure, err, kind)
		}
	}
}

// gate is a log that holds up its first line about packing.
type gate struct{ reached, release chan bool }

func (g *gate) Write(p []byte) (int, error) {
	if strings.Contains(string(p), packedAnew) {
		select {
		case g.reached <- true:
			<-g.release
		default:
		}
	}
	return len(p), nil
}

// An engine that is closed while a model is on its way lets go of it when all that reads it has ended.
func TestCloseDuringLoad(t *testing.T) {
	for range 10 {
		s := newShop(t)
		g := &gate{make(chan bool), make(chan bool)}
		backend := openBackend(t)
		e, err := engine.Open(engine.Options{Backend: backend, ModelsDir: s.models, Packed: s.packed, WorkDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(g, nil))})
		if err != nil {
			t.Fatal(err)
		}
		loaded, closed := make(chan error), make(chan error)
		go func() {
			_, err := e.Load(context.Background(), engine.ModelOptions{Model: "mono", Quantization: "q4"}, quiet)
			loaded <- err
		}()
		<-g.reached
		go func() { closed <- e.Close() }()
		time.Sleep(5 * time.Millisecond) // so that Close waits for the load
		close(g.release)
		if err := errors.Join(<-loaded, <-closed); err != nil {
			t.Error(err)
		}
		if backend.Allocated() != 0 {
			t.Errorf("%d bytes outlive the engine", backend.Allocated())
		}
	}
}

func goldensDir(t *testing.T) string { return filepath.Dir(golden(t, "mono")) }

// changing is a models folder with a model whose file changes, and what is in that file.
func changing(t *testing.T) (models, path string, content []byte) {
	t.Helper()
	models = t.TempDir()
	if err := os.CopyFS(filepath.Join(models, "mono"), os.DirFS(golden(t, "mono"))); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(models, "mono", "model.safetensors")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return models, path, content
}

// A model whose file is written again in place is loaded anew.
func TestChangedFile(t *testing.T) {
	models, path, old := changing(t)
	changed := bytes.Clone(old)
	clear(changed[len(changed)/2:]) // zeros are numbers
	music := func(w world) []byte {
		t.Helper()
		r := w.run(t, func(j *engine.Job) { j.Model, j.Quantization = "mono", "none" })
		data, err := os.ReadFile(r.Outputs[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	w := newWorld(t, engine.Options{ModelsDir: models})
	before := music(w)
	if err := os.WriteFile(path, changed, 0o666); err != nil {
		t.Fatal(err)
	}
	after := music(w)
	if want := music(newWorld(t, engine.Options{ModelsDir: models})); !bytes.Equal(after, want) || bytes.Equal(after, before) {
		t.Errorf("the music of the new file: %v, of the old one: %v", bytes.Equal(after, want), bytes.Equal(after, before))
	}
}

// A job whose model is cut short under it begins anew when the file is whole again, and fails when it is not. Neither keeps memory.
func TestCutFile(t *testing.T) {
	for _, stage := range []engine.Stage{engine.StageEncode, engine.StagePrefill, engine.StageDecode} {
		for _, mended := range []bool{true, false} {
			models, path, content := changing(t)
			w := newWorld(t, engine.Options{ModelsDir: models})
			job := engine.NewJob()
			job.Path = w.tone(t, "a.wav", stereo44, 2)
			job.Model, job.Quantization, job.Text, job.Seconds, job.PromptSeconds = "mono", "none", "la", 1, 1
			cut := false
			_, err := w.engine.Run(t.Context(), job, func(p engine.Progress) {
				switch {
				case p.Stage == stage && !cut:
					cut = true
					_ = os.Truncate(path, 1000)
				case p.Stage == engine.StageLoad && cut && mended:
					_ = os.WriteFile(path, content, 0o666)
				}
			})
			if mended && err != nil || !mended && kindOf(err) != engine.ModelInvalid {
				t.Errorf("cut while %s, mended %v: got %v", stage, mended, err)
			}
			if _, err := w.engine.Unload(t.Context(), "mono"); err != nil {
				t.Error(err)
			}
			if got := w.engine.Status(); got.CachedPrompts != 0 || len(got.Models) != 0 {
				t.Errorf("cut while %s, mended %v: got status %+v after unloading", stage, mended, got)
			}
		}
	}
}

// A load whose file is cut short is an error, and keeps nothing.
func TestCutLoad(t *testing.T) {
	models, path, _ := changing(t)
	matrices := 0
	w := newWorld(t, engine.Options{ModelsDir: models, Backend: hooked{openBackend(t), func() error {
		if matrices++; matrices == 20 {
			return os.Truncate(path, 1000)
		}
		return nil
	}}})
	_, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: "mono"}, quiet)
	if held := w.backend.Allocated(); kindOf(err) != engine.ModelInvalid || !errors.Is(err, weights.ErrFault) || held != 0 {
		t.Errorf("got %v and %d bytes held", err, held)
	}
}

// A model whose folder is gone can still be unloaded, by what it was loaded by or by its folder.
func TestUnloadMissing(t *testing.T) {
	for _, byPath := range []bool{false, true} {
		models := t.TempDir()
		dir := filepath.Join(models, "mono")
		if err := os.CopyFS(dir, os.DirFS(golden(t, "mono"))); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, engine.Options{ModelsDir: models})
		name := "mono"
		if byPath {
			name = dir
		}
		if _, err := w.engine.Load(t.Context(), engine.ModelOptions{Model: name}, quiet); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir, dir+"2"); err != nil {
			t.Fatal(err)
		}
		if got, err := w.engine.Unload(t.Context(), dir); err != nil || got != name {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, name)
		}
		if _, err := w.engine.Unload(t.Context(), name); err == nil || len(w.engine.Status().Models) != 0 {
			t.Errorf("%s, again: got %v, and resident is %+v", name, err, w.engine.Status().Models)
		}
	}
}
