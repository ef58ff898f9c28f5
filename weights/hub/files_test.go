package hub

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	const small = "config.json tokenizer.json"
	for _, test := range []struct{ name, offered, modelType, there, want string }{
		{"best first", small + " README.md pytorch_model.bin model.safetensors state_dict.bin", "musicgen", "", small + " model.safetensors"},
		{"shards", small + " model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors other-00001-of-00002.safetensors",
			"musicgen", "", small + " model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors"},
		{"an index alone", small + " model.safetensors.index.json pytorch_model.bin", "musicgen", "", small + " pytorch_model.bin"},
		{"torch shards", small + " pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin", "musicgen_melody", "", small + " pytorch_model.bin.index.json pytorch_model-00001-of-00001.bin"},
		{"what is there", small + " pytorch_model.bin model.safetensors", "musicgen", "pytorch_model.bin", small + " pytorch_model.bin"},
		{"what is there in part", small + " pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin pytorch_model-00002-of-00002.bin model.safetensors", "musicgen",
			"pytorch_model.bin.index.json pytorch_model-00001-of-00002.bin", small + " model.safetensors"},
		{"fine-tune", "README.md compression_state_dict.bin state_dict.bin", "", "", "compression_state_dict.bin state_dict.bin"},
		{"fine-tune without codec", "state_dict.bin optimizer.bin", "", "", "state_dict.bin"},
		{"fine-tune beside another model", "config.json model.safetensors state_dict.bin", "gpt2", "", "config.json state_dict.bin"},
		{"type not told", "config.json model.safetensors", "", "", "config.json model.safetensors"},
		{"weights without config", "model.safetensors", "", "", ""},
		{"another model", small + " model.safetensors", "gpt2", "", ""},
		{"nothing", "README.md", "", "", ""},
	} {
		got, err := choose(strings.Fields(test.offered), test.modelType, func(name string) bool { return slices.Contains(strings.Fields(test.there), name) })
		slices.Sort(got)
		want := strings.Fields(test.want)
		slices.Sort(want)
		if !slices.Equal(got, want) || (test.want == "") != errors.Is(err, ErrNoModel) {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, want)
		}
	}
}

func TestIsPlain(t *testing.T) {
	for name, want := range map[string]bool{
		"config.json": true, "a/b": true, "refs/pr/1": true, "música.bin": true,
		"": false, ".": false, "..": false, "../x": false, "a/../b": false, "/x": false, "a/": false, "a//b": false, `a\b`: false, `..\x`: false,
		"C:x": false, "nul\x00": false, "a\nb": false, strings.Repeat("x", 256): false,
	} {
		if got := isPlain(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

// Whatever a hub says, what is chosen was offered and stays in the snapshot.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"sha":"` + commit + `","config":{"model_type":"musicgen"},"siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"},{"rfilename":"../../.ssh/id"}]}`))
	f.Add([]byte(`{"sha":"` + commit + `","siblings":[{"rfilename":"state_dict.bin"},{"rfilename":"a/../state_dict.bin"},{"rfilename":null}]}`))
	f.Add([]byte(`{"sha":"../../x"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		sha, modelType, names, err := parseListing(text)
		if err != nil {
			return
		}
		p := &Plan{Repo: "someone/music", Commit: sha, cache: t.TempDir()}
		files, err := choose(names, modelType, p.has)
		if err != nil {
			return
		}
		for _, name := range files {
			if filepath.Dir(filepath.Join(p.Dir(), name)) != p.Dir() || !slices.Contains(names, name) || strings.ContainsAny(name, `/\:`) {
				t.Errorf("got %q of %q", name, names)
			}
		}
		if rel, err := filepath.Rel(p.cache, p.Dir()); err != nil || !filepath.IsLocal(rel) {
			t.Errorf("got %s, outside of the cache", p.Dir())
		}
	})
}

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(home, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write(".cache/huggingface/token", "hf_home\n")
	write("hf/token", "hf_other")
	elsewhere := write("elsewhere", " hf_elsewhere ")
	at := func(parts ...string) string { return filepath.Join(append([]string{home}, parts...)...) }
	for _, test := range []struct {
		env  map[string]string
		want Config
	}{
		{nil, Config{Dir: at(".cache", "huggingface", "hub"), Token: "hf_home"}},
		{map[string]string{"XDG_CACHE_HOME": at("xdg")}, Config{Dir: at("xdg", "huggingface", "hub")}},
		{map[string]string{"HF_HOME": at("hf"), "XDG_CACHE_HOME": at("xdg")}, Config{Dir: at("hf", "hub"), Token: "hf_other"}},
		{map[string]string{"HF_HOME": "~/hf"}, Config{Dir: at("hf", "hub"), Token: "hf_other"}},
		{map[string]string{"HF_HUB_CACHE": "$WHERE/c", "WHERE": "/w", "HF_HOME": at("hf"), "HF_TOKEN": "hf_env"}, Config{Dir: "/w/c", Token: "hf_env"}},
		{map[string]string{"HF_TOKEN_PATH": elsewhere, "HF_ENDPOINT": "http://mirror", "HF_HUB_OFFLINE": "yes"},
			Config{Dir: at(".cache", "huggingface", "hub"), Token: "hf_elsewhere", Endpoint: "http://mirror", Offline: true}},
		{map[string]string{"HUGGINGFACE_HUB_CACHE": "/old", "HUGGING_FACE_HUB_TOKEN": "hf_old", "TRANSFORMERS_OFFLINE": "1"}, Config{Dir: "/old", Token: "hf_old", Offline: true}},
		{map[string]string{"HF_HUB_OFFLINE": "0", "HF_TOKEN": "x"}, Config{Dir: at(".cache", "huggingface", "hub"), Token: "x"}},
	} {
		if got := FromEnvironment(func(name string) string { return test.env[name] }, home); got != test.want {
			t.Errorf("%v:\n got %+v\nwant %+v", test.env, got, test.want)
		}
	}
	if got := FromEnvironment(func(string) string { return "" }, ""); got != (Config{}) {
		t.Errorf("without a home: got %+v", got)
	}
	for _, endpoint := range []string{"huggingface.co", "ftp://x", "http://", "://"} {
		if _, err := NewClient(Config{Dir: home, Endpoint: endpoint}); err == nil {
			t.Errorf("%s: got no error", endpoint)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "": 0, "soon": 0, "-3": 0, "999999999": time.Hour,
		"Wed, 01 May 2024 12:00:09 GMT": 9 * time.Second, "Wed, 01 May 2024 11:00:00 GMT": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}
