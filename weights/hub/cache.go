package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// The layout of the cache, as the hub's documentation gives it to those who write clients:
//
//	models--org--name/blobs/<hash>                       contents; <hash>.incomplete while they come
//	models--org--name/snapshots/<commit>/<file>          relative link to the blob; where links cannot be made, the content
//	models--org--name/refs/<revision>                    the commit that a branch or tag stood for when last asked
//	.locks/models--org--name/<hash>.lock                 held by whoever writes the blob

// defaultRevision is the branch that a repository's name alone stands for.
const defaultRevision = "main"

const repoPrefix = "models--"

// Snapshot is a state of a repository in the cache, as a folder of files. It may lack some.
type Snapshot struct{ Repo, Revision, Dir string }

// List finds the repositories in the cache at dir that have a state of their main branch, by name.
func List(dir string) (list []Snapshot) {
	entries, _ := os.ReadDir(dir) // no cache, no models; the entries are sorted
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), repoPrefix)
		if repo := strings.Replace(name, "--", "/", 1); ok {
			if s, found := Find(dir, repo, defaultRevision); found {
				list = append(list, s)
			}
		}
	}
	return list
}

// Find looks for a repository at a branch, tag or commit in the cache at dir, without asking the hub. "" is the main branch.
func Find(dir, repo, revision string) (Snapshot, bool) {
	if revision == "" {
		revision = defaultRevision
	}
	if dir == "" || CheckRepo(repo) != nil || checkRevision(revision) != nil {
		return Snapshot{}, false
	}
	folder := repoFolder(dir, repo)
	commit, err := os.ReadFile(filepath.Join(folder, "refs", filepath.FromSlash(revision)))
	if err != nil {
		commit = []byte(revision)
	}
	name := strings.TrimSpace(string(commit))
	if !isPlain(name) {
		return Snapshot{}, false
	}
	s := Snapshot{repo, revision, filepath.Join(folder, "snapshots", filepath.FromSlash(name))}
	info, err := os.Stat(s.Dir)
	return s, err == nil && info.IsDir()
}

func repoFolder(dir, repo string) string {
	return filepath.Join(dir, repoPrefix+strings.Replace(repo, "/", "--", 1))
}

func (p *Plan) folder() string { return repoFolder(p.cache, p.Repo) }

// Dir is the folder that holds the files once they are fetched.
func (p *Plan) Dir() string { return filepath.Join(p.folder(), "snapshots", p.Commit) }

func (p *Plan) blob(hash string) string { return filepath.Join(p.folder(), "blobs", hash) }

func (p *Plan) lockFile(hash string) string {
	return filepath.Join(p.cache, ".locks", filepath.Base(p.folder()), hash+".lock")
}

// has says whether the snapshot has a file. A link to a blob that is gone is no file.
func (p *Plan) has(name string) bool {
	info, err := os.Stat(filepath.Join(p.Dir(), name))
	return err == nil && info.Mode().IsRegular()
}

// link makes the blob a file of the snapshot. Where the system refuses links, the content itself goes there, as the
// Python clients do it: a new blob is moved, one that other snapshots may share is copied.
func (p *Plan) link(f file, isNew bool, symlink func(target, name string) error) error {
	if p.has(f.name) {
		return nil
	}
	name, blob := filepath.Join(p.Dir(), f.name), p.blob(f.hash)
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // a link to nothing
		return err
	}
	target, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	switch err := symlink(target, name); {
	case err == nil || p.has(f.name): // by us, or by another process just now
		return nil
	case isNew:
		return os.Rename(blob, name)
	}
	return copyFile(blob, name)
}

// copyFile appears under its new name whole or not at all.
func copyFile(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".")
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err == nil {
		err = os.Rename(target.Name(), to)
	}
	if err != nil {
		os.Remove(target.Name())
	}
	return err
}

// writeReference records which commit the revision stands for. It comes last: until then the name keeps its old
// meaning, or none.
func (p *Plan) writeReference() error {
	if p.Revision == p.Commit {
		return nil
	}
	path := filepath.Join(p.folder(), "refs", filepath.FromSlash(p.Revision))
	if old, err := os.ReadFile(path); err == nil && string(old) == p.Commit {
		return nil // the cache may be read-only
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	temporary := fmt.Sprintf("%s.%016x", path, rand.Uint64())
	err := os.WriteFile(temporary, []byte(p.Commit), 0o666)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}
