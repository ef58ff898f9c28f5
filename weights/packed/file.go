package packed

// One file: written whole under another name, used only as far as every byte is what was written.

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"segue/weights"
)

const (
	lineBytes  = 64      // tensors begin at multiples of it in memory, as kernels like it
	chunkBytes = 8 << 20 // written at once: file systems with large pages make such of it

	unfinished = ".part" // ending of a file that is being written
)

// Names in the metadata.
const (
	formatField = "format"
	keyField    = "key"
	modelField  = "model"     // the model that it was first made for, for people
	sumsField   = "checksums" // CRC-32C of each tensor, by name
	headField   = "head"      // CRC-32C of all else that matters: the key, where each tensor lies, its checksum
)

// ErrDamaged is wrapped where a file is not what was written.
var ErrDamaged = errors.New("is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// file is an open one. The bytes of its tensors are views of the mapping.
type file struct {
	*weights.File
	path  string
	hot   bool
	users int // guarded by Cache.mu

	sound   func() error // whether it is what was written; the first call finds out
	moving  sync.Mutex   // held while it moves to large pages; guards moved
	moved   bool
	closing atomic.Bool
}

func (f *file) close() error {
	f.closing.Store(true)
	_ = f.sound() // until then it is being read
	f.moving.Lock()
	defer f.moving.Unlock()
	return f.Close()
}

// readKey opens a file and returns its key, without reading tensors. Its head is sound if the error is nil.
func readKey(path string) (f *weights.File, key Key, err error) {
	if f, err = weights.OpenSafetensors(path); err != nil {
		return nil, Key{}, err
	}
	if err = checkHead(f, &key); err != nil {
		f.Close()
		return nil, key, fmt.Errorf("packed: %s: %w: %w", path, ErrDamaged, err)
	}
	return f, key, nil
}

var errFormat = errors.New("was written by another version")

func checkHead(f *weights.File, key *Key) error {
	if got := f.Metadata[formatField]; got != format {
		return fmt.Errorf("%w: got format %.40q, want %q", errFormat, got, format)
	}
	var sums map[string]string
	if err := json.Unmarshal([]byte(f.Metadata[keyField]), key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := json.Unmarshal([]byte(f.Metadata[sumsField]), &sums); err != nil {
		return fmt.Errorf("checksums: %w", err)
	}
	tensors := slices.SortedFunc(maps.Values(f.Tensors), byName)
	if got, want := f.Metadata[headField], headSum(f.Metadata[keyField], tensors, sums); got != want {
		return fmt.Errorf("head: got checksum %.8s, want %s", got, want)
	}
	return nil
}

func byName(a, b *weights.Tensor) int { return cmp.Compare(a.Name, b.Name) }

// headSum covers what the tensors' own checksums do not. Tensors follow one another in the order of their names.
func headSum(key string, tensors []*weights.Tensor, sums map[string]string) string {
	sum := crc32.New(castagnoli)
	fmt.Fprintln(sum, key)
	for _, t := range tensors {
		fmt.Fprintln(sum, t.Name, len(t.Data), sums[t.Name])
	}
	return hexSum(sum.Sum32())
}

func hexSum(sum uint32) string { return fmt.Sprintf("%08x", sum) }

// open opens the file of a key. A hot one, whose bytes are read again and again, has been compared with its checksums when
// open returns; of another, sound has to be asked before its bytes are believed.
func open(path string, key Key, hot bool) (*file, error) {
	opened, got, err := readKey(path)
	if err != nil {
		return nil, err
	}
	f := &file{File: opened, path: path, hot: hot}
	f.sound = sync.OnceValue(f.verify)
	if got.identity() != key.identity() {
		err = fmt.Errorf("packed: %s: %w: belongs to other weights", path, ErrDamaged)
	} else if hot {
		err = f.sound()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// verify compares every tensor with its checksum, on all processors. Only now is the file fetched: what is hot must not wait for
// the rest to come from the disk.
func (f *file) verify() error {
	f.Prefetch()
	var sums map[string]string
	if err := json.Unmarshal([]byte(f.Metadata[sumsField]), &sums); err != nil {
		return fmt.Errorf("packed: %s: checksums: %w: %w", f.path, ErrDamaged, err)
	}
	err := forEach(slices.SortedFunc(maps.Values(f.Tensors), byName), func(t *weights.Tensor) error {
		if f.closing.Load() {
			return errClosing
		}
		if got := hexSum(crc32.Checksum(t.Data, castagnoli)); got != sums[t.Name] {
			return fmt.Errorf("%s: got checksum %s, want %.8s", t.Name, got, sums[t.Name])
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("packed: %s: %w: %w", f.path, ErrDamaged, err)
	}
	return nil
}

// errClosing ends a comparison that nobody waits for any more.
var errClosing = errors.New("closing")

// forEach calls fn for every tensor, on all processors, and returns one of the errors. A disk that fails while a mapped
// page is read is an error like another.
func forEach(tensors []*weights.Tensor, fn func(*weights.Tensor) error) error {
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(errs) {
		group.Go(func() {
			defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
			defer func() {
				if bug := recover(); bug != nil {
					errs <- weights.Fault(bug)
				}
			}()
			for i := next.Add(1) - 1; i < int64(len(tensors)); i = next.Add(1) - 1 {
				if err := fn(tensors[i]); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	return <-errs
}

// enlarge moves a file that is read again and again into large pages of memory, under the same addresses and while it is
// read, where the system has such and has not used them for the file: a pass over small pages is slower by a sixth. The price
// is that other processes no longer share this memory.
func (f *file) enlarge() {
	f.moving.Lock()
	defer f.moving.Unlock()
	if !f.hot || f.moved || f.closing.Load() {
		return
	}
	f.moved = true
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if bug := recover(); bug != nil {
			_ = weights.Fault(bug) // who uses the file meets it, too
		}
	}()
	moveToLargePages(f.Bytes(), f.closing.Load)
}

// forget does nothing to a file that has moved: its memory is all there is of it.
func (f *file) forget() {
	f.moving.Lock()
	defer f.moving.Unlock()
	if !f.moved {
		f.Forget()
	}
}

// write makes the file of a key in dir, whole or not at all.
func write(ctx context.Context, dir string, key Key, model string, tensors []*weights.Tensor) (err error) {
	metadata, err := describe(key, model, tensors)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	removeStale(dir, key) // now, as the room is about to be needed
	temporary, err := os.CreateTemp(dir, key.file()+".*"+unfinished)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temporary.Name())
		}
	}()
	w := &chunkWriter{ctx: ctx, w: temporary, buffer: make([]byte, 0, chunkBytes)}
	err = weights.WriteSafetensorsAt(w, tensors, metadata, lineBytes)
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = temporary.Sync() // the name vouches for the content, also after a power cut
	}
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	path := filepath.Join(dir, key.file())
	if err = os.Rename(temporary.Name(), path); err == nil {
		return nil
	}
	if f, found, openErr := readKey(path); openErr == nil {
		f.Close() // Windows refuses to replace a file that another process, which was faster, has mapped
		if found.identity() == key.identity() {
			return os.Remove(temporary.Name())
		}
	}
	return err
}

// describe is the metadata of a file.
func describe(key Key, model string, tensors []*weights.Tensor) (map[string]string, error) {
	text, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	sums := map[string]string{}
	err = forEach(tensors, func(t *weights.Tensor) error {
		sum := hexSum(crc32.Checksum(t.Data, castagnoli))
		mu.Lock()
		defer mu.Unlock()
		sums[t.Name] = sum
		return nil
	})
	if err != nil {
		return nil, err
	}
	sumText, err := json.Marshal(sums)
	if err != nil {
		return nil, err
	}
	sorted := slices.SortedFunc(slices.Values(tensors), byName)
	return map[string]string{
		formatField: format, keyField: string(text), modelField: model, sumsField: string(sumText),
		headField: headSum(string(text), sorted, sums),
	}, nil
}

// chunkWriter writes whole chunks, aligned in the file, until its context ends.
type chunkWriter struct {
	ctx    context.Context
	w      io.Writer
	buffer []byte // up to its capacity
}

func (w *chunkWriter) Write(data []byte) (int, error) {
	total := len(data)
	for len(data) > 0 {
		n := min(len(data), cap(w.buffer)-len(w.buffer))
		w.buffer, data = append(w.buffer, data[:n]...), data[n:]
		if len(w.buffer) == cap(w.buffer) {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return total, nil
}

func (w *chunkWriter) flush() error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	_, err := w.w.Write(w.buffer)
	w.buffer = w.buffer[:0]
	return err
}
