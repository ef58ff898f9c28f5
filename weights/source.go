package weights

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A Source is a file that tensors come from, as it was when it was opened. What was made of the tensors may be kept and
// used again as long as the source is Current. In the hub's cache, where a file's name is the hash of its content, Hash
// is that name, and where the file lies and when it was written do not matter.
type Source struct {
	Path    string `json:"path"` // absolute
	Size    int64  `json:"size"`
	ModTime int64  `json:"modTime"` // nanoseconds
	Hash    string `json:"hash,omitempty"`
}

var blobName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

func newSource(path string, info fs.FileInfo) Source {
	s := Source{Path: path, Size: info.Size(), ModTime: info.ModTime().UnixNano()}
	if absolute, err := filepath.Abs(path); err == nil {
		s.Path = absolute
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		name := filepath.Base(target)
		if blobName.MatchString(name) && filepath.Base(filepath.Dir(target)) == "blobs" {
			s.Hash = name
		}
	}
	return s
}

// Identity is equal for sources of equal content, as far as can be told without reading it.
func (s Source) Identity() string {
	if s.Hash != "" {
		return s.Hash
	}
	return fmt.Sprintf("%s %d %d", s.Path, s.Size, s.ModTime)
}

// Current says whether the file is still there and the same.
func (s Source) Current() bool {
	info, err := os.Stat(s.Path)
	return err == nil && newSource(s.Path, info).Identity() == s.Identity()
}

// Sources are the files of the tensors whose names begin with one of the prefixes, by path. They are nil where there is no such
// tensor, or one that is in no file.
func (c *Checkpoint) Sources(prefixes ...string) []Source {
	found := map[string]Source{}
	for name := range c.tensors {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		source, ok := c.origins[name]
		if !ok {
			return nil
		}
		found[source.Path] = source
	}
	var list []Source
	for _, path := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[path])
	}
	return list
}
