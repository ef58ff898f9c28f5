package hub

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Which files of a repository make a model: the small ones that are there, and one form of the weights. Names come
// from the network; only names known here, or of the form of a shard, are ever chosen.

var smallFiles = []string{
	"config.json", "generation_config.json", "preprocessor_config.json",
	"tokenizer.json", "spiece.model", "tokenizer_config.json", "special_tokens_map.json",
}

// weightForms are best first, audiocraft's last: it lacks the text encoder.
var weightForms = []struct {
	files    []string
	shards   *regexp.Regexp // files beside the index, nil for none
	optional string
	complete bool // a model in Hugging Face layout, with a config.json
}{
	{files: []string{"model.safetensors"}, complete: true},
	{files: []string{"model.safetensors.index.json"}, shards: regexp.MustCompile(`^model-\d{5}-of-\d{5}\.safetensors$`), complete: true},
	{files: []string{"pytorch_model.bin"}, complete: true},
	{files: []string{"pytorch_model.bin.index.json"}, shards: regexp.MustCompile(`^pytorch_model-\d{5}-of-\d{5}\.bin$`), complete: true},
	{files: []string{audiocraftFile}, optional: "compression_state_dict.bin"},
}

// audiocraftFile is the decoder in audiocraft's layout.
const audiocraftFile = "state_dict.bin"

// choose returns the files that a model needs of those offered. modelType is what the hub read from config.json, "" if
// it has not. A form of the weights that is on disk already is as good as a better one.
func choose(offered []string, modelType string, have func(string) bool) ([]string, error) {
	var chosen []string
	for _, weights := range offeredForms(offered, modelType) {
		there := !slices.ContainsFunc(weights, func(name string) bool { return !have(name) })
		if chosen == nil || there {
			chosen = weights
		}
		if there {
			break
		}
	}
	if chosen == nil && modelType != "" && !isMusicGen(modelType) {
		return nil, fmt.Errorf("%w: config.json says %.60q", ErrNoModel, modelType)
	}
	if chosen == nil {
		return nil, fmt.Errorf("%w: want config.json with model.safetensors or pytorch_model.bin, or audiocraft's %s", ErrNoModel, audiocraftFile)
	}
	small := slices.DeleteFunc(slices.Clone(smallFiles), func(name string) bool { return !slices.Contains(offered, name) })
	return append(small, chosen...), nil
}

// offeredForms lists the files of each form that is whole as far as its names tell.
func offeredForms(offered []string, modelType string) (forms [][]string) {
	isComplete := slices.Contains(offered, "config.json") && (modelType == "" || isMusicGen(modelType))
	for _, form := range weightForms {
		if form.complete && !isComplete || !slices.Contains(offered, form.files[0]) {
			continue
		}
		files := slices.Clone(form.files)
		for _, name := range offered {
			if name == form.optional || form.shards != nil && form.shards.MatchString(name) {
				files = append(files, name)
			}
		}
		if form.shards == nil || len(files) > 1 {
			forms = append(forms, files)
		}
	}
	return forms
}

func isMusicGen(modelType string) bool { return strings.HasPrefix(modelType, "musicgen") }

// isPlain says whether a path from the network stays below the folder it is joined to, on every system.
func isPlain(path string) bool {
	return fs.ValidPath(path) && path != "." && len(path) < 256 &&
		!strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || strings.ContainsRune(`\:*?"<>|`, r) })
}

var (
	repoPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	hashPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// CheckRepo says whether a name can be a repository's: organisation/name.
func CheckRepo(repo string) error {
	if len(repo) > 96 || !repoPattern.MatchString(repo) || strings.Contains(repo, "--") || strings.Contains(repo, "..") {
		return fmt.Errorf("hub: %w: got %.100q, want organisation/name, or a short one that segue models lists", ErrName, repo)
	}
	return nil
}

func checkRevision(revision string) error {
	if !isPlain(revision) {
		return fmt.Errorf("hub: %w: got revision %.100q, want a branch, tag or commit", ErrName, revision)
	}
	return nil
}
