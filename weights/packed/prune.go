package packed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"segue/weights"
)

// Entry is a file of the cache.
type Entry struct {
	Path      string
	Model     string // that it was first made for
	Part      string
	Precision string
	Bytes     int64
	Used      time.Time // last opened or written
	Reason    string    // why it is of no use any more; "": it stays

	identity string // of its sources
}

// staleWriter is the age from which on an unfinished file is nobody's any more.
const staleWriter = time.Hour

// Entries lists the cache, by name. Files of whose layout's family another version is in use, whose sources are gone or
// changed, that have not been used for the time given, or that are damaged, have a Reason. Only heads are read.
func (c *Cache) Entries(layout string, unused time.Duration) []Entry {
	files, _ := os.ReadDir(c.dir) // no folder, no files; the list is sorted
	var list []Entry
	for _, file := range files {
		info, err := file.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // just removed, or not ours
		}
		e := Entry{Path: filepath.Join(c.dir, file.Name()), Bytes: info.Size(), Used: info.ModTime()}
		switch age := time.Since(info.ModTime()); {
		case strings.HasSuffix(file.Name(), unfinished):
			if age > staleWriter {
				e.Reason = "was never finished"
			}
		case strings.HasSuffix(file.Name(), extension):
			e.read(layout)
			if e.Reason == "" && age >= unused {
				e.Reason = fmt.Sprintf("was not used for %.0f days", age.Hours()/24)
			}
		default:
			continue
		}
		list = append(list, e)
	}
	return list
}

// removeStale deletes what killed writers of a key have left. Each is as large as the file, and few ever prune.
func removeStale(dir string, key Key) {
	files, _ := os.ReadDir(dir) // what cannot be listed or removed is left to Remove
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), key.file()+".") || !strings.HasSuffix(file.Name(), unfinished) {
			continue
		}
		if info, err := file.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > staleWriter {
			_ = os.Remove(filepath.Join(dir, file.Name()))
		}
	}
}

// Bytes is the size of all files, without a look into them.
func (c *Cache) Bytes() (total int64) {
	files, _ := os.ReadDir(c.dir) // no folder, no files
	for _, file := range files {
		info, err := file.Info()
		if err == nil && info.Mode().IsRegular() && (strings.HasSuffix(file.Name(), extension) || strings.HasSuffix(file.Name(), unfinished)) {
			total += info.Size()
		}
	}
	return total
}

// read fills in what the head of the file tells.
func (e *Entry) read(layout string) {
	f, key, err := readKey(e.Path)
	switch {
	case errors.Is(err, errFormat):
		e.Reason = "was written by another version of segue"
		return
	case err != nil:
		e.Reason = "is damaged"
		return
	}
	defer f.Close()
	e.Model, e.Part, e.Precision = f.Metadata[modelField], key.Part, key.Precision
	e.identity = sourcesIdentity(key.Sources)
	switch {
	case key.Layout != layout && family(key.Layout) == family(layout):
		e.Reason = "was packed by another version of segue"
	case !key.current():
		e.Reason = "is of a model that has gone or changed"
	case filepath.Base(e.Path) != key.file():
		e.Reason = "has a name that nothing looks for"
	}
}

func sourcesIdentity(sources []weights.Source) string {
	var lines []string
	for _, s := range sources {
		lines = append(lines, s.Identity())
	}
	return strings.Join(lines, "\n")
}

// Of says whether the entry was made of these sources.
func (e Entry) Of(sources []weights.Source) bool {
	return len(sources) > 0 && e.identity == sourcesIdentity(sources)
}

// Remove deletes the entries that have a Reason, and returns those and the ones that stay, with why if they should not
// have.
func (c *Cache) Remove(entries []Entry) (removed, kept []Entry) {
	for _, e := range slices.Clone(entries) {
		if e.Reason == "" {
			kept = append(kept, e)
			continue
		}
		if err := os.Remove(e.Path); err != nil && !errors.Is(err, os.ErrNotExist) {
			e.Reason = fmt.Sprintf("%s, but cannot be removed: %v", e.Reason, err)
			kept = append(kept, e)
			continue
		}
		removed = append(removed, e)
	}
	return removed, kept
}
