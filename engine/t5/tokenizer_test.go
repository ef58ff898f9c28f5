package t5

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const goldens = "../../testdata/goldens"

func read(t testing.TB, elements ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t testing.TB, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden is the part of golden.json that concerns texts.
type golden struct {
	Texts    []string  `json:"texts"`
	TokenIDs [][]int32 `json:"token_ids"`
}

func TestGoldenTokens(t *testing.T) {
	for _, variant := range []string{"mono", "stereo", "melody"} {
		var want golden
		decode(t, read(t, goldens, variant, "golden.json"), &want)
		fromJSON, err := NewTokenizer(read(t, goldens, variant, "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		fromModel, err := NewSentencePiece(read(t, goldens, variant, "spiece.model"))
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range want.Texts {
			if got := fromJSON.Encode(text); !slices.Equal(got, want.TokenIDs[i]) {
				t.Errorf("%s tokenizer.json %q: got %v, want %v", variant, text, got, want.TokenIDs[i])
			}
			if got := fromModel.Encode(text); !slices.Equal(got, want.TokenIDs[i]) {
				t.Errorf("%s spiece.model %q: got %v, want %v", variant, text, got, want.TokenIDs[i])
			}
		}
	}
}

// vectors are what the reference tokenizers make of a vocabulary and of changes to tokenizer.json.
type vectors struct {
	Vocab   []piece `json:"vocab"`
	Entries []struct {
		Name  string                     `json:"name"` // "" for spiece.model
		Patch map[string]json.RawMessage `json:"patch"`
		Cases [][2]json.RawMessage       `json:"cases"` // text, ids
	} `json:"entries"`
}

// TestVectors compares with the reference tokenizers on the corners of Unicode, for every spelling of the file
// (scripts/golden/tokenizer_vectors.py).
func TestVectors(t *testing.T) {
	var want vectors
	data := read(t, "testdata", "vectors.json")
	decode(t, data, &want)
	for _, v := range want.Entries {
		tokenizer, err := NewSentencePiece(modelOf(t, want.Vocab))
		if v.Name != "" {
			tokenizer, err = NewTokenizer(patched(t, data, v.Patch))
		}
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		for _, c := range v.Cases {
			var text string
			var want []int32
			decode(t, c[0], &text)
			decode(t, c[1], &want)
			if got := tokenizer.Encode(text); !slices.Equal(got, want) {
				t.Errorf("%s: %+q: got %v, want %v", v.Name, text, got, want)
			}
		}
	}
}

// patched is the golden tokenizer.json with the vocabulary of the vectors and some of its keys replaced; "CHARSMAP" stands
// for its normalizer.
func patched(t *testing.T, vectors []byte, patch map[string]json.RawMessage) []byte {
	t.Helper()
	var file, model, source map[string]json.RawMessage
	decode(t, read(t, goldens, "mono", "tokenizer.json"), &file)
	decode(t, file["model"], &model)
	decode(t, vectors, &source)
	model["vocab"] = source["vocab"]
	charsmap := string(file["normalizer"])
	maps.Copy(file, patch)
	file["model"] = encode(t, model)
	return []byte(strings.ReplaceAll(string(encode(t, file)), `"CHARSMAP"`, charsmap))
}

// modelOf is a spiece.model of that vocabulary, with the golden file's charsmap.
func modelOf(t *testing.T, vocab []piece) []byte {
	t.Helper()
	var file struct {
		Normalizer normalizerFile `json:"normalizer"`
	}
	decode(t, read(t, goldens, "mono", "tokenizer.json"), &file)
	kinds := map[string]uint64{"<pad>": pieceControl, endOfText: pieceControl, "<unk>": pieceUnknown}
	var model []byte
	for _, p := range vocab {
		model = appendPiece(model, p.text, float32(p.score), max(kinds[p.text], pieceNormal))
	}
	return appendBytes(model, 3, appendBytes(nil, 2, file.Normalizer.Charsmap))
}

// smallTokenizer is a whole tokenizer.json of five pieces, to be altered by tests.
const smallTokenizer = `{
	"added_tokens": [{"id": 1, "content": "</s>"}],
	"normalizer": null,
	"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": true},
	"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}],
		"special_tokens": {"</s>": {"ids": [1]}}},
	"model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
		"vocab": [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["▁", -2], ["ab", -3]]}}`

func TestTokenizerRefuses(t *testing.T) {
	if _, err := NewTokenizer([]byte(smallTokenizer)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`{`, `[`, "tokenizer.json"},
		{`"Unigram"`, `"BPE"`, "want Unigram"},
		{`"byte_fallback": false`, `"byte_fallback": true`, "byte_fallback"},
		{`"unk_id": 2`, `"unk_id": null`, "unk_id"},
		{`"unk_id": 2`, `"unk_id": 5`, "got id 5"},
		{`["ab", -3]`, `["▁", -3]`, "pieces 3 and 4"},
		{`["ab", -3]`, `["", -3]`, "got 0 bytes"},
		{`["ab", -3]`, `["ab", -1e300]`, "log probability"},
		{`["ab", -3]`, `["ab", -3, 4]`, "got 3 values"},
		{`["ab", -3]`, `["ab"]`, "got 1 values"},
		{`"id": 1, "content"`, `"id": -1, "content"`, "got id -1"},
		{`"content"`, `"single_word": true, "content"`, "single_word"},
		{`"normalizer": null`, `"normalizer": {"type": "Lowercase"}`, `got "Lowercase"`},
		{`"normalizer": null`, `"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}`, "at least 4"},
		{`"normalizer": null`, `"normalizer": {"type": "Replace", "pattern": {"Regex": "a+"}, "content": "b"}`, "Replace"},
		{`"type": "Metaspace"`, `"type": "ByteLevel"`, "want Metaspace"},
		{`"replacement": "▁"`, `"replacement": "_"`, "replacement"},
		{`"add_prefix_space": true`, `"prepend_scheme": "last"`, `got "last"`},
		{`"add_prefix_space": true`, `"add_prefix_space": false, "prepend_scheme": "always"`, "want never"},
		{`"TemplateProcessing"`, `"ByteLevel"`, "post_processor"},
		{`"ids": [1]`, `"ids": [1, 1]`, "want one"},
	} {
		altered := strings.Replace(smallTokenizer, c.old, c.new, 1)
		if _, err := NewTokenizer([]byte(altered)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.new, err, c.want)
		}
	}
}

func TestInvalidUTF8IsUnknown(t *testing.T) {
	tokenizer, err := NewTokenizer([]byte(smallTokenizer))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tokenizer.Encode("ab\xffab \xc3"), []int32{3, 4, 2, 4, 3, 2, 1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// checkIDs holds what every tokenizer promises of every text.
func checkIDs(t *testing.T, tokenizer *Tokenizer, text string) {
	ids := tokenizer.Encode(text)
	if ids[len(ids)-1] != tokenizer.eos {
		t.Fatalf("%q: got last id %d, want %d", text, ids[len(ids)-1], tokenizer.eos)
	}
	for _, id := range ids {
		if id < 0 || id >= maxPieces {
			t.Fatalf("%q: got id %d, want below %d", text, id, maxPieces)
		}
	}
	if again := tokenizer.Encode(text); !slices.Equal(ids, again) {
		t.Fatalf("%q: got %v, then %v", text, ids, again)
	}
}

// FuzzTokenizerFile: any file is refused or makes a tokenizer that keeps its promises.
func FuzzTokenizerFile(f *testing.F) {
	f.Add([]byte(smallTokenizer))
	f.Add([]byte(strings.Replace(smallTokenizer, "null", `{"type": "Precompiled", "precompiled_charsmap": "`+smallCharsmapBase64()+`"}`, 1)))
	f.Add(smallModel(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, open := range []func([]byte) (*Tokenizer, error){NewTokenizer, NewSentencePiece} {
			tokenizer, err := open(data)
			if err != nil {
				continue
			}
			for _, text := range []string{"", "ab  ab</s>b", "ﬁ e\u0301 \x00\xff日本\r\n▁"} {
				checkIDs(t, tokenizer, text)
			}
		}
	})
}

// FuzzEncode: any text gets ids of the vocabulary, from both files.
func FuzzEncode(f *testing.F) {
	fromJSON, err := NewTokenizer(read(f, goldens, "mono", "tokenizer.json"))
	if err != nil {
		f.Fatal(err)
	}
	fromModel, err := NewSentencePiece(read(f, goldens, "mono", "spiece.model"))
	if err != nil {
		f.Fatal(err)
	}
	var seeds golden
	decode(f, read(f, goldens, "mono", "golden.json"), &seeds)
	for _, text := range seeds.Texts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkIDs(t, fromJSON, text)
		checkIDs(t, fromModel, text)
	})
}

func BenchmarkEncode(b *testing.B) {
	tokenizer, err := NewTokenizer(read(b, goldens, "mono", "tokenizer.json"))
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("lofi hip hop beat with dusty drums, 90 bpm — warm ½ pad ", 20)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tokenizer.Encode(text)
	}
}
