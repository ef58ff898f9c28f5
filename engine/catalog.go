package engine

import (
	"fmt"
	"strings"
)

// The catalog: models that others have published, by the names that people use for them. It is for finding and
// fetching only; what a model is, its files tell. Any other repository works as well, by its full name.

// published is a model of the catalog.
type published struct {
	repo      string
	size      string  // of the decoder: small, medium or large
	gigabytes float64 // of the download: float32, but stereo models that follow no melody are float16; 0 for fine-tunes
	stereo    bool
	melody    bool
	fineTune  bool // audiocraft's two files; the rest comes from a base
}

// baseRepo lends text encoder, tokenizer and codec to fine-tunes of every size: they were never trained, and this is
// the smallest download that has them.
const baseRepo = "facebook/musicgen-small"

var catalog = []published{
	{repo: "facebook/musicgen-small", size: "small", gigabytes: 2.4},
	{repo: "facebook/musicgen-medium", size: "medium", gigabytes: 8},
	{repo: "facebook/musicgen-large", size: "large", gigabytes: 13.7},
	{repo: "facebook/musicgen-melody", size: "medium", gigabytes: 6.1, melody: true},
	{repo: "facebook/musicgen-melody-large", size: "large", gigabytes: 10.5, melody: true},
	{repo: "facebook/musicgen-stereo-small", size: "small", gigabytes: 1.2, stereo: true},
	{repo: "facebook/musicgen-stereo-medium", size: "medium", gigabytes: 4.1, stereo: true},
	{repo: "facebook/musicgen-stereo-large", size: "large", gigabytes: 6.9, stereo: true},
	{repo: "facebook/musicgen-stereo-melody", size: "medium", gigabytes: 6.3, stereo: true, melody: true},
	{repo: "facebook/musicgen-stereo-melody-large", size: "large", gigabytes: 10.6, stereo: true, melody: true},
	{repo: "thepatch/vanya_ai_dnb_0.1", size: "small", fineTune: true},
	{repo: "thepatch/gary_orchestra_2", size: "small", fineTune: true},
	{repo: "thepatch/keygen-gary-v2-small-8", size: "small", fineTune: true},
	{repo: "thepatch/keygen-gary-v2-small-12", size: "small", fineTune: true},
	{repo: "thepatch/keygen-gary-small-6", size: "small", fineTune: true},
	{repo: "thepatch/keygen-gary-small-12", size: "small", fineTune: true},
	{repo: "thepatch/keygen-gary-small-20", size: "small", fineTune: true},
	{repo: "thepatch/bleeps-medium", size: "medium", fineTune: true},
	{repo: "thepatch/keygen-gary-medium-12", size: "medium", fineTune: true},
	{repo: "thepatch/hoenn_lofi", size: "large", fineTune: true},
	{repo: "thepatch/bleeps-large-6", size: "large", fineTune: true},
	{repo: "thepatch/bleeps-large-8", size: "large", fineTune: true},
	{repo: "thepatch/bleeps-large-10", size: "large", fineTune: true},
	{repo: "thepatch/bleeps-large-14", size: "large", fineTune: true},
	{repo: "thepatch/bleeps-large-20", size: "large", fineTune: true},
	{repo: "thepatch/keygen-gary-v2-large-12", size: "large", fineTune: true},
	{repo: "thepatch/keygen-gary-v2-large-16", size: "large", fineTune: true},
	{repo: "thepatch/keygen-gary-large-6", size: "large", fineTune: true},
	{repo: "thepatch/keygen-gary-large-12", size: "large", fineTune: true},
	{repo: "thepatch/keygen-gary-large-20", size: "large", fineTune: true},
	{repo: "thepatch/gary-grunge-large-stereo-v2-4", size: "large", stereo: true, fineTune: true},
	{repo: "thepatch/gary-grunge-large-stereo-12", size: "large", stereo: true, fineTune: true},
}

// inCatalog finds a model by repository, by its name there, or by what follows musicgen- in that.
func inCatalog(name string) (published, bool) {
	for _, p := range catalog {
		if name == p.repo || name == p.short() || strings.HasSuffix(p.repo, "/"+name) {
			return p, true
		}
	}
	return published{}, false
}

// short is the shortest name that finds it.
func (p published) short() string {
	_, name, _ := strings.Cut(p.repo, "/")
	if !p.fineTune {
		name = strings.TrimPrefix(name, "musicgen-")
	}
	return name
}

// base is the published model that a fine-tune began with; its own repository for others.
func (p published) base() string {
	switch {
	case !p.fineTune:
		return p.repo
	case p.stereo:
		return "facebook/musicgen-stereo-" + p.size
	}
	return "facebook/musicgen-" + p.size
}

// about describes the model in one line, licence included.
func (p published) about() string {
	kind, licence := "MusicGen "+p.size, "CC-BY-NC 4.0"
	if p.fineTune {
		kind, licence = "fine-tune of "+kind, "licence: see its repository"
	}
	if p.melody {
		kind += ", follows a melody"
	}
	if p.stereo {
		kind += ", stereo"
	}
	return kind + "; " + licence
}

// info is what can be said of a model that is not on this machine.
func (p published) info() ModelInfo {
	m := ModelInfo{Name: p.repo, Source: "catalog", Layout: "huggingface", Channels: 1}
	if p.stereo {
		m.Channels = 2
	}
	size := fmt.Sprintf("about %g GB", p.gigabytes)
	if p.fineTune {
		m.Layout, size = "audiocraft", "and, once, "+baseRepo
	}
	m.Description = fmt.Sprintf("%s; not on this machine: segue pull %s (%s)", p.about(), p.short(), size)
	return m
}
