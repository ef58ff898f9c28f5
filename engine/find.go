package engine

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"segue/engine/audio"
	"segue/weights"
	"segue/weights/hub"
)

// location is where a model's files are.
type location struct {
	name   string
	source string // bundled, path, models, huggingface
	dir    string
	files  fs.FS // bundled only
}

// find looks for a model by path, by name in the models folder, then in the Hugging Face cache. "" is the bundled one. What
// can be a name as well counts as a path where it holds a model, or where nothing has that name.
func (e *Engine) find(name string) (location, error) {
	if name == "" || name == e.options.Bundled.Name {
		return location{name: e.options.Bundled.Name, source: "bundled", files: e.options.Bundled.Files}, nil
	}
	path, err := audio.ResolvePath(name, e.options.WorkDir, e.options.Home)
	if err != nil {
		return location{}, Errorf(BadParam, "model", "model: %w", err)
	}
	there, isPath := isDir(path), filepath.IsAbs(name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~")
	folder := location{name: name, source: "path", dir: path}
	if there && (isPath || holdsModel(path)) {
		return folder, nil
	}
	if isPath {
		return location{}, &Error{Kind: ModelMissing, Field: "model", Path: path, Detail: "model: got " + path + ", which is not a folder; want a folder with a checkpoint"}
	}
	if plain := filepath.FromSlash(name); e.options.ModelsDir != "" && filepath.IsLocal(plain) {
		if dir := filepath.Join(e.options.ModelsDir, plain); isDir(dir) {
			return location{name: name, source: "models", dir: dir}, nil
		}
	}
	if l, ok := e.hubModel(name); ok {
		return l, nil
	}
	if p, ok := inCatalog(name); ok {
		return location{}, Errorf(ModelMissing, "model", "model: %s is not on this machine; segue pull %s downloads it", p.repo, p.short())
	}
	if there {
		return folder, nil
	}
	return location{}, Errorf(ModelUnknown, "model", "model: got %q, which is neither a folder nor a known name; here are %s; segue pull gets others, by organisation/name or one of the short names that segue models lists",
		name, strings.Join(e.names(), ", "))
}

// hubModel looks into the Hugging Face cache: for a repository's full name, the last part of it, or a short one of the
// catalog; @ and a branch, tag or commit may follow.
func (e *Engine) hubModel(name string) (location, bool) {
	repo, revision, pinned := strings.Cut(name, "@")
	if p, ok := inCatalog(repo); ok {
		repo = p.repo
	}
	for _, known := range e.hubModels() {
		if strings.HasSuffix(known.name, "/"+repo) {
			repo = known.name
			break
		}
	}
	s, ok := hub.Find(e.options.Hub.Dir, repo, revision)
	if !ok || !holdsModel(s.Dir) {
		return location{}, false
	}
	if pinned {
		repo += "@" + revision
	}
	return location{name: repo, source: "huggingface", dir: s.Dir}, true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// locations lists every model that find would find by name.
func (e *Engine) locations() []location {
	list := []location{{name: e.options.Bundled.Name, source: "bundled", files: e.options.Bundled.Files}}
	entries, _ := os.ReadDir(e.options.ModelsDir) // no folder, no models
	for _, entry := range entries {
		if dir := filepath.Join(e.options.ModelsDir, entry.Name()); e.options.ModelsDir != "" && holdsModel(dir) {
			list = append(list, location{name: entry.Name(), source: "models", dir: dir})
		}
	}
	return append(list, e.hubModels()...)
}

func (e *Engine) names() []string {
	var names []string
	for _, l := range e.locations() {
		names = append(names, l.name)
	}
	return names
}

// hubModels lists the MusicGen models in the Hugging Face cache.
func (e *Engine) hubModels() (list []location) {
	for _, s := range hub.List(e.options.Hub.Dir) {
		if holdsModel(s.Dir) {
			list = append(list, location{name: s.Repo, source: "huggingface", dir: s.Dir})
		}
	}
	return list
}

// mostConfig is far more than a config.json has.
const mostConfig = 1 << 20

// holdsModel says whether a folder looks like a MusicGen checkpoint, without opening the weights.
func holdsModel(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "state_dict.bin")); err == nil {
		return true
	}
	path := filepath.Join(dir, "config.json")
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() > mostConfig {
		return false
	}
	config, err := os.ReadFile(path)
	return err == nil && bytes.Contains(config, []byte("musicgen"))
}

// open maps a model's checkpoint. An audiocraft folder borrows text encoder and codec from Options.Base or, failing that,
// from the published model of its size, or from the one that Pull gets for every size.
func (e *Engine) open(l location) (*weights.Checkpoint, error) {
	if l.files != nil {
		return weights.OpenFS(l.files, weights.Options{})
	}
	var base string
	if e.options.Base != "" {
		found, err := e.find(e.options.Base)
		if err != nil {
			return nil, err
		}
		base = found.dir
	}
	c, err := weights.Open(l.dir, weights.Options{Base: base})
	var needed *weights.BaseError
	if errors.As(err, &needed) {
		for _, name := range []string{needed.Want, baseRepo} {
			if found, ok := e.hubModel(name); ok && err != nil {
				c, err = weights.Open(l.dir, weights.Options{Base: found.dir})
			}
		}
	}
	return c, err
}

// Checkpoint finds a model as a job would, and returns its name and what opens its files, as often as wanted and also after Close.
func (e *Engine) Checkpoint(name string) (found string, open func() (*weights.Checkpoint, error), err error) {
	l, err := e.find(name)
	if err != nil {
		return "", nil, err
	}
	return l.name, func() (*weights.Checkpoint, error) {
		c, err := e.open(l)
		if err != nil {
			return nil, modelError(l, err)
		}
		return c, nil
	}, nil
}

// modelError gives an error met while opening a model its kind.
func modelError(l location, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	kind := ModelInvalid
	if luck, known := deviceKind(err); known {
		kind = luck
	}
	var needed *weights.BaseError
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, weights.ErrNoCheckpoint) || errors.As(err, &needed) {
		kind = ModelMissing
	}
	detail := "model " + l.name + ": " + err.Error()
	switch {
	case needed != nil:
		detail += "; segue pull " + needed.Want + " downloads that"
	case kind == ModelMissing && l.source == "huggingface":
		detail += "; it has come in part only: segue pull " + l.name + " brings the rest"
	}
	return &Error{Kind: kind, Field: "model", Path: l.dir, Detail: detail, Err: err}
}
