package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a pull leaves is the layout of the hub's Python clients: blobs by hash, relative links, the reference; only what
// a model needs, one form of the weights.
func TestLayout(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	if _, err := pull(t, c); err != nil {
		t.Fatal(err)
	}
	const repo = "models--someone--music/"
	want := map[string]string{repo + "refs/main": "40"}
	for _, name := range []string{"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"} {
		hash := hashOf(name, s.files[name])
		want[repo+"blobs/"+hash] = fmt.Sprint(len(s.files[name]))
		want[repo+"snapshots/"+commit+"/"+name] = "→ ../../blobs/" + hash
	}
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege; TestWithoutLinks covers it")
	}
	if got := tree(t, c.cache); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if text, _ := os.ReadFile(filepath.Join(c.cache, repo, "refs/main")); string(text) != commit {
		t.Errorf("refs/main: got %q", text)
	}
}

// A blob that another program cut short is fetched again.
func TestShortBlob(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	want := s.files["model.safetensors"]
	blobs := filepath.Join(c.cache, "models--someone--music", "blobs")
	blob := filepath.Join(blobs, hashOf("model.safetensors", want))
	if err := errors.Join(os.MkdirAll(blobs, 0o777), os.WriteFile(blob, want[:len(want)/2], 0o666)); err != nil {
		t.Fatal(err)
	}
	p, err := pull(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(p.Dir(), "model.safetensors")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want the %d of the hub", len(got), err, len(want))
	}
}

// What is there is not asked for again, whoever has brought it; with another form of the weights it is enough, too.
func TestIdempotent(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	p, err := pull(t, c)
	if err != nil {
		t.Fatal(err)
	}
	s.requests = nil
	if _, err := pull(t, c); err != nil || len(s.requests) != 1 {
		t.Errorf("got %v, %q, want one question", err, s.requests)
	}
	link := filepath.Join(p.Dir(), "model.safetensors")
	if err := errors.Join(os.Remove(link), os.WriteFile(filepath.Join(p.Dir(), "pytorch_model.bin"), []byte("by someone else"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if p, err := pull(t, c); err != nil || p.Bytes() != 0 {
		t.Errorf("with other weights: got %d bytes missing, %v", p.Bytes(), err)
	}
	if err := os.Remove(filepath.Join(p.Dir(), "pytorch_model.bin")); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, c); err != nil || s.asked("GET /model.safetensors") != 0 {
		t.Errorf("the blob is there: got %v, %q, want nothing fetched", err, s.requests)
	}
	if _, err := os.Stat(link); err != nil {
		t.Error(err)
	}
}

func TestRevisions(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	for _, revision := range []string{"v1", commit} {
		p, err := c.Plan(t.Context(), "someone/music", revision)
		if err == nil {
			err = c.Fetch(t.Context(), []*Plan{p}, func(Progress) {})
		}
		if err != nil {
			t.Fatal(err)
		}
		if found, ok := Find(c.cache, "someone/music", revision); !ok || found.Dir != p.Dir() {
			t.Errorf("%s: got %+v, %v, want %s", revision, found, ok, p.Dir())
		}
	}
	if _, ok := Find(c.cache, "someone/music", ""); ok || len(List(c.cache)) != 0 {
		t.Errorf("got a main branch, want none; list %v", List(c.cache))
	}
	if _, err := pull(t, c); err != nil || len(List(c.cache)) != 1 {
		t.Errorf("got %v, %v, want one in the list", err, List(c.cache))
	}
	for _, revision := range []string{"../main", "/etc", `a\b`, "..", ""} {
		if found, ok := Find(c.cache, "someone/music", revision); ok && revision != "" {
			t.Errorf("%q: got %+v", revision, found)
		}
	}
}

// The reference is replaced, not written over: a full disk or another reader finds the old one or the new one whole.
func TestReferenceIsReplaced(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	p, err := pull(t, c)
	if err != nil {
		t.Fatal(err)
	}
	main, before := filepath.Join(p.folder(), "refs/main"), filepath.Join(t.TempDir(), "before")
	old := strings.Repeat("f", 40)
	if err := errors.Join(os.WriteFile(main, []byte(old), 0o600), os.Link(main, before)); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{before: old, main: commit} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: got %q, %v, want %s", path, got, err, want)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(main)); len(left) != 1 {
		t.Errorf("got %v, %v, want main alone", left, err)
	}
}

func TestWithoutLinks(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	c.symlink = func(string, string) error { return errors.New("a required privilege is not held") }
	p, err := pull(t, c)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(p.Dir(), "model.safetensors")
	check := func() {
		t.Helper()
		if data, err := os.ReadFile(name); err != nil || !bytes.Equal(data, s.files["model.safetensors"]) {
			t.Errorf("got %d bytes, %v", len(data), err)
		}
	}
	check()
	blob := p.blob(hashOf("model.safetensors", s.files["model.safetensors"]))
	if err := os.Rename(name, blob); err != nil { // as if another snapshot had it
		t.Fatal(err)
	}
	if _, err := pull(t, c); err != nil {
		t.Fatal(err)
	}
	check()
	if _, err := os.Stat(blob); err != nil {
		t.Errorf("a shared blob was moved: %v", err)
	}
}

// The token goes to the hub and nowhere else; without it a private repository looks like none.
func TestToken(t *testing.T) {
	s := newStandIn(t, model())
	s.token = "hf_secret"
	if _, err := pull(t, s.client(t)); err != nil {
		t.Error(err)
	}
	if s.leaked != nil {
		t.Errorf("the storage got %q", s.leaked)
	}
	if _, err := pull(t, s.client(t, func(c *Config) { c.Token = "" })); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a token: got %v", err)
	}
	_, err := pull(t, s.client(t, func(c *Config) { c.Token = "hf_wrong" }))
	if !errors.Is(err, ErrDenied) || strings.Contains(err.Error(), "hf_wrong") {
		t.Errorf("with a wrong token: got %v", err)
	}
}

// Each refusal is told for what it is, at once, and leaves nothing that looks like a model.
func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name, code string
		status     int
		want       error
		text       string
	}{
		{"no such repository", "RepoNotFound", 401, ErrNotFound, "check the name"},
		{"nothing there", "", 404, ErrNotFound, "check the name"},
		{"gated", "GatedRepo", 401, ErrDenied, "accept its terms"},
		{"gated for this token", "GatedRepo", 403, ErrDenied, "accept its terms"},
		{"no permission", "", 403, ErrDenied, "lacks the permission"},
		{"no such revision", "RevisionNotFound", 404, ErrNotFound, "RevisionNotFound"},
		{"teapot", "", 418, nil, "418"},
	} {
		s := newStandIn(t, model())
		s.api = func(w http.ResponseWriter, r *http.Request) bool {
			refuse(w, test.status, test.code, "no")
			return true
		}
		c := s.client(t)
		_, err := pull(t, c)
		if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: got %v, want %v with %q", test.name, err, test.want, test.text)
		}
		if len(s.requests) != 1 {
			t.Errorf("%s: asked %d times, want once", test.name, len(s.requests))
		}
		if List(c.cache) != nil {
			t.Errorf("%s: got %v in the cache", test.name, List(c.cache))
		}
	}
	c := newStandIn(t, model()).client(t)
	for _, repo := range []string{"", "music", "a/b/c", "../etc", "a/..", "a--b/c", "a/b?x", "/a", `a\b/c`} {
		if _, err := c.Plan(t.Context(), repo, ""); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v, want %v", repo, err, ErrName)
		}
	}
	for _, revision := range []string{"../x", "a//b", "/", `a\b`} {
		if _, err := c.Plan(t.Context(), "someone/music", revision); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v, want %v", revision, err, ErrName)
		}
	}
}

func TestOffline(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t, func(c *Config) { c.Offline = true })
	if _, err := pull(t, c); !errors.Is(err, ErrOffline) || len(s.requests) != 0 {
		t.Errorf("got %v and %q", err, s.requests)
	}
}

// Servers in trouble are asked again, as late as they say; the fifth byte after the fourth is not asked for twice.
func TestPatience(t *testing.T) {
	s := newStandIn(t, model())
	var calls atomic.Int32
	answers := []int{503, 429, 0, 500, 0, 502} // 0: none of our business
	s.api = func(w http.ResponseWriter, r *http.Request) bool {
		if i := int(calls.Add(1)) - 1; i < len(answers) && answers[i] != 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(answers[i])
			return true
		}
		return false
	}
	if _, err := pull(t, s.client(t)); err != nil {
		t.Error(err)
	}
	s.api = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(503); return true }
	s.requests = nil
	if _, err := pull(t, s.client(t)); err == nil || !strings.Contains(err.Error(), "503") || len(s.requests) != lookupTries {
		t.Errorf("got %v after %d tries, want a 503 after %d", err, len(s.requests), lookupTries)
	}
	s.api = func(w http.ResponseWriter, r *http.Request) bool { // longer than anybody waits
		w.Header().Set("Retry-After", "3000")
		w.WriteHeader(429)
		return true
	}
	if _, err := pull(t, s.client(t)); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("got %v, want a 429", err)
	}
}

// A transfer that breaks goes on where it broke.
func TestBrokenTransfer(t *testing.T) {
	s := newStandIn(t, model())
	s.content = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		if r.Header.Get("Range") == "bytes=250000-" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:250000])
		panic(http.ErrAbortHandler)
	}
	p, err := pull(t, s.client(t))
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(p.Dir(), "model.safetensors")); !bytes.Equal(data, s.files["model.safetensors"]) {
		t.Errorf("got %d bytes, want those of the file", len(data))
	}
	s.content = func(w http.ResponseWriter, r *http.Request, data []byte) bool { panic(http.ErrAbortHandler) }
	c := s.client(t)
	if _, err := pull(t, c); err == nil || List(c.cache) != nil {
		t.Errorf("no byte ever comes: got %v, %v", err, List(c.cache))
	}
}

// A server that sends everything again, or another range, or nothing at all, is understood.
func TestOddServers(t *testing.T) {
	weights := model()["model.safetensors"]
	for name, content := range map[string]func(w http.ResponseWriter, r *http.Request, data []byte) bool{
		"knows no ranges": func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			w.Write(data)
			return true
		},
		"answers 416 to every range": func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return true
			}
			return false
		},
		"sends another range": func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 7-%d/%d", len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[7:])
			return true
		},
		"sends more than it announced": func(w http.ResponseWriter, r *http.Request, data []byte) bool {
			w.Write(append(bytes.Clone(data), "more"...))
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStandIn(t, model())
			s.content = content
			c := s.client(t)
			leave(t, c, weights[:1000])
			p, err := pull(t, c)
			if err != nil {
				t.Fatal(err)
			}
			if data, _ := os.ReadFile(filepath.Join(p.Dir(), "model.safetensors")); !bytes.Equal(data, weights) {
				t.Errorf("got %d bytes, want those of the file", len(data))
			}
		})
	}
}

// leave puts the beginning of the weights where an earlier transfer would have left it.
func leave(t *testing.T, c *Client, data []byte) (name string) {
	t.Helper()
	p := &Plan{Repo: "someone/music", cache: c.cache}
	name = p.blob(hashOf("model.safetensors", model()["model.safetensors"])) + ".incomplete"
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, data, 0o666)); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestResume(t *testing.T) {
	weights := model()["model.safetensors"]
	for _, test := range []struct {
		name   string
		left   []byte
		ranges string // asked of the storage
	}{
		{"a beginning", weights[:1000], "bytes=1000-"},
		{"all of it", weights, ""},
		{"more than all of it", append(bytes.Clone(weights), 1), "GET /model.safetensors"},
		{"another file's beginning", make([]byte, 1000), "GET /model.safetensors"},
	} {
		s := newStandIn(t, model())
		c := s.client(t)
		leave(t, c, test.left)
		p, err := pull(t, c)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if data, _ := os.ReadFile(filepath.Join(p.Dir(), "model.safetensors")); !bytes.Equal(data, weights) {
			t.Errorf("%s: got %d bytes, want those of the file", test.name, len(data))
		}
		if test.ranges != "" && s.asked(test.ranges) == 0 || test.ranges == "" && s.asked("GET /model") != 0 {
			t.Errorf("%s: got %q, want %q", test.name, s.requests, test.ranges)
		}
	}
}

// Content with the wrong hash never gets its name, large or small.
func TestWrongContent(t *testing.T) {
	s := newStandIn(t, model())
	s.content = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		w.Write(make([]byte, len(data)))
		return true
	}
	c := s.client(t)
	if _, err := pull(t, c); !errors.Is(err, ErrChecksum) {
		t.Errorf("large: got %v, want %v", err, ErrChecksum)
	}
	for name := range tree(t, c.cache) {
		if strings.Contains(name, "safetensors") || strings.Contains(name, "incomplete") || strings.Contains(name, "refs") {
			t.Errorf("got %s", name)
		}
	}
	s.content, c = nil, s.client(t)
	s.api = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "config.json") {
			w.Write([]byte(`{"model_type":"evil    "}`))
			return true
		}
		return false
	}
	if _, err := pull(t, c); !errors.Is(err, ErrChecksum) {
		t.Errorf("small: got %v, want %v", err, ErrChecksum)
	}
}

// Metadata that cannot be verified against, or could point out of the cache, is refused.
func TestBadMetadata(t *testing.T) {
	for name, spoil := range map[string]func(h http.Header){
		"no hash":            func(h http.Header) { h.Set("X-Linked-Etag", `"s3-etag-12"`) },
		"a path as the hash": func(h http.Header) { h.Set("X-Linked-Etag", `"../../../../tmp/x"`) },
		"no size":            func(h http.Header) { h.Del("X-Linked-Size") },
		"negative size":      func(h http.Header) { h.Set("X-Linked-Size", "-1") },
		"another commit":     func(h http.Header) { h.Set("X-Repo-Commit", strings.Repeat("f", 40)) },
	} {
		s := newStandIn(t, model())
		s.api = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead || !strings.HasSuffix(r.URL.Path, ".safetensors") {
				return false
			}
			data := s.files["model.safetensors"]
			w.Header().Set("X-Repo-Commit", commit)
			w.Header().Set("X-Linked-Etag", `"`+hashOf("model.safetensors", data)+`"`)
			w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
			spoil(w.Header())
			http.Redirect(w, r, s.storage.URL+"/model.safetensors", http.StatusFound)
			return true
		}
		c := s.client(t)
		if _, err := pull(t, c); err == nil {
			t.Errorf("%s: got no error", name)
		}
		if got := tree(t, c.cache); len(got) != 0 {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// A renamed repository redirects within the hub, and keeps the name that was asked for.
func TestRenamed(t *testing.T) {
	s := newStandIn(t, model())
	s.token = "hf_secret"
	s.api = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "old/name") {
			return false
		}
		http.Redirect(w, r, strings.Replace(r.URL.Path, "old/name", "someone/music", 1), http.StatusTemporaryRedirect)
		return true
	}
	c := s.client(t)
	p, err := c.Plan(t.Context(), "old/name", "")
	if err == nil {
		err = c.Fetch(t.Context(), []*Plan{p}, func(Progress) {})
	}
	if _, ok := Find(c.cache, "old/name", ""); err != nil || !ok {
		t.Errorf("got %v, found %v", err, ok)
	}
}

// A cancel comes back soon, leaves what has come, and the next pull takes it up.
func TestCancelKeepsThePart(t *testing.T) {
	s := newStandIn(t, model())
	s.content = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:200_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	c := s.client(t)
	p, err := c.Plan(t.Context(), "someone/music", "")
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the musician has left")
	ctx, cancel := context.WithCancelCause(t.Context())
	start := time.Time{}
	err = c.Fetch(ctx, []*Plan{p}, func(p Progress) {
		if p.Bytes > 200_000 && start.IsZero() {
			start = time.Now()
			cancel(cause)
		}
	})
	if !errors.Is(err, cause) || time.Since(start) > time.Second {
		t.Errorf("got %v after %v, want %v at once", err, time.Since(start), cause)
	}
	if _, ok := Find(c.cache, "someone/music", ""); ok {
		t.Error("half a model has its name")
	}
	s.content = nil
	if _, err := pull(t, c); err != nil || s.asked("GET /model.safetensors bytes=200000-") != 1 {
		t.Errorf("got %v, %q, want the rest only", err, s.requests)
	}
}

func TestStall(t *testing.T) {
	s := newStandIn(t, model())
	s.content = func(w http.ResponseWriter, r *http.Request, data []byte) bool {
		if r.Header.Get("Range") != "" {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:100_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	c := s.client(t)
	c.stall = 100 * time.Millisecond
	if _, err := pull(t, c); err != nil || s.asked("GET /model.safetensors bytes=100000-") != 1 {
		t.Errorf("got %v, %q", err, s.requests)
	}
}

// The description, too, may stop half-way: it is asked for again, and then given up.
func TestStalledDescription(t *testing.T) {
	s := newStandIn(t, model())
	s.api = func(w http.ResponseWriter, r *http.Request) bool {
		w.Write([]byte(`{"sha":"` + commit))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}
	c := s.client(t)
	c.stall = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Plan(ctx, "someone/music", "")
	if n := s.asked("/api/"); err == nil || !strings.Contains(err.Error(), "nothing came for 100ms") || n != lookupTries {
		t.Errorf("got %v after %d tries, want a stall after %d", err, n, lookupTries)
	}
}

// Clients of one cache fetch every file once, and leave it once: without links, where the blob is moved away, too.
func TestTwoPullers(t *testing.T) {
	for name, symlink := range map[string]func(target, name string) error{
		"links":    os.Symlink,
		"no links": func(string, string) error { return errors.New("a required privilege is not held") },
	} {
		s := newStandIn(t, model())
		s.content = func(http.ResponseWriter, *http.Request, []byte) bool {
			time.Sleep(50 * time.Millisecond)
			return false
		}
		dir := t.TempDir()
		var group sync.WaitGroup
		for range 3 {
			c := s.client(t, func(c *Config) { c.Dir = dir })
			c.symlink = symlink
			p, err := c.Plan(t.Context(), "someone/music", "") // before any of them fetches
			if err != nil {
				t.Fatal(err)
			}
			group.Go(func() {
				var last Progress
				if err := c.Fetch(t.Context(), []*Plan{p}, func(got Progress) { last = got }); err != nil || last.Bytes != p.Bytes() {
					t.Errorf("%s: got %+v, %v, want %d bytes", name, last, err, p.Bytes())
				}
			})
		}
		group.Wait()
		if n := s.asked("GET /model.safetensors"); n != 1 {
			t.Errorf("%s: got %d transfers of one file, want 1", name, n)
		}
		blobs, err := os.ReadDir(filepath.Join(repoFolder(dir, "someone/music"), "blobs"))
		if err != nil || name == "no links" && len(blobs) != 0 {
			t.Errorf("%s: got %v, %v, want no blob", name, blobs, err)
		}
	}
}

// What is told never exceeds the total, ends with it, and counts what was there before.
func TestProgress(t *testing.T) {
	s := newStandIn(t, model())
	c := s.client(t)
	leave(t, c, model()["model.safetensors"][:1000])
	p, err := c.Plan(t.Context(), "someone/music", "")
	if err != nil {
		t.Fatal(err)
	}
	var last Progress
	err = c.Fetch(t.Context(), []*Plan{p}, func(got Progress) {
		if got.Bytes < last.Bytes || got.Bytes > got.TotalBytes || got.TotalBytes != p.Bytes() {
			t.Errorf("got %+v after %+v", got, last)
		}
		last = got
	})
	if err != nil || last.Bytes != p.Bytes() || p.Bytes() != 300_000+25+2 {
		t.Errorf("got %+v, %v, want %d bytes", last, err, p.Bytes())
	}
	m := &meter{total: 1000}
	m.skip(200)
	start := time.Now()
	m.add(300)
	got := m.progress([]sample{{start, 0}, {start.Add(2 * time.Second), 300}})
	if want := (Progress{Bytes: 500, TotalBytes: 1000, BytesPerSecond: 150, ETASeconds: 500.0 / 150}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDiskProblems(t *testing.T) {
	s := newStandIn(t, model())
	s.files["model.safetensors"] = nil
	size := int64(1) << 61
	s.api = func(w http.ResponseWriter, r *http.Request) bool { // a file that no disk holds
		if r.Method != http.MethodHead || !strings.HasSuffix(r.URL.Path, ".safetensors") {
			return false
		}
		w.Header().Set("X-Repo-Commit", commit)
		w.Header().Set("X-Linked-Etag", strings.Repeat("a", 64))
		w.Header().Set("X-Linked-Size", fmt.Sprint(size))
		return true
	}
	c := s.client(t)
	if _, err := pull(t, c); err == nil || !strings.Contains(err.Error(), "make room") {
		t.Errorf("no room: got %v", err)
	}
	blob := (&Plan{Repo: "someone/music", cache: c.cache}).blob(strings.Repeat("a", 64))
	size = 1 << 40 // more than most disks, but as a file of nothing but a hole they hold it
	if err := errors.Join(os.MkdirAll(filepath.Dir(blob), 0o777), os.WriteFile(blob, nil, 0o666), os.Truncate(blob, size)); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, c); err != nil {
		t.Errorf("no room, but the blob is there: got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.api = nil
	if _, err := pull(t, s.client(t, func(c *Config) { c.Dir = file })); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("the cache is a file: got %v", err)
	}
}
