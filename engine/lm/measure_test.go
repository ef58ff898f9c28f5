package lm_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"segue/engine/kern"
	"segue/engine/lm"
)

// What a step reads grows with each column by a key and a value per layer, row and head, and by nothing else; measuring the
// linears leaves the music as it was.
func TestStepBytes(t *testing.T) {
	f := open(t, "mono", 1)
	ctx, c := context.Background(), f.model.Config.Decoder
	text := f.condition(t, "drums")
	defer text.Free()
	prefix, err := f.model.LM.Prefill(ctx, f.stream, text, make([]int32, 3*c.Codebooks), 3, true)
	if err != nil {
		t.Fatal(err)
	}
	defer prefix.Free()
	if rows := prefix.Rows(3); rows != 6 {
		t.Errorf("got %d rows, want 6", rows)
	}
	const columns, variations = 4, 3 // all of them the prefix's
	column := int64(c.Layers * 2 * c.Width * 4)
	start := prefix.StepBytes(f.model.LM, variations, columns)
	if got := prefix.StepBytes(f.model.LM, variations, columns+5) - start; got != 5*6*column {
		t.Errorf("five columns of six rows: got %d bytes more, want %d", got, 5*6*column)
	}
	weights := f.model.LM.WeightBytes(true)
	if cached := start - weights - text.Bytes(); cached != columns*2*column {
		t.Errorf("the prefix: got %d bytes, want those of %d columns of two rows, once: %d", cached, columns, columns*2*column)
	}
	params := int64(c.Layers*(6*c.Width*c.Width+2*c.Width*c.FFN) + c.Codebooks*c.Entries*c.Width)
	if weights < 2*params || weights > 5*params { // stored as halves or floats, in panels that are filled up
		t.Errorf("weights: got %d bytes, want at least %d", weights, 2*params)
	}
	if less := weights - f.model.LM.WeightBytes(false); less < int64(c.Layers*2*c.Width*c.Width*2) {
		t.Errorf("without a text: got %d bytes less, want cross-attention's", less)
	}
	how := lm.Sampling{Guidance: 3, Temperature: 1, TopP: 1}
	generate := func() []int32 {
		takes, err := f.model.LM.Generate(ctx, f.stream, prefix, []uint64{1}, 8, how, func(int, int) {})
		if err != nil {
			t.Fatal(err)
		}
		return takes[0]
	}
	want := generate()
	for range 3 {
		read := &readBytes{Stream: f.stream}
		if err := prefix.Linears(f.model.LM, read, variations); err != nil {
			t.Fatal(err)
		}
		if want := f.model.LM.LayerBytes(true); read.bytes != want {
			t.Errorf("the linears read %d bytes, want %d", read.bytes, want)
		}
	}
	if !slices.Equal(generate(), want) {
		t.Error("other codes after measuring")
	}
}

// readBytes is a stream that adds up the weights that linears read.
type readBytes struct {
	kern.Stream
	bytes int64
}

func (r *readBytes) Linear(a kern.Linear) {
	r.bytes += a.W.Bytes()
	r.Stream.Linear(a)
}

// Guided mixes what follows each column with a text and without one, and leaves out what a melody model says before column 0.
func TestGuided(t *testing.T) {
	for _, variant := range []string{"mono", "melody"} {
		f := open(t, variant, 1)
		c, m, text := &f.model.Config.Decoder, f.model.LM, f.condition(t, "drums")
		const columns = 5
		grid := c.Delayed(nil, 0, columns)
		last := func(logits []float32, err error) []float32 {
			t.Helper()
			if err != nil || len(logits) < columns*c.Codebooks*c.Entries {
				t.Fatalf("%s: got %d logits, %v", variant, len(logits), err)
			}
			return logits[len(logits)-columns*c.Codebooks*c.Entries:]
		}
		told := last(m.TeacherForced(t.Context(), f.stream, text, grid, columns))
		untold := last(m.TeacherForced(t.Context(), f.stream, text.Nothing(), grid, columns))
		mixed := slices.Clone(untold)
		for i, u := range untold {
			mixed[i] += 3 * (told[i] - u)
		}
		for guidance, want := range map[float32][]float32{1: told, 3: mixed} {
			got, err := m.Guided(t.Context(), f.stream, text, grid, columns, guidance)
			if err != nil || !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-5 }) {
				t.Errorf("%s, guidance %g: other logits, %v", variant, guidance, err)
			}
		}
		if slices.Equal(told, untold) {
			t.Errorf("%s: a text changes nothing", variant)
		}
	}
}
