package weights

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// The Hugging Face layout: config.json with one section per sub-model, and weights in one of four forms.

const (
	configFile     = "config.json"
	generationFile = "generation_config.json"
)

// weightForms are best first; an index names the shard of each tensor.
var weightForms = []struct {
	file  string
	index bool
}{
	{"model.safetensors", false},
	{"model.safetensors.index.json", true},
	{"pytorch_model.bin", false},
	{"pytorch_model.bin.index.json", true},
}

// sectionNames are the sub-models, each an object of config.json.
var sectionNames = []string{"decoder", "text_encoder", "audio_encoder"}

// weightFiles maps each weight file of the folder to the names of the tensors to take from it, nil for all. The first
// form that is complete counts.
func (f folder) weightFiles() (map[string][]string, error) {
	var problem error
	for _, form := range weightForms {
		if !f.has(form.file) {
			continue
		}
		if !form.index {
			return map[string][]string{form.file: nil}, nil
		}
		shards, err := f.shards(form.file)
		if err == nil {
			return shards, nil
		}
		problem = err
	}
	if problem != nil {
		return nil, problem
	}
	names := []string{}
	for _, form := range weightForms {
		names = append(names, form.file)
	}
	return nil, fmt.Errorf("weights: %s: %w: want %s or %s", f.dir, ErrNoCheckpoint, strings.Join(names, ", "), stateDictFile)
}

// shards reads an index. A shard must be a plain name in the same folder: an index never reaches other files.
func (f folder) shards(index string) (map[string][]string, error) {
	members, err := f.readJSON(index)
	if err != nil {
		return nil, err
	}
	var owner map[string]string
	if err := json.Unmarshal(members["weight_map"], &owner); err != nil || len(owner) == 0 {
		return nil, formatErrorf(f.path(index), "weight_map: got no map of tensor names to files (%v)", err)
	}
	shards := map[string][]string{}
	for tensor, shard := range owner {
		shards[shard] = append(shards[shard], tensor)
	}
	for shard := range shards {
		if !fs.ValidPath(shard) || strings.ContainsAny(shard, `/\:`) || shard == "." {
			return nil, formatErrorf(f.path(index), "weight_map: got file %q, want a plain name in the same folder", shard)
		}
		if !f.has(shard) {
			return nil, fmt.Errorf("weights: %s: %w: shard is missing; %s lists it", plain(f.path(shard)), ErrNoCheckpoint, index)
		}
	}
	return shards, nil
}

func (c *Checkpoint) loadHuggingFace(files map[string][]string) error {
	if err := c.readConfig(); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		tensors, err := c.openTensors(file)
		if err != nil {
			return err
		}
		path := c.folder.path(file)
		if wanted := files[file]; wanted != nil {
			if tensors, err = pick(path, tensors, wanted); err != nil {
				return err
			}
		}
		if err := c.add(path, fromHuggingFace(tensors)); err != nil {
			return err
		}
	}
	if err := c.joinScales(); err != nil {
		return err
	}
	c.dropAliases()
	return nil
}

// pick takes the tensors that the index promises to be in this shard.
func pick(path string, tensors map[string]*Tensor, names []string) (map[string]*Tensor, error) {
	picked := map[string]*Tensor{}
	for _, name := range names {
		t := tensors[name]
		if t == nil {
			return nil, formatErrorf(path, "tensor %s is missing; the index says it is here", plain(name))
		}
		picked[name] = t
	}
	return picked, nil
}

// readConfig splits config.json into sections and adds generation_config.json.
func (c *Checkpoint) readConfig() error {
	top, err := c.folder.readJSON(configFile)
	if err != nil {
		return err
	}
	path := c.folder.path(configFile)
	var modelType string
	if err := json.Unmarshal(top["model_type"], &modelType); err != nil {
		return formatErrorf(path, "model_type: got no string, want musicgen or musicgen_melody")
	}
	if modelType != "musicgen" && modelType != "musicgen_melody" {
		return &UnsupportedError{path, []string{fmt.Sprintf("model_type: got %.80q, want musicgen or musicgen_melody", modelType)}}
	}
	for _, name := range sectionNames {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(top[name], &object); err != nil || object == nil {
			return formatErrorf(path, "%s: got no JSON object", name)
		}
		c.sections[name] = top[name]
		delete(top, name)
	}
	if c.sections[""], err = json.Marshal(top); err != nil {
		return formatErrorf(path, "%v", err)
	}
	if !c.folder.has(generationFile) {
		return nil
	}
	generation, err := c.folder.readJSON(generationFile)
	if err != nil {
		return err
	}
	c.sections["generation"], err = json.Marshal(generation)
	return err
}
