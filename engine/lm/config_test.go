package lm

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"segue/weights"
)

const published = `{"model_type":"musicgen_decoder","hidden_size":1024,"num_hidden_layers":24,"num_attention_heads":16,"ffn_dim":4096,
"num_codebooks":4,"vocab_size":2048,"audio_channels":1,"max_position_embeddings":2048,"activation_function":"gelu","pad_token_id":2048}`

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig(json.RawMessage(published), nil, 768)
	if err != nil {
		t.Fatal(err)
	}
	if c.HeadDim() != 64 || !slices.Equal(c.Delays, []int{0, 1, 2, 3}) || c.Columns(1500) != 1504 || c.MaxFrames(50) != 1500 {
		t.Errorf("got %+v", c)
	}
	stereo := strings.NewReplacer(`"num_codebooks":4`, `"num_codebooks":8`, `"audio_channels":1`, `"audio_channels":2`).Replace(published)
	if c, err = ParseConfig(json.RawMessage(stereo), nil, 768); err != nil || !slices.Equal(c.Delays, []int{0, 0, 1, 1, 2, 2, 3, 3}) {
		t.Errorf("stereo: got %v, %v", c.Delays, err)
	}
}

// In a melody model chroma and text stand before the frames, and take positions from them; no text takes one, too.
func TestMelodyPositions(t *testing.T) {
	parse := func(positions string) Config {
		t.Helper()
		c, err := ParseConfig(json.RawMessage(strings.NewReplacer("musicgen_decoder", melodyType, "2048,\"act", positions+",\"act").Replace(published)), json.RawMessage(`{}`), 768)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := parse("2048"); c.MaxFrames(50) != 1500 || c.MaxTokens(1500) != 310 {
		t.Errorf("got %d frames, and %d tokens beside them, want 1500 and 310", c.MaxFrames(50), c.MaxTokens(1500))
	}
	for positions, want := range map[string]int{"1740": 1500, "1739": 1500, "1738": 1499, "600": 361} {
		c := parse(positions)
		frames := c.MaxFrames(50)
		if rows := c.ChromaRows + 1 + c.Columns(frames) - 1; frames != want || rows > c.Positions {
			t.Errorf("%s positions: got %d frames, which take %d positions, want %d", positions, frames, rows, want)
		}
	}
	if c, err := ParseConfig(json.RawMessage(published), nil, 768); err != nil || c.MaxTokens(2045) < 1<<20 {
		t.Errorf("without a melody: got at most %d tokens, %v, want any number", c.MaxTokens(2045), err)
	}
}

// A text as wide as the decoder has no projection, which a melody model wants.
func TestTextAsWideAsDecoder(t *testing.T) {
	for kind, want := range map[string]string{"musicgen_decoder": "", melodyType: "hidden_size: got 1024"} {
		_, err := ParseConfig(json.RawMessage(strings.Replace(published, "musicgen_decoder", kind, 1)), json.RawMessage(`{}`), 1024)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", kind, err, want)
		}
	}
}

func TestParseConfigNamesEveryProblem(t *testing.T) {
	_, err := ParseConfig(json.RawMessage(`{"hidden_size":7,"activation_function":"relu","scale_embedding":true,"audio_channels":3}`), nil, 0)
	if err == nil {
		t.Fatal("got no error")
	}
	for _, field := range []string{"hidden_size", "activation_function", "scale_embedding", "audio_channels", "num_hidden_layers", "text encoder"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("got %q, want it to name %s", err, field)
		}
	}
}

// The worked example of the delay pattern: four codebooks, six frames, three of them prompt.
func TestDelayed(t *testing.T) {
	c := Config{Codebooks: 4, Entries: 99, Delays: []int{0, 1, 2, 3}}
	prompt := []int32{10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42}
	want := []int32{
		99, 10, 11, 12, 99, 99, 99, 99, 99, 99,
		99, 99, 20, 21, 22, 99, 99, 99, 99, 99,
		99, 99, 99, 30, 31, 32, 99, 99, 99, 99,
		99, 99, 99, 99, 40, 41, 42, 99, 99, 99,
	}
	grid := c.Delayed(prompt, 3, c.Columns(6))
	if !slices.Equal(grid, want) {
		t.Errorf("got %v\nwant %v", grid, want)
	}
	if got := c.undelayed(grid, 10, 0, 3); !slices.Equal(got, prompt) {
		t.Errorf("undelayed: got %v, want %v", got, prompt)
	}
	cut := c.Delayed(prompt, 3, 4) // what a prefill sees: P+1 columns
	if want := []int32{99, 10, 11, 12, 99, 99, 20, 21, 99, 99, 99, 30, 99, 99, 99, 99}; !slices.Equal(cut, want) {
		t.Errorf("cut: got %v, want %v", cut, want)
	}
}

func TestJoin(t *testing.T) {
	c := Config{Codebooks: 2}
	for _, test := range []struct{ before, after, want []int32 }{
		{[]int32{1, 2, 5, 6}, []int32{3, 7}, []int32{1, 2, 3, 5, 6, 7}},
		{nil, []int32{3, 7}, []int32{3, 7}}, // no prompt
	} {
		if got := c.Join(test.before, test.after); !slices.Equal(got, test.want) {
			t.Errorf("%v, %v: got %v, want %v", test.before, test.after, got, test.want)
		}
	}
}

// Check values of the published table, to the rounding of its float32 phases.
func TestSinusoids(t *testing.T) {
	table := sinusoids(1500, 1024, weights.F32)
	for _, check := range []struct {
		position, index int
		want            float64
	}{{1, 0, 0.5403023}, {1, 1, 0.5552462}, {1, 2, 0.5697508}, {1, 512, 0.8414710}, {1, 513, 0.8316860}, {1, 1023, 1e-4}, {1499, 1, -0.3780374}, {1499, 513, 0.9257903}} {
		if got := float64(table[check.position*1024+check.index]); math.Abs(got-check.want) > 1.5e-4 {
			t.Errorf("position %d, index %d: got %.7f, want %.7f", check.position, check.index, got, check.want)
		}
	}
}

// FuzzParseConfig: what is accepted has shapes that can be trusted, and room for music.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(published), []byte(`{}`))
	f.Add([]byte(strings.Replace(published, "musicgen_decoder", melodyType, 1)), []byte(`{"num_chroma":12,"chroma_length":235}`))
	f.Add([]byte(strings.Replace(published, `"vocab_size"`, `"delays":[0,9,0,250],"segment_duration":0.5,"vocab_size"`, 1)), []byte(`null`))
	f.Add([]byte(strings.Replace(published, `"max_position_embeddings":2048`, `"max_position_embeddings":16,"delays":[0,0,0,16]`, 1)), []byte(`null`))
	f.Add([]byte(strings.NewReplacer("musicgen_decoder", melodyType, `"max_position_embeddings":2048`, `"max_position_embeddings":16,"delays":[0,0,0,7]`).Replace(published)), []byte(`{"chroma_length":8}`))
	f.Add([]byte(strings.NewReplacer(`"max_position_embeddings":2048`, `"max_position_embeddings":16`, `"num_codebooks":4`, `"num_codebooks":64`).Replace(published)), []byte(`null`))
	f.Add([]byte(strings.NewReplacer(`"hidden_size":1024`, `"hidden_size":2`, `"num_attention_heads":16`, `"num_attention_heads":1`).Replace(published)), []byte(`null`))
	f.Fuzz(func(t *testing.T, raw, top []byte) {
		c, err := ParseConfig(raw, top, 768)
		if err != nil {
			return
		}
		if c.HeadDim()*c.Heads != c.Width || len(c.Delays) != c.Codebooks || c.Codebooks%c.Channels != 0 {
			t.Errorf("got %+v", c)
		}
		for what, n := range map[string]int{
			"width": c.Width, "layers": c.Layers, "feed-forward": c.FFN, "entries": c.Entries,
			"pairs of positions' frequencies": c.Width/2 - 1, "frames": c.MaxFrames(50), "columns": c.Columns(c.MaxFrames(50)) - 1,
		} {
			if n < 1 || n > 1<<20 {
				t.Errorf("%s: %d in %s, %s", what, n, raw, top)
			}
		}
	})
}
