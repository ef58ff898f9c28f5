package hub

// A stand-in for the hub on the loopback interface: its API, its headers, and the storage on another host that large
// files are redirected to. A test bends what it is about.

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

type standIn struct {
	hub, storage *httptest.Server
	files        map[string][]byte // of someone/music at main
	token        string            // wanted, "" for none
	modelType    string

	// api and content may take a request over: they answer it and return true.
	api     func(w http.ResponseWriter, r *http.Request) bool
	content func(w http.ResponseWriter, r *http.Request, data []byte) bool

	mu       sync.Mutex
	requests []string // method, path and range
	leaked   []string // tokens that reached the storage
}

func newStandIn(t testing.TB, files map[string][]byte) *standIn {
	s := &standIn{files: files, modelType: "musicgen"}
	s.storage = httptest.NewServer(http.HandlerFunc(s.serveStorage))
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	t.Cleanup(s.storage.Close)
	t.Cleanup(s.hub.Close)
	return s
}

// model is the files of a small checkpoint in Hugging Face layout, and others that a model does not need.
func model() map[string][]byte {
	return map[string][]byte{
		"config.json":              []byte(`{"model_type":"musicgen"}`),
		"tokenizer.json":           []byte(`{}`),
		"README.md":                []byte("# music"),
		"pytorch_model.bin":        pattern(70_000, 1),
		"model.safetensors":        pattern(300_000, 2),
		"state_dict.bin":           pattern(100, 3),
		"preprocessor_config.json": {},
	}
}

// pattern is n bytes that repeat nowhere soon.
func pattern(n int, seed byte) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i*i>>3) ^ byte(i>>8) ^ seed
	}
	return data
}

func isLarge(name string) bool {
	return strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".bin")
}

func hashOf(name string, data []byte) string {
	if isLarge(name) {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data))
	return hex.EncodeToString(sum[:])
}

func (s *standIn) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
}

// asked counts the requests so far that contain part.
func (s *standIn) asked(part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.Contains(request, part) {
			n++
		}
	}
	return n
}

func (s *standIn) serveHub(w http.ResponseWriter, r *http.Request) {
	s.note(r)
	if s.api != nil && s.api(w, r) {
		return
	}
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		refuse(w, http.StatusUnauthorized, "", "Invalid username or password.")
		return
	}
	rest, isAPI := strings.CutPrefix(r.URL.Path, "/api/models/someone/music/revision/")
	name, isFile := strings.CutPrefix(r.URL.Path, "/someone/music/resolve/"+commit+"/")
	if !isFile {
		name, isFile = strings.CutPrefix(r.URL.Path, "/someone/music/resolve/main/")
	}
	switch data, there := s.files[name]; {
	case isAPI && (rest == "main" || rest == "v1" || rest == commit):
		s.serveListing(w)
	case isAPI:
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+rest)
	case !isFile:
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
	case !there:
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
	default:
		s.serveFile(w, r, name, data)
	}
}

func (s *standIn) serveListing(w http.ResponseWriter) {
	type sibling struct {
		Name string `json:"rfilename"`
	}
	var siblings []sibling
	for name := range s.files {
		siblings = append(siblings, sibling{name})
	}
	json.NewEncoder(w).Encode(map[string]any{"id": "someone/music", "sha": commit, "siblings": siblings, "config": map[string]string{"model_type": s.modelType}})
}

func (s *standIn) serveFile(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	w.Header().Set("X-Repo-Commit", commit)
	if !isLarge(name) {
		w.Header().Set("ETag", `"`+hashOf(name, data)+`"`)
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(string(data)))
		return
	}
	w.Header().Set("ETag", `"opaque"`)
	w.Header().Set("X-Linked-Etag", `"`+hashOf(name, data)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	http.Redirect(w, r, s.storage.URL+"/"+name+"?signed", http.StatusFound)
}

func (s *standIn) serveStorage(w http.ResponseWriter, r *http.Request) {
	s.note(r)
	if token := r.Header.Get("Authorization"); token != "" {
		s.mu.Lock()
		s.leaked = append(s.leaked, token)
		s.mu.Unlock()
	}
	data := s.files[path.Base(r.URL.Path)]
	if s.content != nil && s.content(w, r, data) {
		return
	}
	w.Header().Set("ETag", `"storage's own"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	w.WriteHeader(status)
}

// client fills a new cache from the stand-in, without much patience.
func (s *standIn) client(t testing.TB, change ...func(*Config)) *Client {
	t.Helper()
	config := Config{Dir: t.TempDir(), Endpoint: s.hub.URL + "/", Token: s.token}
	for _, f := range change {
		f(&config)
	}
	c, err := NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	c.backoff = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

// pull is Plan and Fetch.
func pull(t testing.TB, c *Client) (*Plan, error) {
	t.Helper()
	p, err := c.Plan(t.Context(), "someone/music", "")
	if err != nil {
		return nil, err
	}
	return p, c.Fetch(t.Context(), []*Plan{p}, func(Progress) {})
}

// tree lists what is below dir: files by size, links by target. Lock files are left out.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".lock") {
			return err
		}
		short, _ := filepath.Rel(dir, name)
		if target, err := os.Readlink(name); err == nil {
			found[filepath.ToSlash(short)] = "→ " + filepath.ToSlash(target)
			return nil
		}
		info, err := d.Info()
		found[filepath.ToSlash(short)] = fmt.Sprint(info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
