package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const goldens = "../testdata/goldens/"

func openGolden(t *testing.T, name string, options Options) *Checkpoint {
	t.Helper()
	return mustOpen(t, goldens+name, options)
}

func mustOpen(t *testing.T, dir string, options Options) *Checkpoint {
	t.Helper()
	c, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// writeFolder makes a folder of files.
func writeFolder(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(goldens + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOpenHuggingFace(t *testing.T) {
	tests := []struct {
		name      string
		dtype     DType
		modelType string
		shapes    map[string][]int
	}{
		{"mono", F16, "musicgen", map[string][]int{
			"decoder.model.decoder.embed_tokens.3.weight":                   {129, 64},
			"decoder.model.decoder.layers.2.encoder_attn.q_proj.weight":     {64, 64},
			"decoder.lm_heads.0.weight":                                     {128, 64},
			"enc_to_dec_proj.weight":                                        {64, 48},
			"text_encoder.shared.weight":                                    {320, 48},
			"audio_encoder.encoder.layers.0.conv.weight_v":                  {4, 1, 7},
			"audio_encoder.quantizer.layers.0.codebook.embed":               {128, 24},
			"audio_encoder.decoder.layers.13.block.1.conv.weight_g":         {2, 1, 1},
			"text_encoder.encoder.block.1.layer.1.DenseReluDense.wi.weight": {96, 48},
		}},
		{"stereo", F32, "musicgen", map[string][]int{"decoder.lm_heads.7.weight": {64, 64}}},
		{"stereo-sharded", F32, "musicgen", map[string][]int{"audio_encoder.encoder.layers.0.conv.weight_g": {4, 1, 1}}},
		{"melody", BF16, "musicgen_melody", map[string][]int{"audio_enc_to_dec_proj.weight": {64, 12}}},
	}
	for _, test := range tests {
		c := openGolden(t, test.name, Options{})
		if c.Layout != HuggingFace || c.DType() != test.dtype || c.Dir != goldens+test.name {
			t.Errorf("%s: got %s %s in %s", test.name, c.Layout, c.DType(), c.Dir)
		}
		for name, shape := range test.shapes {
			requireShape(t, c, name, shape)
		}
		var top struct {
			ModelType string `json:"model_type"`
		}
		if err := json.Unmarshal(c.Section(""), &top); err != nil || top.ModelType != test.modelType {
			t.Errorf("%s: model_type: got %q (%v)", test.name, top.ModelType, err)
		}
		for _, section := range append(sectionNames, "generation") {
			if len(c.Section(section)) < 10 {
				t.Errorf("%s: section %s: got %s", test.name, section, c.Section(section))
			}
		}
		if strings.Contains(string(c.Section("")), "audio_channels") {
			t.Errorf("%s: the top level still holds a sub-model", test.name)
		}
	}
}

func requireShape(t *testing.T, c *Checkpoint, name string, want []int) {
	t.Helper()
	got := c.tensors[name]
	if got == nil {
		t.Errorf("%s: %s is missing", c.Dir, name)
	} else if !slices.Equal(got.Shape, want) {
		t.Errorf("%s: %s: got %v, want %v", c.Dir, name, got.Shape, want)
	}
}

func TestOpenFSEqualsDisk(t *testing.T) {
	inMemory, err := OpenFS(os.DirFS(goldens+"mono"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer inMemory.Close()
	onDisk := openGolden(t, "mono", Options{})
	requireSameTensors(t, inMemory, onDisk, "")
	if file := int64(len(readGolden(t, "mono/model.safetensors"))); inMemory.Bytes() != onDisk.Bytes() || onDisk.Bytes() > file || onDisk.Bytes() < file*9/10 {
		t.Errorf("got %d and %d bytes of tensors in a file of %d", inMemory.Bytes(), onDisk.Bytes(), file)
	}
	if tokenizer, err := inMemory.File("tokenizer.json"); err != nil || len(tokenizer) < 1000 {
		t.Errorf("tokenizer.json: got %d bytes, %v", len(tokenizer), err)
	}
}

func TestShardedEqualsSingle(t *testing.T) {
	requireSameTensors(t, openGolden(t, "stereo-sharded", Options{}), openGolden(t, "stereo", Options{}), "")
}

// requireSameTensors compares the tensors under a prefix bit for bit.
func requireSameTensors(t *testing.T, got, want *Checkpoint, prefix string) {
	t.Helper()
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(want.tensors)) {
		if strings.HasPrefix(name, prefix) {
			requireEqual(t, got.tensors[name], want.tensors[name])
			compared++
		}
	}
	for name := range got.tensors {
		if want.tensors[name] == nil && strings.HasPrefix(name, prefix) {
			t.Errorf("%s is too much", name)
		}
	}
	if compared == 0 {
		t.Errorf("nothing begins with %q", prefix)
	}
}

func TestAudiocraftEqualsHuggingFace(t *testing.T) {
	for _, name := range []string{"mono", "stereo"} {
		base := openGolden(t, name, Options{})
		c := openGolden(t, name+"-audiocraft", Options{Base: goldens + name})
		if c.Layout != Audiocraft {
			t.Errorf("%s: got layout %s", name, c.Layout)
		}
		if name == "mono" { // stereo's base is float32, the export float16
			requireSameTensors(t, c, base, "")
		}
		for tensor, want := range base.tensors {
			requireShape(t, c, tensor, want.Shape)
		}
		requireSection(t, c, base, "decoder", "delays", "segment_duration")
		requireSection(t, c, base, "")
		if string(c.Section("text_encoder")) != string(base.Section("text_encoder")) {
			t.Errorf("%s: text_encoder is not the base's", name)
		}
		if data, err := c.File("spiece.model"); err != nil || len(data) == 0 {
			t.Errorf("%s: spiece.model of the base: %v", name, err)
		}
		if !strings.Contains(string(c.Section("generation")), `"guidance_scale":3`) {
			t.Errorf("%s: generation: got %s", name, c.Section("generation"))
		}
	}
	var stereo decoderConfig
	c := openGolden(t, "stereo-audiocraft", Options{Base: goldens + "stereo"})
	if err := json.Unmarshal(c.Section("decoder"), &stereo); err != nil {
		t.Fatal(err)
	}
	if stereo.AudioChannels != 2 || stereo.SegmentDuration != 30 || !slices.Equal(stereo.Delays, []int{0, 0, 1, 1, 2, 2, 3, 3}) {
		t.Errorf("stereo: got %+v", stereo)
	}
}

// requireSection asks that every key of got, but for our own, has the value that it has in want.
func requireSection(t *testing.T, got, want *Checkpoint, section string, own ...string) {
	t.Helper()
	var ours, theirs map[string]any
	if err := errors.Join(json.Unmarshal(got.Section(section), &ours), json.Unmarshal(want.Section(section), &theirs)); err != nil {
		t.Fatal(err)
	}
	for key, value := range ours {
		if !slices.Contains(own, key) && !reflect.DeepEqual(value, theirs[key]) {
			t.Errorf("section %q: %s: got %v, want %v", section, key, value, theirs[key])
		}
	}
}

func TestAudiocraftNeedsBase(t *testing.T) {
	for name, want := range map[string]string{"mono": "facebook/musicgen-small", "stereo": "facebook/musicgen-stereo-small"} {
		_, err := Open(goldens+name+"-audiocraft", Options{})
		var needed *BaseError
		if !errors.As(err, &needed) || needed.Want != want || !strings.Contains(err.Error(), "codec") {
			t.Errorf("%s: got %v, want a BaseError for %s that names the codec", name, err, want)
		}
	}
	_, err := Open(goldens+"mono-audiocraft", Options{Base: goldens + "stereo-audiocraft"})
	if err == nil || !strings.Contains(err.Error(), "audiocraft checkpoint itself") {
		t.Errorf("got %v, want a refusal of the base", err)
	}
	if _, err := Open(goldens+"mono-audiocraft", Options{Base: goldens + "none"}); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("got %v, want ErrNoCheckpoint for the base", err)
	}
}

func TestReleasedName(t *testing.T) {
	for want, c := range map[string]struct {
		width, codebooks int
		melody           bool
	}{
		"facebook/musicgen-small":               {1024, 4, false},
		"facebook/musicgen-stereo-large":        {2048, 8, false},
		"facebook/musicgen-melody":              {1536, 4, true},
		"facebook/musicgen-stereo-melody-large": {2048, 8, true},
	} {
		checkpoint := &Checkpoint{tensors: map[string]*Tensor{}}
		for q := range c.codebooks {
			checkpoint.tensors[fmt.Sprintf("decoder.model.decoder.embed_tokens.%d.weight", q)] = &Tensor{Shape: []int{2049, c.width}}
		}
		if c.melody {
			checkpoint.tensors["audio_enc_to_dec_proj.weight"] = &Tensor{}
		}
		if got := checkpoint.released(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// torchState is a mono golden's tensors as a plain torch dict.
func torchState(c *Checkpoint, keep func(name string) bool) *dict {
	d := &dict{}
	for _, name := range slices.Sorted(maps.Keys(c.tensors)) {
		if keep(name) {
			d.entries = append(d.entries, entry{name, c.tensors[name]})
		}
	}
	return d
}

func TestOpenTorchWeights(t *testing.T) {
	mono := openGolden(t, "mono", Options{})
	all := torchState(mono, func(string) bool { return true })
	shared := mono.tensors[sharedEmbedding]
	aliased := &dict{append(slices.Clone(all.entries), entry{aliasEmbedding, shared})}
	onlyAlias := torchState(mono, func(name string) bool { return name != sharedEmbedding })
	onlyAlias.entries = append(onlyAlias.entries, entry{aliasEmbedding, shared})
	isDecoder := func(name string) bool { return strings.HasPrefix(name, "decoder.") }
	index := map[string]string{}
	for name := range mono.tensors {
		index[name] = map[bool]string{true: "a.bin", false: "b.bin"}[isDecoder(name)]
	}
	indexText, _ := json.Marshal(map[string]any{"weight_map": index})
	for name, files := range map[string]map[string][]byte{
		"single":     {"pytorch_model.bin": torchFileOf(all)},
		"both names": {"pytorch_model.bin": torchFileOf(aliased)},
		"other name": {"pytorch_model.bin": torchFileOf(onlyAlias)},
		"shards": {
			"pytorch_model.bin.index.json": indexText,
			"a.bin":                        torchFileOf(torchState(mono, isDecoder)),
			"b.bin":                        torchFileOf(torchState(mono, func(n string) bool { return !isDecoder(n) })),
		},
	} {
		files[configFile] = readGolden(t, "mono/config.json")
		c, err := Open(writeFolder(t, files), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		requireSameTensors(t, c, mono, "")
		c.Close()
	}
}

func TestHuggingFaceWinsWhereComplete(t *testing.T) {
	files := map[string][]byte{
		configFile:          readGolden(t, "mono/config.json"),
		"model.safetensors": readGolden(t, "mono/model.safetensors"),
		stateDictFile:       readGolden(t, "mono-audiocraft/state_dict.bin"),
	}
	if c := mustOpen(t, writeFolder(t, files), Options{}); c.Layout != HuggingFace {
		t.Errorf("complete: got %s", c.Layout)
	}
	delete(files, "model.safetensors")
	files["model.safetensors.index.json"] = []byte(`{"weight_map":{"a":"lost.safetensors"}}`)
	if c := mustOpen(t, writeFolder(t, files), Options{Base: goldens + "mono"}); c.Layout != Audiocraft {
		t.Errorf("shard lost: got %s", c.Layout)
	}
	delete(files, stateDictFile)
	if _, err := Open(writeFolder(t, files), Options{}); err == nil || !strings.Contains(err.Error(), "lost.safetensors") {
		t.Errorf("got %v, want the lost shard's name", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	config, model := readGolden(t, "mono/config.json"), readGolden(t, "mono/model.safetensors")
	with := func(key, value string) []byte {
		var object map[string]json.RawMessage
		json.Unmarshal(config, &object)
		object[key] = json.RawMessage(value)
		text, _ := json.Marshal(object)
		return text
	}
	var format *FormatError
	var unsupported *UnsupportedError
	tests := []struct {
		name   string
		files  map[string][]byte
		kind   any // a pointer for errors.As, or nil for ErrNoCheckpoint
		inText string
	}{
		{"nothing", nil, nil, "model.safetensors"},
		{"weights alone", map[string][]byte{"model.safetensors": model}, nil, configFile},
		{"config alone", map[string][]byte{configFile: config}, nil, "model.safetensors"},
		{"config is no object", map[string][]byte{configFile: []byte("[]"), "model.safetensors": model}, &format, configFile},
		{"config is null", map[string][]byte{configFile: []byte("null"), "model.safetensors": model}, &format, configFile},
		{"no model_type", map[string][]byte{configFile: []byte("{}"), "model.safetensors": model}, &format, "model_type"},
		{"other model", map[string][]byte{configFile: []byte(`{"model_type":"llama"}`), "model.safetensors": model}, &unsupported, "llama"},
		{"section missing", map[string][]byte{configFile: with("decoder", "null"), "model.safetensors": model}, &format, "decoder"},
		{"bad generation", map[string][]byte{configFile: config, "model.safetensors": model, generationFile: []byte("{")}, &format, generationFile},
		{"empty weights", map[string][]byte{configFile: config, "model.safetensors": {}}, &format, "empty"},
		{"cut weights", map[string][]byte{configFile: config, "model.safetensors": model[:len(model)-1]}, &format, "cut short"},
		{"LFS config", map[string][]byte{configFile: []byte("version https://git-lfs.github.com/spec/v1"), "model.safetensors": model}, &format, "git lfs pull"},
		{"shard elsewhere", map[string][]byte{configFile: config, "model.safetensors.index.json": []byte(`{"weight_map":{"a":"../x.safetensors"}}`)}, &format, "plain name"},
		{"no map", map[string][]byte{configFile: config, "model.safetensors.index.json": []byte(`{"weight_map":[]}`)}, &format, "weight_map"},
		{"index lies", map[string][]byte{configFile: config, "model.safetensors.index.json": []byte(`{"weight_map":{"ghost":"x.safetensors"}}`), "x.safetensors": model}, &format, "ghost"},
		{"state without tensors", map[string][]byte{stateDictFile: torchFileOf(dictOf("best_state", &dict{}))}, &format, "best_state"},
	}
	for _, test := range tests {
		_, err := Open(writeFolder(t, test.files), Options{})
		right := test.kind == nil && errors.Is(err, ErrNoCheckpoint) || test.kind != nil && errors.As(err, test.kind)
		if !right || !strings.Contains(err.Error(), test.inText) {
			t.Errorf("%s: got %T %v, want %T with %q", test.name, err, err, test.kind, test.inText)
		}
	}
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "none"), goldens + "mono/config.json"} {
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrNoCheckpoint) {
			t.Errorf("%q: got %v, want ErrNoCheckpoint", dir, err)
		}
	}
}

func TestFile(t *testing.T) {
	c := openGolden(t, "mono", Options{})
	if _, err := c.File("vocab.txt"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	for _, name := range []string{"../stereo/config.json", "/etc/hostname", ""} {
		if _, err := c.File(name); err == nil {
			t.Errorf("%q was read", name)
		}
	}
	huge := folder{fsys: fstest.MapFS{"big": {Data: make([]byte, maxSmallFile+1)}}}
	var format *FormatError
	if _, err := huge.read("big"); !errors.As(err, &format) {
		t.Errorf("got %v, want a limit on small files", err)
	}
}

func TestCloseTwice(t *testing.T) {
	c, err := Open(goldens+"mono-audiocraft", Options{Base: goldens + "mono"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
}

// FuzzShards: whatever an index says, its shards are files of the folder, and every tensor is in one of them.
func FuzzShards(f *testing.F) {
	const index = "model.safetensors.index.json"
	f.Add([]byte(`{"metadata":{"total_size":8},"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"one.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../one.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"sub/one.safetensors","b":"C:one"}}`))
	f.Add([]byte(`{"weight_map":{"a":".","b":"","c":"sub"}}`))
	f.Add([]byte(`{"weight_map":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		files := fstest.MapFS{index: {Data: text}, "one.safetensors": {}, "two.safetensors": {}, "sub/one.safetensors": {}}
		shards, err := folder{fsys: files}.shards(index)
		if err != nil {
			return
		}
		tensors := 0
		for shard, names := range shards {
			if files[shard] == nil || strings.Contains(shard, "/") {
				t.Errorf("got shard %q", shard)
			}
			tensors += len(names)
		}
		if tensors == 0 {
			t.Errorf("no tensors in %s", text)
		}
	})
}
