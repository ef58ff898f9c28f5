//go:build amd64 || arm64

package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/engine"
	"segue/engine/kern"
	"segue/engine/musicgen"
	"segue/engine/verify"
	"segue/metalkern"
	"segue/metalkern/mtltest"
	"segue/weights"
	"segue/weights/packed"
)

var goldenMono = filepath.Join("..", "..", "testdata", "goldens", "mono")

// standin has a test fail for what the stand-in for Metal reports, and for objects that are left when it ends.
func standin(t *testing.T) {
	t.Helper()
	mtltest.Load(t)
	mtltest.Reports()
	before := mtltest.Live()
	t.Cleanup(func() {
		if text := mtltest.Reports(); text != "" {
			t.Errorf("the stand-in reports:\n%s", text)
		}
		if n := mtltest.Leaked(before); n > 0 {
			t.Errorf("%d objects were not released", n)
		}
	})
}

func openPacker(t *testing.T, device string) kern.Packer {
	t.Helper()
	backend, _, err := (&machineFlags{device: device}).openBackend()
	if err != nil {
		t.Fatal(err)
	}
	return backend.(kern.Packer)
}

// TestVerifyMappedOnMetal: all that the reference has comes out of weights that lie in a mapped file.
func TestVerifyMappedOnMetal(t *testing.T) {
	standin(t)
	backend := openPacker(t, "metal")
	defer backend.Close()
	var log bytes.Buffer
	cache := packed.NewCache(t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)))
	checkpoint, err := weights.Open(goldenMono, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := packed.Key{Layout: backend.Layout(), Part: "all", Precision: "none", Config: "c", Sources: checkpoint.Sources("")}
	shelf := cache.Shelf(key, "mono", true)
	model, err := musicgen.Load(t.Context(), backend.Shelve(shelf), checkpoint, musicgen.Exact)
	if err != nil {
		t.Fatal(err)
	}
	own := backend.Allocated()
	if err := errors.Join(shelf.Save(t.Context()), model.Close(), shelf.Close()); err != nil {
		t.Fatal(err)
	}
	golden, err := verify.OpenGolden(filepath.Join(goldenMono, "golden.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	shelf = cache.Shelf(key, "mono", true)
	rows, err := verify.Run(t.Context(), backend.Shelve(shelf), goldenMono, "", golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !row.Pass {
			t.Errorf("failed: %+v", row)
		}
	}
	if shelf.Unsaved() || strings.Contains(backend.Device().Detail, "copied") || own == 0 {
		t.Errorf("something was packed anew or copied: %s", &log)
	}
	if err := shelf.Close(); err != nil || backend.Allocated() != 0 {
		t.Errorf("got %v, %d bytes still held", err, backend.Allocated())
	}
}

// TestContinueMappedOnMetal: whoever starts after the first worker maps what that one packed, and makes the same bytes; CPU
// and GPU keep files of their own.
func TestContinueMappedOnMetal(t *testing.T) {
	standin(t)
	folder := t.TempDir()
	first, log := takeOn(t, "metal", folder)
	if got := strings.Count(log, "packed for the first time"); got != 3 || strings.Contains(log, "not kept") {
		t.Errorf("first: packed %d parts, want 3; log %s", got, log)
	}
	again, log := takeOn(t, "metal", folder)
	if strings.Contains(log, "packed") {
		t.Errorf("again: log %s", log)
	}
	if !bytes.Equal(first, again) {
		t.Error("packed weights from the cache make other music")
	}
	mtltest.Fail("buffer without a copy", 0, 1<<20)
	defer mtltest.Fail("buffer without a copy", 0, 0)
	if copied, log := takeOn(t, "metal", folder); !bytes.Equal(first, copied) || !strings.Contains(log, "packed weights are copied") {
		t.Errorf("with copies: same music %v, log %s", bytes.Equal(first, copied), log)
	}
	if _, log := takeOn(t, "cpu", folder); strings.Count(log, "packed for the first time") != 3 {
		t.Errorf("the CPU: log %s", log)
	}
}

// takeOn has an engine make half a second from a text; the log ends with what status says of the device.
func takeOn(t *testing.T, device, folder string) (audio []byte, log string) {
	t.Helper()
	var text bytes.Buffer
	backend := openPacker(t, device)
	e, err := engine.Open(engine.Options{
		Backend: backend, Packed: folder, WorkDir: t.TempDir(), ModelsDir: filepath.Dir(goldenMono),
		Log: slog.New(slog.NewTextHandler(&text, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	job := engine.NewJob()
	job.Model, job.Quantization, job.Text, job.Seconds, job.Seed = "mono", "q4", "la la", 0.5, 3
	result, err := e.Run(t.Context(), job, func(engine.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	if audio, err = os.ReadFile(result.Outputs[0].Path); err != nil {
		t.Fatal(err)
	}
	if status := e.Status(); strings.Contains(status.DeviceDetail, "copied") {
		text.WriteString(status.DeviceDetail)
	}
	if err := e.Close(); err != nil || backend.Allocated() != 0 {
		t.Errorf("got %v, %d bytes of device memory outlive the engine", err, backend.Allocated())
	}
	return audio, text.String()
}

// TestDoctorOnMetal: the parts of the report that go through a GPU's kernels and files, at shapes for which the stand-in is
// fast enough.
func TestDoctorOnMetal(t *testing.T) {
	standin(t)
	backend := openPacker(t, "metal")
	defer backend.Close()
	var out bytes.Buffer
	models := []tunedModel{{"tiny", metalkern.StepLinears(32)[:4]}}
	effort := metalkern.TuneEffort{Bytes: 1, Time: 1}
	wrong := writePacked(t.Context(), &out, backend, 64) + writeTuning(t.Context(), &out, backend, 1e9, models, effort)
	text := out.String()
	if wrong != 0 || !strings.Contains(text, "in place: true") || strings.Contains(text, "copied") ||
		strings.Count(text, "tiny/") != 4*4*len(tunedRows) {
		t.Errorf("got %d wrong and\n%s", wrong, text)
	}
	if n := backend.Allocated(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}
