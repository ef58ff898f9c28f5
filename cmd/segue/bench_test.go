package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/engine/bench"
)

// One object on stdout, words on stderr, files in the folder.
func TestBench(t *testing.T) {
	dir := folder(t)
	out, words, code := segue(t, dir, "", "bench", "--clip", "clip.wav", "--seconds", "0.4", "--prompt-seconds", "0.5", "--repeats", "1",
		"--quantization", "q8, f16", "--kv-cache", "f16", "--threads", "1", "--guidance", "1", "--context", "30", "--json", "-", "--output-dir", "bench")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, words)
	}
	var report struct {
		Machine struct{ Device string }
		Rows    []struct {
			Stage   string
			Context int
			Share   float64
		}
		Recommendation struct{ Quantization string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	steps := 0
	for _, row := range report.Rows {
		if row.Stage == "step" && row.Context == 30 && row.Share > 0 {
			steps++
		}
	}
	if report.Machine.Device != "cpu" || steps != 2 || report.Recommendation.Quantization == "" {
		t.Errorf("got %+v", report)
	}
	if !strings.Contains(words, "\nRecommended: ") || !strings.Contains(words, "1 of 2: ") {
		t.Errorf("stderr lacks table or progress: %s", words)
	}
	for _, name := range []string{"report.html", "report.json", "reference-guidance1.wav", "q8-cachef16-guidance1.wav", "f16-cachef16-guidance1.wav"} {
		if _, err := os.Stat(filepath.Join(dir, "bench", name)); err != nil {
			t.Error(err)
		}
	}
	if parts, _ := filepath.Glob(filepath.Join(dir, "bench", ".segue-*")); len(parts) > 0 {
		t.Errorf("left behind: %v", parts)
	}
}

// A fine-tune borrows from the base that segue pull brings, though it began with another model.
func TestBenchFineTune(t *testing.T) {
	goldens, err := filepath.Abs("../../testdata/goldens")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	base := filepath.Join(cache, "models--facebook--musicgen-small", "snapshots", "main")
	if err := os.CopyFS(base, os.DirFS(filepath.Join(goldens, "stereo"))); err != nil { // the fine-tune wants musicgen-stereo-small
		t.Fatal(err)
	}
	_, words, code := segue(t, t.TempDir(), "", "bench", "--model", filepath.Join(goldens, "stereo-audiocraft"), "--seconds", "0.1", "--prompt-seconds", "0.1",
		"--repeats", "1", "--quantization", "q8", "--kv-cache", "f16", "--threads", "1", "--guidance", "1", "--context", "30")
	if code != 0 {
		t.Errorf("exit code %d: %s", code, words)
	}
}

// What cannot be written does not take the table with it, nor one file another.
func TestBenchThatCannotWrite(t *testing.T) {
	dir := t.TempDir()
	f := &benchFlags{json: filepath.Join(dir, "gone", "report.json"), outputDir: dir}
	var out, words strings.Builder
	err := f.write(&environment{stdout: &out, stderr: &words}, &bench.Report{})
	if err == nil || !strings.Contains(err.Error(), f.json) || !strings.Contains(out.String(), "Recommended: ") {
		t.Errorf("got %v and %q, want an error and the table", err, out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "report.html")); err != nil {
		t.Error(err)
	}
}

// Mistakes are told before anything is measured.
func TestBenchMistakes(t *testing.T) {
	t.Setenv("HF_HUB_CACHE", t.TempDir()) // nothing has been pulled
	tuned, err := filepath.Abs("../../testdata/goldens/mono-audiocraft")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, `"q9"`, []string{"--quantization", "q8,q9"}},
		{2, `"q4"`, []string{"--threads", "q4"}},
		{2, `"x"`, []string{"--guidance", "1,x"}},
		{2, "kv-cache: got q4, want f32, f16 or q8", []string{"--kv-cache", "q4"}},
		{2, "variations: got 0", []string{"--variations", "0"}},
		{2, `shape: got "huge", want small, medium, large`, []string{"--shape", "huge"}},
		{2, "--model and --shape", []string{"--shape", "small", "--model", "x"}},
		{2, `argument "clip.wav"`, []string{"clip.wav"}},
		{1, "--json: no/such/folder", []string{"--json", "no/such/folder/report.json"}},
		{1, "--json: .: got what is no regular file", []string{"--json", "."}},
		{2, "context: got -1, want 8 or more", []string{"--context", "-1"}},
		{1, "model:", []string{"--model", "no-such-model"}},
		{1, "segue: model: facebook/musicgen-small is not on this machine; segue pull small downloads it", []string{"--model", "musicgen-small"}},
		{1, "; segue pull facebook/musicgen-small downloads that", []string{"--model", tuned}},
	} {
		_, words, code := segue(t, t.TempDir(), "", append([]string{"bench"}, c.args...)...)
		if code != c.code || !strings.Contains(words, c.says) {
			t.Errorf("%v: got exit code %d, %q, want %d and %q", c.args, code, words, c.code, c.says)
		}
	}
}
