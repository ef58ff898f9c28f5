package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"segue/engine/audio"
	"segue/engine/musicgen"
	"segue/weights"
)

// location is where a model's files are.
type location struct {
	name   string
	source string // bundled, path, models, huggingface
	dir    string
	files  fs.FS // bundled only
}

// find looks for a model by path, by name in the models folder, then in the Hugging Face cache. "" is the bundled one.
func (e *Engine) find(name string) (location, error) {
	if name == "" || name == e.options.Bundled.Name {
		return location{name: e.options.Bundled.Name, source: "bundled", files: e.options.Bundled.Files}, nil
	}
	path, err := audio.ResolvePath(name, e.options.WorkDir, e.options.Home)
	if err != nil {
		return location{}, Errorf(BadParam, "model", "model: %w", err)
	}
	if isDir(path) {
		return location{name: name, source: "path", dir: path}, nil
	}
	if filepath.IsAbs(name) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~") {
		return location{}, &Error{Kind: ModelMissing, Field: "model", Path: path, Detail: "model: got " + path + ", which is not a folder; want a folder with a checkpoint"}
	}
	if plain := filepath.FromSlash(name); e.options.ModelsDir != "" && filepath.IsLocal(plain) {
		if dir := filepath.Join(e.options.ModelsDir, plain); isDir(dir) {
			return location{name: name, source: "models", dir: dir}, nil
		}
	}
	for _, hub := range e.hubModels() {
		if hub.name == name || strings.HasSuffix(hub.name, "/"+name) {
			return hub, nil
		}
	}
	return location{}, Errorf(ModelUnknown, "model", "model: got %q, which is neither a folder nor a known name; known are %s", name, strings.Join(e.names(), ", "))
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

// hubModels lists the MusicGen snapshots in the Hugging Face cache: models--org--name/refs/main names the snapshot.
func (e *Engine) hubModels() []location {
	if e.options.HubDir == "" {
		return nil
	}
	repos, _ := filepath.Glob(filepath.Join(e.options.HubDir, "models--*--*"))
	sort.Strings(repos)
	var list []location
	for _, repo := range repos {
		revision, err := os.ReadFile(filepath.Join(repo, "refs", "main"))
		if err != nil {
			continue
		}
		dir := filepath.Join(repo, "snapshots", strings.TrimSpace(string(revision)))
		if holdsModel(dir) {
			parts := strings.SplitN(strings.TrimPrefix(filepath.Base(repo), "models--"), "--", 2)
			list = append(list, location{name: parts[0] + "/" + parts[1], source: "huggingface", dir: dir})
		}
	}
	return list
}

// holdsModel says whether a folder looks like a MusicGen checkpoint, without opening the weights.
func holdsModel(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "state_dict.bin")); err == nil {
		return true
	}
	config, err := os.ReadFile(filepath.Join(dir, "config.json"))
	return err == nil && strings.Contains(string(config), "musicgen")
}

// open maps a model's checkpoint. An audiocraft folder borrows text encoder and codec from Options.Base or, failing that,
// from the published model of its size.
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
		if found, findErr := e.find(needed.Want); findErr == nil {
			return weights.Open(l.dir, weights.Options{Base: found.dir})
		}
	}
	return c, err
}

// modelError gives an error met while opening a model its kind.
func modelError(l location, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	kind := ModelInvalid
	var needed *weights.BaseError
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, weights.ErrNoCheckpoint) || errors.As(err, &needed) {
		kind = ModelMissing
	}
	return &Error{Kind: kind, Field: "model", Path: l.dir, Detail: "model " + l.name + ": " + err.Error(), Err: err}
}

// describe fills in what a model's files tell about it, the reason included when it cannot be used.
func (e *Engine) describe(l location) ModelInfo {
	info := ModelInfo{Name: l.name, Path: l.dir, Source: l.source}
	if l.source == "bundled" {
		info.Description = e.options.Bundled.Description
	}
	c, err := e.open(l)
	if err != nil {
		info.Problem = err.Error()
		return info
	}
	defer c.Close()
	e.fill(&info, c)
	return info
}

func (e *Engine) fill(info *ModelInfo, c *weights.Checkpoint) {
	info.Layout, info.Bytes = string(c.Layout), c.Bytes()
	config, err := musicgen.ParseConfig(c)
	if err != nil {
		info.Problem = err.Error()
		return
	}
	info.Channels, info.SampleRate = config.Decoder.Channels, config.Codec.SamplingRate
	frameRate := float64(config.Codec.SamplingRate) / float64(config.Codec.Hop())
	info.MaxSeconds = float64(config.Decoder.MaxFrames(frameRate)) / frameRate
}
