package packed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"segue/weights"
)

// Cache is a folder of files, and those of them that are open in this process.
type Cache struct {
	dir string
	log *slog.Logger

	mu   sync.Mutex // guards open and the users of its files
	open map[string]*file
}

// NewCache makes nothing before there is something to keep.
func NewCache(dir string, log *slog.Logger) *Cache {
	return &Cache{dir: dir, log: log, open: map[string]*file{}}
}

// Dir is where the files are.
func (c *Cache) Dir() string { return c.dir }

// Shelf is the weights of a key: those of its file, if there is a sound one, and those that are put there. It returns at
// once; the file is read beside whatever comes next, and who asks for something waits for it. model is a name for people;
// hot says that the weights are read again and again. Close the shelf when nothing views it any more.
func (c *Cache) Shelf(key Key, model string, hot bool) *Shelf {
	s := &Shelf{cache: c, key: key, model: model, names: map[string]bool{}, ready: make(chan struct{})}
	go func() {
		defer close(s.ready)
		s.file = c.take(key, model, hot)
	}()
	return s
}

// take opens the file of a key, or shares it; nil where there is no sound one.
func (c *Cache) take(key Key, model string, hot bool) *file {
	path := filepath.Join(c.dir, key.file())
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.open[path]
	if f == nil {
		var err error
		f, err = open(path, key, hot)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			c.log.Info("weights are packed for the first time", "model", model, "part", key.Part, "precision", key.Precision)
			return nil
		case err != nil:
			c.log.Warn("packed weights cannot be used and are made again", "model", model, "reason", err)
			return nil
		}
		now := time.Now()
		_ = os.Chtimes(path, now, now) // for Entries alone; the folder may be read-only
		c.open[path] = f
	}
	f.users++
	return f
}

// OpenBytes is the size of a key's file if it is open in this process, else 0.
func (c *Cache) OpenBytes(key Key) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.open[filepath.Join(c.dir, key.file())]; f != nil {
		return int64(len(f.Bytes()))
	}
	return 0
}

// release ends one use of a file.
func (c *Cache) release(f *file) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.users--; f.users > 0 {
		return nil
	}
	if c.open[f.path] == f {
		delete(c.open, f.path)
	}
	return f.close()
}

// drop takes a damaged file out of the cache; who uses it still has it.
func (c *Cache) drop(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[f.path] == f {
		delete(c.open, f.path)
		_ = os.Remove(f.path) // else it is replaced
	}
}

// Shelf implements kern.Shelf. It is for one goroutine at a time.
type Shelf struct {
	cache *Cache
	key   Key
	model string
	ready chan struct{} // closed when file is known
	file  *file         // nil: nothing sound was there
	put   []*weights.Tensor
	names map[string]bool // of those put
}

// Take returns a window of the file.
func (s *Shelf) Take(name string, size int) []byte {
	<-s.ready
	if s.file == nil || size <= 0 {
		return nil
	}
	t := s.file.Tensors[name]
	if t == nil || len(t.Data) != padded(size) {
		return nil
	}
	return t.Data[:size:size]
}

// Keep makes what was taken outlast the shelf's close, until done is called.
func (s *Shelf) Keep() (done func()) {
	<-s.ready
	f := s.file
	if f == nil {
		return func() {}
	}
	s.cache.mu.Lock()
	f.users++
	s.cache.mu.Unlock()
	return func() { _ = s.cache.release(f) } // only unmaps a file
}

// Sound finds out, once, whether what comes from the file is what was put there. Where it is not, the error wraps
// ErrDamaged, the file is gone, and a new shelf of the key is empty.
func (s *Shelf) Sound() error {
	<-s.ready
	if s.file == nil {
		return nil
	}
	err := s.file.sound()
	if err != nil {
		s.cache.log.Warn("packed weights cannot be used and are made again", "model", s.model, "reason", err)
		s.cache.drop(s.file)
	}
	return err
}

// Settle moves a hot shelf's weights to where reading them is fastest, while they are read. It takes as long as to copy them.
func (s *Shelf) Settle() {
	<-s.ready
	if s.file != nil {
		s.file.enlarge()
	}
}

// Forget gives back the memory that the file occupies since it was read, for who has copied what was taken.
func (s *Shelf) Forget() {
	<-s.ready
	if s.file != nil {
		s.file.forget()
	}
}

// padded is a size in whole lines.
func padded(size int) int { return (size + lineBytes - 1) &^ (lineBytes - 1) }

// Put remembers bytes for Save.
func (s *Shelf) Put(name string, data []byte) {
	if s.names[name] { // the same tensor under two names of the model
		return
	}
	s.names[name] = true
	if rest := padded(len(data)) - len(data); rest > 0 {
		data = append(data[:len(data):len(data)], make([]byte, rest)...)
	}
	s.put = append(s.put, &weights.Tensor{Name: name, DType: weights.U8, Shape: []int{len(data)}, Data: data})
}

// Unsaved says whether there is something for Save to do.
func (s *Shelf) Unsaved() bool { return len(s.put) > 0 }

// Save writes what the shelf has, unless it all came from there. What was put must still be there. It fails, and says
// so in the log, without harm: the next load packs again.
func (s *Shelf) Save(ctx context.Context) error {
	if !s.Unsaved() {
		return nil
	}
	<-s.ready
	all := s.put
	if s.file != nil && s.Sound() == nil { // a file that lacks something
		for name, t := range s.file.Tensors {
			if !s.names[name] {
				all = append(all, t)
			}
		}
	}
	start := time.Now()
	err := write(ctx, s.cache.dir, s.key, s.model, all)
	s.put = nil
	if err != nil {
		err = fmt.Errorf("packed: %s: %w", filepath.Join(s.cache.dir, s.key.file()), err)
		s.cache.log.Warn("packed weights are not kept: the next start packs them again", "model", s.model, "part", s.key.Part, "reason", err)
		return err
	}
	s.cache.log.Info("packed weights are kept", "model", s.model, "part", s.key.Part, "precision", s.key.Precision,
		"seconds", time.Since(start).Seconds())
	return nil
}

// Close lets go of the file. It is harmless when repeated.
func (s *Shelf) Close() error {
	<-s.ready
	f := s.file
	s.file, s.put = nil, nil
	if f == nil {
		return nil
	}
	return s.cache.release(f)
}
