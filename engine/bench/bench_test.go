package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/engine/audio"
	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
	"segue/weights"
)

// tiny measures testdata/tiny for as short as can be.
func tiny() Options {
	return Options{
		Model: "tiny",
		Open:  func() (*weights.Checkpoint, error) { return weights.Open("../../testdata/tiny", weights.Options{}) },
		OpenBackend: func(threads int) (kern.Backend, error) {
			return cpukern.Open(cpukern.Options{Threads: threads})
		},
		PromptSeconds: 0.4, Seconds: 0.4, Text: "drums & <bass>", Seed: 7, Repeats: 1, Contexts: []int{20, 40},
		Matrix: Matrix{
			Quantizations: []kern.Precision{kern.F16, kern.Q8}, KVCaches: []kern.Precision{kern.F16}, Threads: []int{1, 2},
			Guidance: []float64{3, 1}, Variations: []int{1, 2},
		},
		Progress: func(int, int, string) {},
	}
}

func TestRun(t *testing.T) {
	o := tiny()
	done, total := 0, 0
	o.Progress = func(d, n int, _ string) { done, total = d, n }
	report, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if done != 14 || total != 16 { // those of one guidance are done together
		t.Errorf("last progress: got %d of %d, want 14 of 16", done, total)
	}
	checkRows(t, report)
	checkVariants(t, report)
	t.Run("table", func(t *testing.T) { checkTable(t, report) })
	t.Run("json", func(t *testing.T) { checkJSON(t, report) })
	t.Run("html", func(t *testing.T) { checkHTML(t, report) })
	t.Run("export", func(t *testing.T) { checkExport(t, report) })
}

func checkRows(t *testing.T, report *Report) {
	seen := map[string]int{}
	for _, r := range report.Rows {
		seen[r.Stage]++
		if r.Model != "tiny" || r.Device != "cpu" || r.Threads < 1 || r.Threads > 2 || r.MS <= 0 || r.ReadGBps <= 0 {
			t.Errorf("incomplete row: %+v", r)
		}
		share := float64(r.Bytes) / (r.MS / 1e3) / (r.ReadGBps * 1e9)
		if math.Abs(r.Share-share) > 0.01*share+1e-3 {
			t.Errorf("%s: got share %g, want %g", r.Stage, r.Share, share)
		}
	}
	for stage, want := range map[string]int{
		StageLoad: 4, StageText: 2, StageEncode: 2, StageCodec: 2, StagePrefill: 8, StageLinears: 16, StageStep: 32, StageTotal: 16,
	} {
		if seen[stage] != want {
			t.Errorf("%s: got %d rows, want %d", stage, seen[stage], want)
		}
	}
}

func checkVariants(t *testing.T, report *Report) {
	if len(report.Variants) != 16 {
		t.Fatalf("got %d variants, want 16", len(report.Variants))
	}
	for _, v := range report.Variants {
		rows := v.Variations
		if v.Guidance != 1 {
			rows *= 2
		}
		if v.Rows != rows || len(v.Steps) != 2 || len(v.Along) == 0 || v.Request.TotalMS <= 0 || v.Request.Realtime <= 0 {
			t.Errorf("incomplete variant: %+v", v)
		}
		if first := v.Along[0].Context; first != 22 {
			t.Errorf("the first step sees %d columns, want 22: 20 frames, column 0, and the one that it feeds", first)
		}
		if v.Threads == 2 {
			if v.Quality != nil {
				t.Error("quality was measured twice")
			}
			continue
		}
		limit := map[string]float64{"f16": 1e-4, "q8": 0.1}[v.Quantization]
		if v.Quality == nil || !(v.Quality.Mean.KL <= limit) || v.Quality.Mean.Top1 < 0.8 || v.Quality.SeedMelDB <= 0 {
			t.Errorf("%s: quality: got %+v", v.short(), v.Quality)
		}
	}
}

func checkTable(t *testing.T, report *Report) {
	var b strings.Builder
	if err := report.Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tiny", "ms @20", "ms @40", "f16", "q8", "\nRecommended: ", "\nA request of the recommended one takes "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "%!") {
		t.Errorf("a format went wrong:\n%s", b.String())
	}
}

func checkJSON(t *testing.T, report *Report) {
	var b bytes.Buffer
	if err := report.JSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Machine map[string]any
		Rows    []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Machine["device"] != "cpu" {
		t.Errorf("machine: got %v", got.Machine)
	}
	for _, key := range []string{"model", "device", "quantization", "kvCache", "threads", "rows", "context", "stage", "ms", "bytes", "readGBps", "share"} {
		for _, row := range got.Rows {
			if _, ok := row[key]; !ok {
				t.Fatalf("a row lacks %s: %v", key, row)
			}
		}
	}
}

// The page needs no network, its drawings are well-formed, and texts are escaped.
func checkHTML(t *testing.T, report *Report) {
	var b bytes.Buffer
	if err := report.HTML(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Contains(page, "http:") || strings.Contains(page, "https:") || strings.Contains(page, "<script") {
		t.Error("the page reaches for something outside")
	}
	if strings.Contains(page, "<bass>") || !strings.Contains(page, "&lt;bass&gt;") {
		t.Error("the text is not escaped")
	}
	if strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Error("a number is none")
	}
	plots := strings.Split(page, "<svg viewBox=\"0 0 760")[1:]
	if len(plots) != 3 {
		t.Fatalf("got %d plots, want 3", len(plots))
	}
	for _, rest := range plots {
		drawing, _, _ := strings.Cut(rest, "</svg>")
		decoder := xml.NewDecoder(strings.NewReader("<svg a=\"" + drawing + "</svg>"))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkExport(t *testing.T, report *Report) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	for range 2 { // the second replaces the first
		if err := report.Export(dir); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 + 2 + 2*2*3; len(entries) != want { // pages; references; quantizations · guidance · takes
		t.Errorf("got %d files, want %d: %v", len(entries), want, entries)
	}
	for _, v := range report.Variants[:8] {
		for _, name := range v.Files {
			reader, err := audio.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info := reader.Info(); info.Frames != 20*640 || info.Rate != 32000 {
				t.Errorf("%s: got %+v, want 0.4 s", name, info)
			}
			reader.Close()
		}
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	o := tiny()
	o.Progress = func(done, _ int, _ string) {
		if done > 0 {
			cancel(cause)
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
}

func TestOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"seconds: got 0":        func(o *Options) { o.Seconds = 0 },
		"prompt-seconds":        func(o *Options) { o.PromptSeconds = math.NaN() },
		"repeats: got 0":        func(o *Options) { o.Repeats = 0 },
		"seed: got -1":          func(o *Options) { o.Seed = -1 },
		"text":                  func(o *Options) { o.Text = "" },
		"quantization":          func(o *Options) { o.Matrix.Quantizations = nil },
		"kv-cache: got q4":      func(o *Options) { o.Matrix.KVCaches = []kern.Precision{kern.Q4} },
		"threads: got -1":       func(o *Options) { o.Matrix.Threads = []int{1, -1} },
		"guidance: got -1":      func(o *Options) { o.Matrix.Guidance = []float64{-1} },
		"variations: got 17":    func(o *Options) { o.Matrix.Variations = []int{17} },
		"context: got 4, want":  func(o *Options) { o.Contexts = []int{4} },
		"context: got 9999, wa": func(o *Options) { o.Contexts = []int{9999} },
		"missing.wav":           func(o *Options) { o.Clip = "missing.wav" },
	} {
		o := tiny()
		change(&o)
		o.Progress = func(_, _ int, what string) {
			if what != "the reference" { // which is loaded first, and tells the window
				t.Errorf("%s: got as far as %s", want, what)
			}
		}
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// A clip is heard at its end, at the model's rate.
func TestClip(t *testing.T) {
	o := tiny()
	o.Clip, o.Contexts, o.PromptSeconds = "../../testdata/clip.wav", nil, 9 // of its 8
	o.Matrix = Matrix{[]kern.Precision{kern.Stored}, []kern.Precision{kern.F32}, []int{1}, []float64{1}, []int{1}}
	report, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	v := report.Variants[0]
	if report.Settings.PromptSeconds != 8 {
		t.Errorf("got a prompt of %g s, want the clip's 8", report.Settings.PromptSeconds)
	}
	if len(v.Steps) != 3 || v.Steps[0].Context != 402 || v.Quality.Mean.KL != 0 || v.Quality.Mean.Top1 < 0.9999 {
		t.Errorf("got %+v, quality %+v", v.Steps, v.Quality)
	}
}

// What is not varied is as in a request; only the reference is exact.
func TestPrecisions(t *testing.T) {
	got := precisionPair{kern.Q4, kern.F32}.precisions()
	if want := (musicgen.Precisions{Decoder: lm.Precisions{Linears: kern.Q4, Cache: kern.F32}, Codec: kern.F16}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestShapes(t *testing.T) {
	published := map[string]float64{"small": 0.42e9, "medium": 1.84e9, "large": 3.25e9}
	for _, name := range shapeNames {
		c, err := OpenShape(name)
		if err != nil {
			t.Fatal(err)
		}
		config, err := musicgen.ParseConfig(c)
		if err != nil {
			t.Fatal(err)
		}
		d := config.Decoder
		weights := float64(d.Layers*(8*d.Width*d.Width+2*d.Width*d.FFN) + 2*d.Codebooks*d.Entries*d.Width)
		if want := published[name]; math.Abs(weights/want-1) > 0.05 {
			t.Errorf("%s: got %.3g weights, want %.3g", name, weights, want)
		}
	}
	if _, err := OpenShape("huge"); err == nil {
		t.Error("huge: got no error")
	}
}

// A file is replaced; what is none, or has no place, is refused early and late, and nothing is left behind.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("file"), []byte("old"), 0o600), os.Mkdir(at("folder"), 0o700), os.Symlink("file", at("link"))); err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }
	for _, name := range []string{"folder", "link", filepath.Join("none", "report.json")} {
		for what, err := range map[string]error{"check": CheckFile(at(name)), "write": WriteFile(at(name), write)} {
			if err == nil || !strings.Contains(err.Error(), at(name)) {
				t.Errorf("%s: %s: got %v, want a refusal", name, what, err)
			}
		}
	}
	if err := errors.Join(CheckFile(at("file")), CheckFile(at("fresh")), WriteFile(at("fresh"), write)); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(at("file")); string(got) != "old" {
		t.Errorf("a check left %q, %v, want old", got, err)
	}
	if err := WriteFile(at("file"), write); err != nil {
		t.Error(err)
	}
	if err := WriteFile(at("file"), func(io.Writer) error { return io.ErrShortWrite }); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want %v", err, io.ErrShortWrite)
	}
	if got, err := os.ReadFile(at("file")); string(got) != "new" {
		t.Errorf("got %q, %v, want new", got, err)
	}
	if left, err := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("the folder holds %v, %v, want file, folder, fresh and link", left, err)
	}
}
