package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"segue/engine"
)

// melodyModel is a melody model of so many positions: 10 are for the chroma, 3 for the delay, at most 50 for one second of
// music, and the rest for a text.
func (w world) melodyModel(t testing.TB, positions int) string {
	t.Helper()
	name := strconv.Itoa(positions)
	dir := filepath.Join(w.dir, name)
	if err := os.CopyFS(dir, os.DirFS("../testdata/goldens/melody")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(`"chroma_length": 235`, `"chroma_length": 10`,
		`"max_position_embeddings": 2048`, `"segment_duration": 1, "max_position_embeddings": `+name).Replace(string(config))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A melody model holds text and music in one window. What does not fit is refused before the model works for it, also when
// prompt and text were seen before.
func TestMelodyWithLongText(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 0.5)
	wide, narrow := w.melodyModel(t, 70), w.melodyModel(t, 63)
	for model, want := range map[string]float64{wide: 1, narrow: 0.98} {
		if info, err := w.engine.Model(context.Background(), model); err != nil || info.MaxSeconds != want {
			t.Errorf("%s: got %g s, %v, want %g", model, info.MaxSeconds, err, want)
		}
	}
	for _, test := range []struct {
		model   string
		tokens  int
		seconds float64 // after a prompt of as many as make the whole
		kind    engine.Kind
		want    string
	}{
		{wide, 0, 1, "", ""},
		{wide, 7, 1, "", ""},
		{wide, 8, 0.98, "", ""}, // no room for a frame to look ahead to
		{wide, 8, 1, engine.BadParam, "text: got 8 tokens, want at most 7; say it shorter, or ask for less music"},
		{wide, 60, 0.2, engine.BadParam, "text: got 60 tokens, want at most 47;"},
		{narrow, 0, 0.98, "", ""},
		{narrow, 1, 0.98, "", ""},
		{narrow, 0, 1, engine.AudioLength, "want at most 0.88"},
		{narrow, 3, 0.98, engine.BadParam, "text: got 3 tokens, want at most 1;"},
	} {
		job := engine.NewJob()
		job.Path, job.Model, job.PromptSeconds, job.Seconds, job.Seed = path, test.model, 0.1, test.seconds-0.1, 1
		if test.tokens > 0 {
			job.Text = strings.Repeat("drums ", test.tokens-1) // the last token ends the text
		}
		last := engine.Stage("")
		_, err := w.engine.Run(context.Background(), job, func(p engine.Progress) { last = p.Stage })
		var known *engine.Error
		if test.kind == "" {
			if err != nil {
				t.Errorf("%d tokens, %g s: got %v", test.tokens, test.seconds, err)
			}
		} else if !errors.As(err, &known) || known.Kind != test.kind || !strings.Contains(err.Error(), test.want) || last != engine.StageLoad {
			t.Errorf("%d tokens, %g s: got %v at %s, want %s with %q", test.tokens, test.seconds, err, last, test.kind, test.want)
		} else if known.Kind == engine.BadParam && known.Field != "text" {
			t.Errorf("%d tokens, %g s: got field %q, want text", test.tokens, test.seconds, known.Field)
		}
	}
}

// Beyond the largest seed they begin anew: each seed that is told can be asked for, and gives the same bytes.
func TestSeedsBeginAnew(t *testing.T) {
	w := newWorld(t, engine.Options{})
	const largest = 1<<53 - 1
	takes := w.run(t, func(j *engine.Job) { j.Seed, j.Variations = largest, 3 })
	for i, o := range takes.Outputs {
		if want := []int64{largest, 0, 1}[i]; o.Seed != want {
			t.Errorf("take %d: got seed %d, want %d", i, o.Seed, want)
		}
		job := engine.NewJob()
		if job.Seed = o.Seed; job.Validate() != nil {
			t.Errorf("take %d: %v", i, job.Validate())
			continue
		}
		alone := w.run(t, func(j *engine.Job) { j.Seed = o.Seed })
		if bytesOf(t, alone) != bytesOf(t, engine.Result{Outputs: []engine.Output{o}}) {
			t.Errorf("take %d differs from its seed alone", i)
		}
	}
}
