package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A start leaves packed weights; models lists them; prune tells what it would remove, then removes it.
func TestModelsPrune(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the folder of packed weights cannot be moved on this system")
	}
	dir := folder(t)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("SEGUE_MODELS", filepath.Join(dir, "models"))
	model := filepath.Join(dir, "models", "mono")
	if err := os.CopyFS(model, os.DirFS("../../testdata/goldens/mono")); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, words, code := segue(t, dir, "", args...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, words)
		}
		return out
	}
	run("generate", "--model", "mono", "--seconds", "0.1")
	var list []struct {
		Name        string
		PackedBytes int64
	}
	if err := json.Unmarshal([]byte(run("models", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	packed := int64(0)
	for _, m := range list {
		if m.Name == "mono" {
			packed = m.PackedBytes
		}
	}
	if packed == 0 {
		t.Errorf("models: got no packed bytes of mono: %+v", list)
	}
	if got := run("models", "prune"); !strings.Contains(got, "removed 0 files") || !strings.Contains(got, "kept 3 files") {
		t.Errorf("nothing to prune: got %s", got)
	}
	if err := os.Chtimes(filepath.Join(model, "model.safetensors"), time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	if got := run("models", "prune", "--dry-run", "--device", "cpu"); !strings.Contains(got, "would remove 3 files") || strings.Count(got, "gone or changed") != 3 {
		t.Errorf("dry run: got %s", got)
	}
	var result struct {
		RemovedBytes, KeptBytes int64
		Removed                 []struct{ Reason string }
	}
	if err := json.Unmarshal([]byte(run("models", "prune", "--json")), &result); err != nil || len(result.Removed) != 3 || result.RemovedBytes != packed || result.KeptBytes != 0 {
		t.Errorf("got %+v, %v, want %d bytes removed", result, err, packed)
	}
	if _, words, code := segue(t, dir, "", "models", "prune", "--unused-days", "-1"); code == 0 || !strings.Contains(words, "unusedDays") {
		t.Errorf("-1 days: exit code %d: %s", code, words)
	}
}
