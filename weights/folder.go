package weights

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// maxSmallFile bounds what is read whole: configurations, tokenizers, shard indexes.
const maxSmallFile = 64 << 20

// A folder is where a checkpoint lies: on disk, where weights are mapped, or in an fs.FS, where they are read.
type folder struct {
	fsys fs.FS
	dir  string // "" when not on disk
}

// path is a file's name for errors and for the operating system.
func (f folder) path(name string) string { return filepath.Join(f.dir, name) }

func (f folder) has(name string) bool {
	info, err := fs.Stat(f.fsys, name)
	return err == nil && !info.IsDir()
}

// read returns a small file whole.
func (f folder) read(name string) ([]byte, error) {
	info, err := fs.Stat(f.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, formatErrorf(f.path(name), "is a folder or device, want a file")
	}
	file, err := f.fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxSmallFile+1))
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", f.path(name), err)
	}
	if len(data) > maxSmallFile {
		return nil, formatErrorf(f.path(name), "more than %d MiB, want a small file", maxSmallFile>>20)
	}
	return data, checkPointer(f.path(name), data)
}

// readJSON returns the members of a JSON object.
func (f folder) readJSON(name string) (map[string]json.RawMessage, error) {
	data, err := f.read(name)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return nil, formatErrorf(f.path(name), "got no JSON object (%v)", err)
	}
	return members, nil
}

// open maps a weight file.
func (f folder) open(name string) (*mapping, error) {
	if f.dir != "" {
		return mapFile(f.path(name))
	}
	data, err := fs.ReadFile(f.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return &mapping{data: data}, nil
}
