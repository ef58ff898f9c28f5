package engine_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"segue/engine"
	"segue/weights/hub"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// hubOf serves folders as the repositories of a hub, every file as a large one.
func hubOf(t *testing.T, repos map[string]string) (endpoint string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		for repo, dir := range repos {
			if r.URL.Path == "/api/models/"+repo+"/revision/main" || r.URL.Path == "/api/models/"+repo+"/revision/v2" {
				describeRepo(t, w, dir)
				return
			}
			if name, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/"+commit+"/"); ok {
				serveFile(t, w, r, filepath.Join(dir, name))
				return
			}
		}
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func describeRepo(t *testing.T, w http.ResponseWriter, dir string) {
	siblings := []map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			siblings = append(siblings, map[string]string{"rfilename": name})
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings})
}

func serveFile(t *testing.T, w http.ResponseWriter, r *http.Request, name string) {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(data)
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	http.ServeFile(w, r, name)
}

func golden(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs("../testdata/goldens/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func kindOf(err error) engine.Kind {
	var e *engine.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// A model of the catalog is missing, then pulled by its short name, then plays; the second pull moves nothing.
func TestPull(t *testing.T) {
	endpoint, requests := hubOf(t, map[string]string{"facebook/musicgen-small": golden(t, "mono")})
	w := newWorld(t, engine.Options{Hub: hub.Config{Dir: t.TempDir(), Endpoint: endpoint}})
	job := engine.NewJob()
	job.Model, job.Seconds = "small", 0.1
	_, err := w.engine.Run(t.Context(), job, quiet)
	if kindOf(err) != engine.ModelMissing || !strings.Contains(err.Error(), "segue pull small") {
		t.Errorf("before the pull: got %v", err)
	}
	if info, err := w.engine.Model(t.Context(), "small"); err != nil || info.Source != "catalog" || !strings.Contains(info.Description, "CC-BY-NC") {
		t.Errorf("before the pull: got %+v, %v", info, err)
	}
	var last engine.Progress
	info, err := w.engine.Pull(t.Context(), "small", "", func(p engine.Progress) {
		if p.Stage != engine.StageDownload || p.Fraction < last.Fraction || p.Bytes > p.TotalBytes {
			t.Errorf("progress: got %+v after %+v", p, last)
		}
		last = p
	})
	if err != nil || info.Name != "facebook/musicgen-small" || info.Source != "huggingface" || info.Bytes == 0 || info.Problem != "" {
		t.Fatalf("got %+v, %v", info, err)
	}
	if last.Fraction != 1 || last.Bytes != last.TotalBytes {
		t.Errorf("progress ended with %+v", last)
	}
	for _, name := range []string{"small", "musicgen-small", "facebook/musicgen-small", "small@main"} {
		w.run(t, func(j *engine.Job) { j.Model, j.Seconds = name, 0.1 })
	}
	requests.Store(0)
	if again, err := w.engine.Pull(t.Context(), "facebook/musicgen-small", "", quiet); err != nil || again.Path != info.Path || requests.Load() != 1 {
		t.Errorf("again: got %+v, %v, %d requests, want one", again, err, requests.Load())
	}
	list, err := w.engine.Models(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, m := range list {
		if sources[m.Name] += m.Source; m.Source == "catalog" && !strings.Contains(m.Description, "segue pull ") {
			t.Errorf("got %+v", m)
		}
	}
	if sources["facebook/musicgen-small"] != "huggingface" || sources["thepatch/hoenn_lofi"] != "catalog" {
		t.Errorf("got %v", sources)
	}
}

// A fine-tune comes with the model that lends it the rest, once; another revision goes by its own name.
func TestPullFineTune(t *testing.T) {
	endpoint, requests := hubOf(t, map[string]string{
		"facebook/musicgen-small": golden(t, "mono"), "someone/tuned": golden(t, "mono-audiocraft"), "someone/other": golden(t, "mono-audiocraft"),
	})
	w := newWorld(t, engine.Options{Hub: hub.Config{Dir: t.TempDir(), Endpoint: endpoint}})
	info, err := w.engine.Pull(t.Context(), "someone/tuned", "", quiet)
	if err != nil || info.Layout != "audiocraft" || info.Problem != "" {
		t.Fatalf("got %+v, %v", info, err)
	}
	if _, err := w.engine.Model(t.Context(), "someone/other"); kindOf(err) != engine.ModelUnknown || !strings.Contains(err.Error(), "segue pull") {
		t.Errorf("got %v", err)
	}
	requests.Store(0)
	info, err = w.engine.Pull(t.Context(), "someone/other", "v2", quiet)
	if err != nil || info.Name != "someone/other@v2" || requests.Load() != 5 {
		t.Errorf("got %+v, %v, %d requests, want 5", info, err, requests.Load())
	}
	w.run(t, func(j *engine.Job) { j.Model, j.Seconds = "someone/other@v2", 0.1 })
}

func TestPullRefusals(t *testing.T) {
	empty, damaged, cache := t.TempDir(), t.TempDir(), t.TempDir()
	for dir, name := range map[string]string{empty: "README.md", damaged: "state_dict.bin"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a b c"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	endpoint, _ := hubOf(t, map[string]string{"someone/empty": empty, "someone/damaged": damaged, "facebook/musicgen-small": golden(t, "mono")})
	online := newWorld(t, engine.Options{Hub: hub.Config{Dir: cache, Endpoint: endpoint}})
	for _, test := range []struct {
		config   hub.Config
		name     string
		revision string
		want     engine.Kind
	}{
		{hub.Config{Dir: cache, Endpoint: endpoint}, "someone/nothing", "", engine.ModelUnknown},
		{hub.Config{Dir: cache, Endpoint: endpoint}, "no such model", "", engine.ModelUnknown},
		{hub.Config{Dir: cache, Endpoint: endpoint}, "small", "../x", engine.ModelUnknown},
		{hub.Config{Dir: cache, Endpoint: endpoint}, "someone/empty", "", engine.ModelInvalid},
		{hub.Config{Dir: cache, Endpoint: endpoint}, "someone/damaged", "", engine.ModelInvalid},
		{hub.Config{Dir: cache, Endpoint: "gopher://x"}, "small", "", engine.DownloadFailed},
		{hub.Config{}, "small", "", engine.DownloadFailed},
		{hub.Config{Dir: cache, Endpoint: endpoint, Offline: true}, "medium", "", engine.DownloadFailed},
	} {
		w := newWorld(t, engine.Options{Hub: test.config})
		if info, err := w.engine.Pull(t.Context(), test.name, test.revision, quiet); kindOf(err) != test.want {
			t.Errorf("%s of %+v: got %+v, %v, want %s", test.name, test.config, info, err, test.want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("never mind"))
	if _, err := online.engine.Pull(ctx, "small", "", quiet); err == nil || err.Error() != "never mind" {
		t.Errorf("cancelled: got %v", err)
	}
	if info, err := online.engine.Pull(t.Context(), "", "", quiet); err != nil || info.Source != "bundled" {
		t.Errorf("bundled: got %+v, %v", info, err)
	}
}

// On stage there is no network: what is here is enough.
func TestPullOffline(t *testing.T) {
	endpoint, _ := hubOf(t, map[string]string{"facebook/musicgen-small": golden(t, "mono")})
	cache := t.TempDir()
	w := newWorld(t, engine.Options{Hub: hub.Config{Dir: cache, Endpoint: endpoint}})
	if _, err := w.engine.Pull(t.Context(), "small", "", quiet); err != nil {
		t.Fatal(err)
	}
	offline := newWorld(t, engine.Options{Hub: hub.Config{Dir: cache, Endpoint: endpoint, Offline: true}})
	if info, err := offline.engine.Pull(t.Context(), "small", "", quiet); err != nil || info.Problem != "" {
		t.Errorf("got %+v, %v", info, err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	unplugged := newWorld(t, engine.Options{Hub: hub.Config{Dir: cache, Endpoint: gone.URL}})
	if info, err := unplugged.engine.Pull(t.Context(), "small", "", quiet); err != nil || info.Problem != "" {
		t.Errorf("got %+v, %v", info, err)
	}
}

// A model that has come in part is refused with the reason and the cure, and a pull completes it.
func TestHalfPulled(t *testing.T) {
	for _, test := range []struct{ golden, lost string }{{"mono", "model.safetensors"}, {"stereo-sharded", "model-00002-of-00004.safetensors"}} {
		endpoint, _ := hubOf(t, map[string]string{"facebook/musicgen-small": golden(t, test.golden)})
		w := newWorld(t, engine.Options{Hub: hub.Config{Dir: t.TempDir(), Endpoint: endpoint}})
		info, err := w.engine.Pull(t.Context(), "small", "", quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(info.Path, test.lost)); err != nil {
			t.Fatal(err)
		}
		_, err = w.engine.Load(t.Context(), engine.ModelOptions{Model: "small"}, quiet)
		if kindOf(err) != engine.ModelMissing || !strings.Contains(err.Error(), test.lost) || !strings.Contains(err.Error(), "segue pull facebook/musicgen-small") {
			t.Errorf("%s without %s: got %v", test.golden, test.lost, err)
		}
		if info, err := w.engine.Model(t.Context(), "small"); err != nil || info.Problem == "" {
			t.Errorf("%s without %s: got %+v, %v, want a problem", test.golden, test.lost, info, err)
		}
		if _, err := w.engine.Pull(t.Context(), "small", "", quiet); err != nil {
			t.Error(err)
		}
		w.run(t, func(j *engine.Job) { j.Model, j.Seconds = "small", 0.1 })
	}
}
