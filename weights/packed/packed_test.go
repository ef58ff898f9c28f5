package packed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"segue/weights"
)

// world is a cache in a fresh folder, a source file, and what the cache has logged.
type world struct {
	*Cache
	log    *bytes.Buffer
	source string
}

func newWorld(t testing.TB) world {
	dir, log := t.TempDir(), &bytes.Buffer{}
	w := world{NewCache(filepath.Join(dir, "packed"), slog.New(slog.NewTextHandler(log, nil))), log, filepath.Join(dir, "model.safetensors")}
	if err := os.WriteFile(w.source, []byte("weights"), 0o666); err != nil {
		t.Fatal(err)
	}
	return w
}

// key is one of the source as it is now.
func (w world) key(t testing.TB, part, precision string) Key {
	t.Helper()
	info, err := os.Stat(w.source)
	if err != nil {
		t.Fatal(err)
	}
	source := weights.Source{Path: w.source, Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	return Key{Layout: "test/1", Part: part, Precision: precision, Config: "c", Sources: []weights.Source{source}}
}

// content is bytes of odd lengths, the same every time.
func content() map[string][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	all := map[string][]byte{}
	for i, size := range []int{1, 63, 64, 65, 4096, 100_000, 3 << 20} {
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(random.Uint32())
		}
		all[fmt.Sprintf("tensor %d+é", i)] = data
	}
	return all
}

// fill puts the content on a shelf and saves it.
func (w world) fill(t testing.TB, key Key) {
	t.Helper()
	s := w.Shelf(key, "a model", true)
	defer s.Close()
	for name, data := range content() {
		s.Put(name, data)
	}
	if err := s.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// check reports whether a shelf of the key has the content. It must be all of it or nothing.
func (w world) check(t testing.TB, key Key, hot bool) bool {
	t.Helper()
	s := w.Shelf(key, "a model", hot)
	defer s.Close()
	if s.Sound() != nil {
		return false
	}
	found := 0
	for name, want := range content() {
		got := s.Take(name, len(want))
		if got == nil {
			continue
		}
		found++
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes differ from those put", name, len(want))
		}
	}
	if found != 0 && found != len(content()) {
		t.Errorf("got %d of %d", found, len(content()))
	}
	return found > 0
}

func (w world) files(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(w.Dir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestKept(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	if w.check(t, key, true) {
		t.Error("a new cache has something")
	}
	w.fill(t, key)
	for _, hot := range []bool{true, false} {
		if !w.check(t, key, hot) {
			t.Errorf("hot %v: what was saved is not there", hot)
		}
	}
	s := w.Shelf(key, "", true)
	defer s.Close()
	if s.Take("tensor 0+é", 65) != nil || s.Take("other", 1) != nil || s.Take("tensor 1+é", 0) != nil {
		t.Error("took what was not put, or another size")
	}
	if got := w.files(t); len(got) != 1 || !strings.HasPrefix(got[0], "decoder-q4-") {
		t.Errorf("got files %v, want one", got)
	}
	before, _ := os.ReadFile(filepath.Join(w.Dir(), key.file()))
	w.fill(t, key)
	if after, _ := os.ReadFile(filepath.Join(w.Dir(), key.file())); !bytes.Equal(before, after) {
		t.Error("the same content gives another file")
	}
}

// Nothing is found under a key that differs in anything.
func TestKeys(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "text", "none")
	w.fill(t, key)
	hashed := key.Sources[0]
	hashed.Hash = strings.Repeat("ab", 32)
	for what, change := range map[string]func(*Key){
		"layout":    func(k *Key) { k.Layout = "test/2" },
		"part":      func(k *Key) { k.Part = "codec" },
		"precision": func(k *Key) { k.Precision = "q8" },
		"config":    func(k *Key) { k.Config = "d" },
		"size":      func(k *Key) { k.Sources = []weights.Source{{Path: w.source, Size: 8, ModTime: k.Sources[0].ModTime}} },
		"time":      func(k *Key) { k.Sources = []weights.Source{{Path: w.source, Size: 7, ModTime: 1}} },
		"path":      func(k *Key) { k.Sources = []weights.Source{{Path: "/other", Size: 7, ModTime: k.Sources[0].ModTime}} },
		"hash":      func(k *Key) { k.Sources = []weights.Source{hashed} },
		"files":     func(k *Key) { k.Sources = append(k.Sources[:1:1], k.Sources[0]) },
	} {
		other := key
		change(&other)
		if w.check(t, other, true) {
			t.Errorf("%s: found under another", what)
		}
	}
	moved := hashed
	moved.Path, moved.ModTime = "/elsewhere", 5
	key.Sources = []weights.Source{hashed}
	w.fill(t, key)
	key.Sources = []weights.Source{moved}
	if !w.check(t, key, true) {
		t.Error("content of one hash at another place is not found")
	}
}

// Whatever happens to a file, it is used whole or not at all; then it is made again.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q8")
	w.fill(t, key)
	path := filepath.Join(w.Dir(), key.file())
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		data := bytes.Clone(sound)
		data[at] ^= 0x10
		return data
	}
	foreign := w.key(t, "decoder", "q4")
	w.fill(t, foreign)
	other, err := os.ReadFile(filepath.Join(w.Dir(), foreign.file()))
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"empty": {}, "text": []byte("hello"), "zeros": make([]byte, len(sound)), "another key's": other,
		"first byte": flip(0), "in the header": flip(40), "at the header's end": flip(2000), "last byte": flip(len(sound) - 1),
		"in the middle": flip(len(sound) / 2), "cut by one": sound[:len(sound)-1], "cut in half": sound[:len(sound)/2],
		"a page of zeros": append(append(bytes.Clone(sound[:1<<20]), make([]byte, 4096)...), sound[1<<20+4096:]...), "longer": append(bytes.Clone(sound), 0),
		"another version's": bytes.Replace(sound, []byte(format), []byte("segue packed 0"), 1),
	} {
		for _, hot := range []bool{true, false} {
			if err := os.WriteFile(path, data, 0o666); err != nil {
				t.Fatal(err)
			}
			w.log.Reset()
			if w.check(t, key, hot) {
				t.Errorf("%s, hot %v: was used", what, hot)
			}
			if !strings.Contains(w.log.String(), "cannot be used and are made again") {
				t.Errorf("%s, hot %v: the log says %q", what, hot, w.log)
			}
			w.fill(t, key)
			if !w.check(t, key, hot) {
				t.Errorf("%s, hot %v: was not made again", what, hot)
			}
		}
	}
}

// A file that shrinks under its readers, as one on a disk that fails, is an error and no crash.
func TestShrinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("this system does not cut files that are mapped")
	}
	w := newWorld(t)
	key := w.key(t, "text", "none")
	w.fill(t, key)
	s := w.Shelf(key, "a model", false)
	defer s.Close()
	if s.Take("tensor 0+é", 1) == nil {
		t.Fatal("nothing there")
	}
	path := filepath.Join(w.Dir(), key.file())
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := s.Sound(); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want %v", err, ErrDamaged)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the damaged file is still there (%v)", err)
	}
}

// A folder that cannot be written, or a save that is ended, leaves a line in the log and no file.
func TestNotKept(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "codec", "f16")
	blocked := NewCache(filepath.Join(w.source, "packed"), slog.New(slog.NewTextHandler(w.log, nil))) // below a file
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the worker ends"))
	for _, try := range []struct {
		cache *Cache
		ctx   context.Context
	}{{blocked, t.Context()}, {w.Cache, cancelled}} {
		w.log.Reset()
		s := try.cache.Shelf(key, "a model", false)
		for name, data := range content() {
			s.Put(name, data)
		}
		if err := s.Save(try.ctx); err == nil || !strings.Contains(w.log.String(), "not kept") {
			t.Errorf("got %v, log %q", err, w.log)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := w.files(t); len(got) != 0 {
		t.Errorf("got files %v, want none", got)
	}
}

// Writers at once, as of several processes, and readers among them: all see a whole file.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	var group sync.WaitGroup
	for range 4 {
		other := NewCache(w.Dir(), slog.New(slog.DiscardHandler))
		group.Go(func() {
			for range 5 {
				world{Cache: other, source: w.source}.fill(t, key)
				if !(world{Cache: other}).check(t, key, true) {
					t.Error("nothing there after a save")
				}
			}
		})
	}
	group.Wait()
	if got := w.files(t); len(got) != 1 {
		t.Errorf("got files %v, want one", got)
	}
}

// Shelves of one key share the mapping, which goes with the last of them.
func TestShared(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "text", "none")
	w.fill(t, key)
	a, b := w.Shelf(key, "", false), w.Shelf(key, "", false)
	one, two := a.Take("tensor 5+é", 100_000), b.Take("tensor 5+é", 100_000)
	if &one[0] != &two[0] {
		t.Error("two mappings of one file")
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(two, content()["tensor 5+é"]) || len(w.open) != 1 {
		t.Error("the file went with the first of two users")
	}
	if err := b.Close(); err != nil || len(w.open) != 0 {
		t.Errorf("got %v, %d files open, want none", err, len(w.open))
	}
}

// A save leaves no mapping behind: it would hold the disk space of a file that is removed.
func TestUnmapped(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not list mappings in a file")
	}
	w := newWorld(t)
	mapped := func() bool {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(maps, []byte(w.Dir()))
	}
	key := w.key(t, "decoder", "q4")
	w.fill(t, key)
	if mapped() {
		t.Error("after a save and a close the file is mapped")
	}
	s := w.Shelf(key, "", false)
	s.Take("tensor 5+é", 100_000)
	if !mapped() {
		t.Error("an open file is not mapped: the test looks for the wrong name")
	}
	if err := s.Close(); err != nil || mapped() {
		t.Errorf("got %v, or the file is mapped after its close", err)
	}
}

// What is kept outlasts its shelf and goes with the last who keeps it; a shelf without a file has nothing to keep.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	w.Shelf(key, "", false).Keep()()
	w.fill(t, key)
	s := w.Shelf(key, "", true)
	taken := s.Take("tensor 5+é", 100_000)
	a, b := s.Keep(), s.Keep()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a()
	if !bytes.Equal(taken, content()["tensor 5+é"]) || len(w.open) != 1 {
		t.Error("the file went while it was kept")
	}
	b()
	if len(w.open) != 0 {
		t.Errorf("%d files open, want none", len(w.open))
	}
}

// Forgetting changes nothing that is read, whether the file has moved or not.
func TestForget(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	w.fill(t, key)
	s := w.Shelf(key, "", true)
	defer s.Close()
	taken := s.Take("tensor 6+é", 3<<20)
	for range 2 {
		s.Forget()
		if !bytes.Equal(taken, content()["tensor 6+é"]) {
			t.Error("other bytes")
		}
		s.Settle()
	}
	w.Shelf(w.key(t, "text", "none"), "", false).Forget()
}

// A file to which something is missing keeps what it has and gains the rest.
func TestIncomplete(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	w.fill(t, key)
	s := w.Shelf(key, "", true)
	s.Put("new", []byte("more"))
	if !s.Unsaved() || s.Save(t.Context()) != nil || s.Unsaved() {
		t.Error("was not saved")
	}
	s.Close()
	s = w.Shelf(key, "", true)
	defer s.Close()
	if string(s.Take("new", 4)) != "more" || !bytes.Equal(s.Take("tensor 4+é", 4096), content()["tensor 4+é"]) {
		t.Error("something is missing")
	}
}

// Settling changes nothing that is read, even while it is read.
func TestSettle(t *testing.T) {
	w := newWorld(t)
	key := w.key(t, "decoder", "q4")
	s := w.Shelf(key, "", true)
	want := make([]byte, 40<<20)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(want)
	s.Put("large", want)
	if err := errors.Join(s.Save(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = w.Shelf(key, "", true)
	defer s.Close()
	got := s.Take("large", len(want))
	var group sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		group.Go(func() {
			for {
				if !bytes.Equal(got, want) {
					t.Error("read other bytes while they moved")
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 3 {
		s.Settle()
	}
	close(stop)
	group.Wait()
}

// A save removes what killed writers of its key have left, and nothing of those that may still write.
func TestKilledWriters(t *testing.T) {
	w := newWorld(t)
	key, other := w.key(t, "decoder", "q4"), w.key(t, "decoder", "q8")
	w.fill(t, other)
	dead, alive, foreign := key.file()+".1"+unfinished, key.file()+".2"+unfinished, other.file()+".3"+unfinished
	for name, age := range map[string]time.Duration{dead: 2 * staleWriter, alive: 0, foreign: 2 * staleWriter} {
		path := filepath.Join(w.Dir(), name)
		if err := errors.Join(os.WriteFile(path, []byte("half a file"), 0o666), os.Chtimes(path, time.Now(), time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	w.fill(t, key)
	if got, want := w.files(t), []string{key.file(), alive, other.file(), foreign}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPrune(t *testing.T) {
	w := newWorld(t)
	stays, old := w.key(t, "decoder", "q4"), w.key(t, "decoder", "q8")
	w.fill(t, stays)
	w.fill(t, old)
	month := time.Now().Add(-31 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Join(w.Dir(), old.file()), month, month); err != nil {
		t.Fatal(err)
	}
	older, foreign, gone := stays, stays, stays
	older.Layout, foreign.Layout = "test/0", "gpu/1"
	gone.Sources = []weights.Source{{Path: filepath.Join(w.Dir(), "no such file"), Size: 1}}
	for _, key := range []Key{older, foreign, gone} {
		w.fill(t, key)
	}
	for name, age := range map[string]time.Duration{"text-none-1.safetensors": 0, "x.safetensors.1.part": 2 * time.Hour, "y.safetensors.2.part": 0, "notes.txt": 2 * time.Hour} {
		path := filepath.Join(w.Dir(), name)
		if err := errors.Join(os.WriteFile(path, []byte("not one of ours"), 0o666), os.Chtimes(path, time.Now(), time.Now().Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	reasons := map[string]string{}
	entries := w.Entries("test/1", 30*24*time.Hour)
	for _, e := range entries {
		reasons[filepath.Base(e.Path)] = e.Reason
	}
	want := map[string]string{
		stays.file(): "", foreign.file(): "", "y.safetensors.2.part": "",
		old.file(): "not used for 31 days", older.file(): "another version", gone.file(): "gone or changed",
		"text-none-1.safetensors": "damaged", "x.safetensors.1.part": "never finished",
	}
	for name, reason := range want {
		if got, ok := reasons[name]; !ok || (got == "") != (reason == "") || !strings.Contains(got, reason) {
			t.Errorf("%s: got %q, want %q", name, got, reason)
		}
	}
	total := int64(0)
	for _, e := range entries {
		total += e.Bytes
	}
	if got := w.Bytes(); got != total || total == 0 {
		t.Errorf("got %d bytes in all, want the entries' %d", got, total)
	}
	if len(reasons) != len(want) {
		t.Errorf("got %d entries, want %d: %v", len(reasons), len(want), reasons)
	}
	removed, kept := w.Remove(entries)
	if len(removed) != 5 || len(kept) != 3 || len(w.files(t)) != 4 {
		t.Errorf("removed %d, kept %d, left %v", len(removed), len(kept), w.files(t))
	}
	if err := os.WriteFile(w.source, []byte("other weights"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.Entries("test/1", time.Hour) {
		if e.Path == filepath.Join(w.Dir(), stays.file()) && !strings.Contains(e.Reason, "changed") {
			t.Errorf("after a change of the source: got %q", e.Reason)
		}
	}
}

// FuzzOpen: a file that is opened and sound has what was put into it, whatever else was done to it.
func FuzzOpen(f *testing.F) {
	w := newWorld(f)
	key := w.key(f, "decoder", "q4")
	s := w.Shelf(key, "", true)
	want := map[string][]byte{"a": []byte("some weights"), "b": bytes.Repeat([]byte{7}, 200)}
	for name, data := range want {
		s.Put(name, data)
	}
	if err := errors.Join(s.Save(f.Context()), s.Close()); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(w.Dir(), key.file())
	sound, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(sound[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		s := w.Shelf(key, "", true)
		defer s.Close()
		for name, bytesPut := range want {
			if got := s.Take(name, len(bytesPut)); got != nil && !bytes.Equal(got, bytesPut) {
				t.Errorf("%s: got %q", name, got)
			}
		}
	})
}
