package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"segue/engine"
	"segue/engine/audio"
	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/weights"
	"segue/weights/hub"
)

// quiet is a report that nobody reads.
func quiet(engine.Progress) {}

type world struct {
	engine  *engine.Engine
	backend kern.Backend
	dir     string
}

func newWorld(t testing.TB, options engine.Options) world {
	t.Helper()
	backend := options.Backend
	if backend == nil {
		backend = openBackend(t)
	}
	dir := t.TempDir()
	options.Backend, options.WorkDir, options.Home = backend, dir, dir
	options.Bundled = engine.Bundled{Name: "random-tiny", Description: "untrained", Files: os.DirFS("../testdata/tiny")}
	e, err := engine.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if held := backend.Allocated(); held != 0 {
			t.Errorf("%d bytes of device memory outlive the engine", held)
		}
	})
	return world{e, backend, dir}
}

func openBackend(t testing.TB) kern.Backend {
	t.Helper()
	backend, err := cpukern.Open(cpukern.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return backend
}

// tone writes a file of a decaying chord and returns its path.
func (w world) tone(t testing.TB, name string, f audio.Format, seconds float64) string {
	t.Helper()
	return w.file(t, name, f, int(seconds*float64(f.Rate)), func(i, c int) float32 {
		at := float64(i) / float64(f.Rate)
		return float32(0.3*math.Sin(2*math.Pi*220*at)+0.2*math.Sin(2*math.Pi*277*at+float64(c))) * float32(1-math.Mod(at, 0.5))
	})
}

// file writes frames of what sample gives for each channel, and returns the path.
func (w world) file(t testing.TB, name string, f audio.Format, frames int, sample func(i, c int) float32) string {
	t.Helper()
	x := make([]float32, frames*f.Channels)
	for i := range frames {
		for c := range f.Channels {
			x[i*f.Channels+c] = sample(i, c)
		}
	}
	path := filepath.Join(w.dir, name)
	writer, err := audio.Create(path, f, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Write(x, false); err != nil {
		t.Fatal(err)
	}
	if err := writer.Commit(); err != nil {
		t.Fatal(err)
	}
	return path
}

func (w world) run(t testing.TB, change func(*engine.Job)) engine.Result {
	t.Helper()
	job := engine.NewJob()
	job.Seconds, job.PromptSeconds, job.Seed = 0.5, 1, 1
	change(&job)
	r, err := w.engine.Run(context.Background(), job, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files lists what is in the world's folder.
func (w world) files(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func read(t testing.TB, path string) ([]float32, audio.Info) {
	t.Helper()
	r, err := audio.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x, err := r.Read(0, r.Info().Frames)
	if err != nil {
		t.Fatal(err)
	}
	return x, r.Info()
}

var stereo44 = audio.Format{Container: "wav", Bits: "16", Rate: 44100, Channels: 2}

// The main job, for rates and channels of all kinds: exact length, the host's rate and channels.
func TestContinue(t *testing.T) {
	w := newWorld(t, engine.Options{})
	for _, f := range []audio.Format{
		stereo44,
		{Container: "wav", Bits: "24", Rate: 48000, Channels: 1},
		{Container: "wav", Bits: "32f", Rate: 96000, Channels: 2},
		{Container: "flac", Bits: "24", Rate: 44100, Channels: 2},
		{Container: "wav", Bits: "16", Rate: 8000, Channels: 6},
		{Container: "wav", Bits: "16", Rate: 44101, Channels: 1},
		{Container: "wav", Bits: "24", Rate: 384000, Channels: 1},
	} {
		path := w.tone(t, "in-"+f.Bits+"-"+f.Container+"-"+string(rune('a'+f.Channels))+".x", f, 1.5)
		r := w.run(t, func(j *engine.Job) { j.Path, j.Seconds = path, 0.7123 })
		x, info := read(t, r.Outputs[0].Path)
		want := int64(math.Round(0.7123 * float64(f.Rate)))
		if info.Rate != f.Rate || info.Channels != f.Channels || info.Bits != f.Bits || info.Frames != want {
			t.Errorf("%+v: got %+v, want %d frames of the same kind", f, info, want)
		}
		if r.Outputs[0].Silent || r.Prompt == nil || r.Prompt.Seconds != 1 {
			t.Errorf("%+v: got silent %v, prompt %+v", f, r.Outputs[0].Silent, r.Prompt)
		}
		if peak, ok := audio.PeakDB(x); !ok || peak < -40 {
			t.Errorf("%+v: peak %g dB, want sound", f, peak)
		}
		os.Remove(path)
	}
}

// With include full the original is there bit for bit, and the new part is the one that continuation gives.
func TestFullKeepsTheOriginal(t *testing.T) {
	w := newWorld(t, engine.Options{})
	for _, bits := range []string{"16", "24", "32f"} {
		path := w.tone(t, "in"+bits+".wav", audio.Format{Container: "wav", Bits: bits, Rate: 44100, Channels: 2}, 1.25)
		original, info := read(t, path)
		alone := w.run(t, func(j *engine.Job) { j.Path = path })
		full := w.run(t, func(j *engine.Job) { j.Path, j.Include = path, "full" })
		got, _ := read(t, full.Outputs[0].Path)
		fresh, _ := read(t, alone.Outputs[0].Path)
		if !slices.Equal(got[:len(original)], original) {
			t.Errorf("%s: the original is not untouched", bits)
		}
		if len(got) != len(original)+len(fresh) {
			t.Errorf("%s: got %d samples, want %d and %d", bits, len(got), len(original), len(fresh))
		}
		tolerance := map[string]float64{"16": 2.1 / 32768, "24": 0, "32f": 0}[bits] // dither depends on the place in the file
		for i, v := range fresh {
			if math.Abs(float64(got[len(original)+i]-v)) > tolerance {
				t.Fatalf("%s: sample %d of the new part: got %g, want %g", bits, i, got[len(original)+i], v)
			}
		}
		if seam := full.Outputs[0].SeamSeconds; seam != float64(info.Frames)/44100 {
			t.Errorf("%s: seam at %g s, want the original's end", bits, seam)
		}
	}
}

// Weights that make no music are the model's fault, not that of the file that cannot be written; nor do infinities become a
// file of ones.
func TestModelWithoutNumbers(t *testing.T) {
	t.Run("NaN", func(t *testing.T) {
		modelWithoutNumbers(t, "audio_encoder.decoder.layers.0.", math.NaN(), func(*engine.Job) {})
	})
	t.Run("Inf", func(t *testing.T) {
		modelWithoutNumbers(t, "audio_encoder.decoder.layers.15.conv.bias", math.Inf(1), func(j *engine.Job) { j.Level, j.Bits = "none", "32f" })
	})
	t.Run("decoder", func(t *testing.T) {
		modelWithoutNumbers(t, "decoder.model.decoder.layer_norm.weight", math.NaN(), func(j *engine.Job) { j.Quantization = "none" })
	})
}

func modelWithoutNumbers(t *testing.T, where string, number float64, change func(*engine.Job)) {
	w := newWorld(t, engine.Options{})
	model := filepath.Join(w.dir, "model")
	if err := os.CopyFS(model, os.DirFS("../testdata/tiny")); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(model, "model.safetensors")
	f, err := weights.OpenSafetensors(file)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []*weights.Tensor
	for _, tensor := range f.Tensors {
		x := tensor.Floats()
		if strings.HasPrefix(tensor.Name, where) {
			x[0] = float32(number)
		}
		tensors = append(tensors, weights.FromFloats(tensor.Name, x, tensor.Shape...))
	}
	var changed bytes.Buffer
	if err := errors.Join(weights.WriteSafetensors(&changed, tensors, f.Metadata), f.Close(), os.WriteFile(file, changed.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	job := engine.NewJob()
	job.Model, job.Seconds = model, 0.1
	change(&job)
	_, err = w.engine.Run(context.Background(), job, quiet)
	var known *engine.Error
	if !errors.As(err, &known) || known.Kind != engine.ModelInvalid || known.Field != "model" {
		t.Errorf("got %v, want %s", err, engine.ModelInvalid)
	}
	if files := w.files(t); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

// The new part is as loud as the prompt is in the file, however different its sides are: a model of one channel hears them
// quieter, or not at all.
func TestLevelIsThatOfTheFile(t *testing.T) {
	w := newWorld(t, engine.Options{})
	const rate = 44100
	random := rand.New(rand.NewPCG(1, 2))
	draw := func() (x [rate]float32) {
		for i := range x {
			x[i] = 0.07 * float32(random.NormFloat64())
		}
		return x
	}
	left, right := draw(), draw()
	for name, side := range map[string]func(i int) float32{
		"dual mono":    func(i int) float32 { return left[i] },
		"uncorrelated": func(i int) float32 { return right[i] },
		"opposed":      func(i int) float32 { return -left[i] },
	} {
		path := w.file(t, name+".wav", stereo44, rate, func(i, c int) float32 {
			if c == 0 {
				return left[i]
			}
			return side(i)
		})
		x, _ := read(t, path)
		want, _ := audio.Loudness(audio.Deinterleave(x, 2), rate)
		o := w.run(t, func(j *engine.Job) { j.Path, j.CrossfadeMS = path, 0 }).Outputs[0]
		if o.Loudness == nil {
			t.Errorf("%s: got no loudness, want %.2f LUFS", name, want)
		} else if math.Abs(*o.Loudness-want) > 0.3 {
			t.Errorf("%s: got %.2f LUFS, want %.2f", name, *o.Loudness, want)
		}
	}
}

// The fade has the frames that its milliseconds round to.
func TestFadeLength(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.file(t, "in.wav", audio.Format{Container: "wav", Bits: "32f", Rate: 44100, Channels: 1}, 44100, func(int, int) float32 { return 1 })
	var takes [2][]float32
	for i, fade := range []float64{0, 350} {
		o := w.run(t, func(j *engine.Job) { j.Path, j.CrossfadeMS, j.Level = path, fade, "none" }).Outputs[0]
		takes[i], _ = read(t, o.Path)
	}
	faded := len(takes[0])
	for faded > 0 && takes[0][faded-1] == takes[1][faded-1] {
		faded--
	}
	if faded != 15435 {
		t.Errorf("350 ms fade over %d frames, want 15435", faded)
	}
}

// The new part begins where the original ends: no step larger than the music's own.
func TestSeamIsContinuous(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", audio.Format{Container: "wav", Bits: "32f", Rate: 44100, Channels: 1}, 1.25)
	r := w.run(t, func(j *engine.Job) { j.Path, j.Include = path, "full" })
	x, info := read(t, path)
	full, _ := read(t, r.Outputs[0].Path)
	step := math.Abs(float64(full[info.Frames] - full[info.Frames-1]))
	if step > 0.02 {
		t.Errorf("a step of %g at the seam of a tone of peak %g, want none", step, slices.Max(x))
	}
}

func TestPromptFromStart(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 3)
	r := w.run(t, func(j *engine.Job) { j.Path, j.PromptFrom, j.Include = path, "start", "full" })
	original, _ := read(t, path)
	got, _ := read(t, r.Outputs[0].Path)
	if o := r.Outputs[0]; o.SeamSeconds != 1 || o.Frames != 44100+22050 || !slices.Equal(got[:88200], original[:88200]) {
		t.Errorf("got %+v, want the first second untouched, then the new part", o)
	}
}

// A file shorter than the prompt asked for is used as it is; even one sample will do.
func TestShortFiles(t *testing.T) {
	w := newWorld(t, engine.Options{})
	for _, seconds := range []float64{1.0 / 44100, 0.005, 0.02, 0.5} {
		path := w.tone(t, "short.wav", stereo44, seconds)
		r := w.run(t, func(j *engine.Job) { j.Path, j.PromptSeconds, j.Seconds = path, 6, 0.1 })
		if r.Prompt.Seconds > max(seconds, 0.0201) || r.Outputs[0].Frames != 4410 {
			t.Errorf("%g s: got a prompt of %g s and %d frames", seconds, r.Prompt.Seconds, r.Outputs[0].Frames)
		}
		os.Remove(path)
	}
}

// A prompt of more seconds than there are, however many, is the whole file.
func TestPromptBeyondTheFile(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 0.5)
	for _, from := range []string{"end", "start"} {
		r := w.run(t, func(j *engine.Job) {
			j.Path, j.PromptSeconds, j.PromptFrom, j.Include = path, 1e300, from, "full"
		})
		if got := r.Outputs[0].SeamSeconds; got != 0.5 || r.Prompt.Seconds != 0.5 {
			t.Errorf("from the %s: got a prompt of %g s and the seam at %g s, want 0.5", from, r.Prompt.Seconds, got)
		}
	}
}

// The same request and seed give the same bytes; a variation gives those of its own seed; a retry skips the prefill.
func TestSeeds(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 1.5)
	takes := w.run(t, func(j *engine.Job) { j.Path, j.Variations, j.Text, j.Seed = path, 3, "dark techno", 10 })
	if takes.Prompt.Cached || len(takes.Outputs) != 3 {
		t.Fatalf("got %d outputs, cached %v", len(takes.Outputs), takes.Prompt.Cached)
	}
	for i, o := range takes.Outputs {
		if o.Seed != 10+int64(i) {
			t.Errorf("take %d: got seed %d", i, o.Seed)
		}
		alone := w.run(t, func(j *engine.Job) { j.Path, j.Text, j.Seed = path, "dark techno", o.Seed })
		if !alone.Prompt.Cached {
			t.Errorf("take %d: the prompt was seen again", i)
		}
		a, _ := os.ReadFile(o.Path)
		b, _ := os.ReadFile(alone.Outputs[0].Path)
		if !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("take %d differs from its seed alone", i)
		}
	}
	drawn := w.run(t, func(j *engine.Job) { j.Path, j.Seed = path, -1 })
	again := w.run(t, func(j *engine.Job) { j.Path, j.Seed = path, drawn.Outputs[0].Seed })
	a, _ := os.ReadFile(drawn.Outputs[0].Path)
	b, _ := os.ReadFile(again.Outputs[0].Path)
	if !bytes.Equal(a, b) {
		t.Error("a drawn seed, given back, made other bytes")
	}
}

func TestGenerate(t *testing.T) {
	w := newWorld(t, engine.Options{})
	r := w.run(t, func(j *engine.Job) { j.Text = "lofi" })
	o := r.Outputs[0]
	if r.Prompt != nil || o.SampleRate != 32000 || o.Channels != 1 || o.Bits != "24" || o.Frames != 16000 || o.SeamSeconds != 0 {
		t.Errorf("got %+v of prompt %+v", o, r.Prompt)
	}
	if filepath.Dir(o.Path) != w.dir {
		t.Errorf("got %s, want it in the working folder", o.Path)
	}
}

func TestProgressRises(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 1)
	job := engine.NewJob()
	job.Path, job.Seconds, job.Variations = path, 0.5, 2
	last, stages := -1.0, []engine.Stage{}
	_, err := w.engine.Run(context.Background(), job, func(p engine.Progress) {
		if p.Fraction < last || p.Fraction > 1 {
			t.Errorf("progress went from %g to %g", last, p.Fraction)
		}
		last = p.Fraction
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	})
	want := []engine.Stage{engine.StageLoad, engine.StageEncode, engine.StagePrefill, engine.StageDecode, engine.StageCodec, engine.StageWrite}
	if err != nil || last != 1 || !slices.Equal(stages, want) {
		t.Errorf("got stages %v up to %g, %v; want %v up to 1", stages, last, err, want)
	}
}

// A cancelled job ends within a step, says why, and leaves no file, wherever it is cancelled.
func TestCancelLeavesNothing(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 1)
	stop := errors.New("the musician changed her mind")
	for _, stage := range []engine.Stage{engine.StageLoad, engine.StageEncode, engine.StagePrefill, engine.StageDecode, engine.StageCodec, engine.StageWrite} {
		ctx, cancel := context.WithCancelCause(context.Background())
		job := engine.NewJob()
		job.Path, job.Variations, job.Seed = path, 2, 5
		job.Text = string(stage) // never cached
		_, err := w.engine.Run(ctx, job, func(p engine.Progress) {
			if p.Stage == stage {
				cancel(stop)
			}
		})
		if !errors.Is(err, stop) {
			t.Errorf("cancelled at %s: got %v", stage, err)
		}
		if files := w.files(t); len(files) != 1 {
			t.Errorf("cancelled at %s: got files %v, want the input alone", stage, files)
		}
	}
	w.run(t, func(j *engine.Job) { j.Path = path })
}

// Copying a long original ends with its job, too: here it is cancelled when the codec is done.
func TestCancelWhileCopying(t *testing.T) {
	w := newWorld(t, engine.Options{})
	job := engine.NewJob()
	job.Path, job.Seconds, job.Include = w.tone(t, "in.wav", stereo44, 1), 0.1, "full"
	stop := errors.New("the musician changed her mind")
	ctx, cancel := context.WithCancelCause(context.Background())
	written := false
	_, err := w.engine.Run(ctx, job, func(p engine.Progress) {
		if p.Stage == engine.StageCodec && p.Fraction == 1 {
			cancel(stop)
		}
		written = written || p.Stage == engine.StageWrite
	})
	if !errors.Is(err, stop) || written || len(w.files(t)) != 1 {
		t.Errorf("got %v, written %v, files %v; want it cancelled before the copy is made", err, written, w.files(t))
	}
}

// Each bad request is refused with its kind, the field concerned, and no trace.
func TestRefusals(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 1)
	write := func(name string, data []byte) string {
		p := filepath.Join(w.dir, name)
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	header, _ := os.ReadFile(path)
	nan := append(slices.Clone(wavHeader(3, 32, 400)), bytes.Repeat([]byte{0, 0, 0xc0, 0x7f}, 100)...)
	notes := write("notes.txt", []byte("bring milk"))
	taken := write("taken.wav", []byte("someone's music"))
	melody := w.tone(t, "melody.wav", stereo44, 1)
	endless := write("endless.wav", wavHeader(1, 8, 22e8)) // 16 bits of it, which is what 8 become, are 4.4 GB
	if err := os.Truncate(endless, 44+22e8); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		change func(*engine.Job)
		kind   engine.Kind
		field  string
	}{
		{"missing file", func(j *engine.Job) { j.Path = "no such.wav" }, engine.AudioMissing, "path"},
		{"folder", func(j *engine.Job) { j.Path = w.dir }, engine.AudioUnsupported, "path"},
		{"device", func(j *engine.Job) { j.Path = "/dev/zero" }, engine.AudioUnsupported, "path"},
		{"empty file", func(j *engine.Job) { j.Path = write("empty.wav", nil) }, engine.AudioUnsupported, "path"},
		{"cut short", func(j *engine.Job) { j.Path = write("cut.wav", header[:30]) }, engine.AudioUnsupported, "path"},
		{"no music", func(j *engine.Job) { j.Path = notes }, engine.AudioUnsupported, "path"},
		{"NaN", func(j *engine.Job) { j.Path = write("nan.wav", nan) }, engine.AudioUnsupported, "path"},
		{"too long", func(j *engine.Job) { j.Seconds = 60 }, engine.AudioLength, "seconds"},
		{"prompt fills the window", func(j *engine.Job) {
			j.Path, j.PromptSeconds = w.tone(t, "long.wav", audio.Format{Container: "wav", Bits: "16", Rate: 8000, Channels: 1}, 40), 35
		}, engine.AudioLength, "promptSeconds"},
		{"endless", func(j *engine.Job) { j.Seconds = 1e300 }, engine.AudioLength, "seconds"},
		{"less than a sample", func(j *engine.Job) { j.Seconds = 1e-9 }, engine.BadParam, "seconds"},
		{"temperature that float32 has not", func(j *engine.Job) { j.Temperature = new(1e-50) }, engine.BadParam, "temperature"},
		{"share that float32 has not", func(j *engine.Job) { j.TopP = new(1e-50) }, engine.BadParam, "topP"},
		{"negative seconds", func(j *engine.Job) { j.Seconds = -1 }, engine.BadParam, "seconds"},
		{"no number", func(j *engine.Job) { j.Temperature = new(math.NaN()) }, engine.BadParam, "temperature"},
		{"too many takes", func(j *engine.Job) { j.Variations = 17 }, engine.BadParam, "variations"},
		{"unknown model", func(j *engine.Job) { j.Model = "musicgen-gigantic" }, engine.ModelUnknown, "model"},
		{"missing model folder", func(j *engine.Job) { j.Model = "./nowhere" }, engine.ModelMissing, "model"},
		{"folder without a model", func(j *engine.Job) { j.Model = w.dir }, engine.ModelMissing, "model"},
		{"output exists", func(j *engine.Job) { j.OutputPath = taken }, engine.OutputExists, "outputPath"},
		{"output is a folder", func(j *engine.Job) { j.OutputPath = w.dir }, engine.OutputUnwritable, "outputPath"},
		{"output folder is missing", func(j *engine.Job) { j.OutputDir = "no/such" }, engine.OutputUnwritable, "outputDir"},
		{"output is the input", func(j *engine.Job) { j.OutputPath, j.Overwrite = path, true }, engine.OutputExists, "outputPath"},
		{"both outputs", func(j *engine.Job) { j.OutputPath, j.OutputDir = "a.wav", "." }, engine.BadParam, "outputPath"},
		{"extension", func(j *engine.Job) { j.OutputPath = "a.mp3" }, engine.BadParam, "outputPath"},
		{"extension of another format", func(j *engine.Job) { j.OutputPath, j.Format = "a.mp3", "wav" }, engine.BadParam, "outputPath"},
		{"folder that is a file", func(j *engine.Job) { j.OutputDir = path }, engine.OutputUnwritable, "outputDir"},
		{"float FLAC", func(j *engine.Job) { j.Format, j.Bits = "flac", "32f" }, engine.BadParam, "format"},
		{"format against extension", func(j *engine.Job) { j.OutputPath, j.Format = "a.wav", "flac" }, engine.BadParam, "format"},
		{"output is a folder to be", func(j *engine.Job) { j.OutputPath = "new/" }, engine.OutputUnwritable, "outputPath"},
		{"output is the melody", func(j *engine.Job) { j.MelodyPath, j.OutputPath, j.Overwrite = melody, melody, true }, engine.OutputExists, "outputPath"},
		{"full beyond what a WAV holds", func(j *engine.Job) { j.Path, j.Include = endless, "full" }, engine.BadParam, "include"},
		{"melody for a model without one", func(j *engine.Job) { j.MelodyPath = path }, engine.BadParam, "melodyPath"},
		{"missing melody", func(j *engine.Job) { j.MelodyPath = "no such.wav" }, engine.AudioMissing, "melodyPath"},
		{"endless text", func(j *engine.Job) { j.Text = strings.Repeat("drums ", 2000) }, engine.BadParam, "text"},
	} {
		job := engine.NewJob()
		job.Path, job.Seconds = path, 0.2
		test.change(&job)
		before := w.files(t)
		_, err := w.engine.Run(context.Background(), job, quiet)
		var known *engine.Error
		if !errors.As(err, &known) {
			t.Errorf("%s: got %v, want an engine.Error", test.name, err)
			continue
		}
		if known.Kind != test.kind || test.field != "" && known.Field != test.field || strings.HasPrefix(known.Detail, "outputDir:") != (known.Field == "outputDir") {
			t.Errorf("%s: got %s on %q (%v), want %s on %q", test.name, known.Kind, known.Field, err, test.kind, test.field)
		}
		if after := w.files(t); !slices.Equal(before, after) {
			t.Errorf("%s: files went from %v to %v", test.name, before, after)
		}
	}
	if data, _ := os.ReadFile(taken); string(data) != "someone's music" {
		t.Error("a file that was there has been changed")
	}
}

func wavHeader(tag, bits uint16, data uint32) []byte {
	h := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00")
	h = binary.LittleEndian.AppendUint16(h, tag)
	h = binary.LittleEndian.AppendUint16(h, 1)
	h = binary.LittleEndian.AppendUint32(h, 44100)
	h = binary.LittleEndian.AppendUint32(h, 44100*uint32(bits)/8)
	h = binary.LittleEndian.AppendUint16(h, bits/8)
	h = binary.LittleEndian.AppendUint16(h, bits)
	h = append(h, "data"...)
	return binary.LittleEndian.AppendUint32(h, data)
}

func TestOutputNames(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "my loop é.wav", stereo44, 0.5)
	base := func(r engine.Result) (names []string) {
		for _, o := range r.Outputs {
			names = append(names, filepath.Base(o.Path))
		}
		return names
	}
	short := func(change func(*engine.Job)) engine.Result {
		return w.run(t, func(j *engine.Job) { j.Path, j.Seconds = path, 0.1; change(j) })
	}
	for _, test := range []struct {
		change func(*engine.Job)
		want   []string
	}{
		{func(j *engine.Job) {}, []string{"my loop é-continued.wav"}},
		{func(j *engine.Job) { j.Variations = 2 }, []string{"my loop é-continued-2.wav", "my loop é-continued-3.wav"}},
		{func(j *engine.Job) { j.Overwrite = true }, []string{"my loop é-continued.wav"}},
		{func(j *engine.Job) { j.OutputPath = "out.flac"; j.Variations = 2 }, []string{"out.flac", "out-2.flac"}},
		{func(j *engine.Job) { j.OutputPath = "out"; j.Format = "flac"; j.Overwrite = true }, []string{"out.flac"}},
		{func(j *engine.Job) { j.OutputPath = "file://" + filepath.ToSlash(filepath.Join(w.dir, "a%20b.wav")) }, []string{"a b.wav"}},
	} {
		if got := base(short(test.change)); !slices.Equal(got, test.want) {
			t.Errorf("got %v, want %v", got, test.want)
		}
	}
}

// A folder that cannot be opened has no layout, which is not a layout called "".
func TestModelWithoutLayout(t *testing.T) {
	w := newWorld(t, engine.Options{})
	info, err := w.engine.Model(context.Background(), w.dir)
	if err != nil || info.Problem == "" {
		t.Fatalf("got %+v, %v; want a problem", info, err)
	}
	if text, err := json.Marshal(info); err != nil || bytes.Contains(text, []byte(`"layout"`)) {
		t.Errorf("got %s, %v", text, err)
	}
}

// atCodec runs job, and meanwhile when all codes are there and no file is.
func (w world) atCodec(job engine.Job, meanwhile func()) (engine.Result, error) {
	var once sync.Once
	return w.engine.Run(context.Background(), job, func(p engine.Progress) {
		if p.Stage == engine.StageCodec {
			once.Do(meanwhile)
		}
	})
}

// A name that another process took while the job ran is no reason to lose the music.
func TestNameTakenMeanwhile(t *testing.T) {
	w := newWorld(t, engine.Options{})
	job := engine.NewJob()
	job.Path, job.Seconds, job.Variations = w.tone(t, "in.wav", stereo44, 0.5), 0.1, 2
	theirs := filepath.Join(w.dir, "in-continued.wav")
	r, err := w.atCodec(job, func() {
		if err := os.WriteFile(theirs, []byte("theirs"), 0o600); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"in-continued-3.wav", "in-continued-2.wav"} {
		path := filepath.Join(w.dir, want)
		if _, info := read(t, path); r.Outputs[i].Path != path || info.Frames != r.Outputs[i].Frames {
			t.Errorf("take %d: got %s, want %s", i, r.Outputs[i].Path, path)
		}
	}
	if data, err := os.ReadFile(theirs); string(data) != "theirs" || len(w.files(t)) != 4 {
		t.Errorf("their file holds %q, %v; the folder %v", data, err, w.files(t))
	}
}

// When one file of several cannot be put in place, those that the others replaced are back.
func TestOverwriteAllOrNone(t *testing.T) {
	w := newWorld(t, engine.Options{})
	job := engine.NewJob()
	job.Path, job.Seconds, job.Variations, job.Overwrite = w.tone(t, "in.wav", stereo44, 0.5), 0.1, 2, true
	first, second := filepath.Join(w.dir, "in-continued.wav"), filepath.Join(w.dir, "in-continued-2.wav")
	if err := os.WriteFile(first, []byte("an earlier take"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.atCodec(job, func() {
		if err := os.Mkdir(second, 0o700); err != nil {
			t.Error(err)
		}
	})
	var known *engine.Error
	if !errors.As(err, &known) || known.Kind != engine.OutputUnwritable || known.Field != "outputDir" || known.Path != second {
		t.Errorf("got %+v, want that %s is unwritable", err, second)
	}
	if data, err := os.ReadFile(first); string(data) != "an earlier take" || len(w.files(t)) != 3 {
		t.Errorf("the earlier take holds %q, %v; the folder %v", data, err, w.files(t))
	}
}

// Models are found by path, in the models folder and in the Hugging Face cache; each is told by models and unloaded again.
func TestModels(t *testing.T) {
	goldens, err := filepath.Abs("../testdata/goldens")
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	repo := filepath.Join(cache, "models--someone--tiny-stereo")
	for dir, content := range map[string]string{"refs/main": "abc123\n", "snapshots/abc123/x": ""} {
		file := filepath.Join(repo, dir)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(repo, "snapshots/abc123"), os.DirFS(filepath.Join(goldens, "stereo"))); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, engine.Options{ModelsDir: goldens, Hub: hub.Config{Dir: cache}, Base: filepath.Join(goldens, "mono")})
	list, err := w.engine.Models(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]engine.ModelInfo{}
	for _, m := range list {
		found[m.Name] = m
	}
	if m := found["random-tiny"]; m.Source != "bundled" || m.Problem != "" || !strings.Contains(m.Description, "untrained") {
		t.Errorf("bundled: got %+v", m)
	}
	if mono, same := found["mono"], found["mono-audiocraft"]; mono.Parameters < 1000 || mono.Parameters >= mono.Bytes || same.Parameters != mono.Parameters {
		t.Errorf("mono: got %d parameters in %d bytes, in the other layout %d", mono.Parameters, mono.Bytes, same.Parameters)
	}
	if m := found["someone/tiny-stereo"]; m.Source != "huggingface" || m.Channels != 2 || m.Problem != "" {
		t.Errorf("hub: got %+v", m)
	}
	if m := found["melody"]; m.Problem != "" || m.Channels != 1 {
		t.Errorf("melody: got %+v", m)
	}
	for _, name := range []string{"mono", "mono-audiocraft", "tiny-stereo", filepath.Join(goldens, "stereo")} {
		info, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: name}, quiet)
		if err != nil || !info.Resident || info.MemoryBytes <= 0 {
			t.Errorf("load %s: got %+v, %v", name, info, err)
		}
		r := w.run(t, func(j *engine.Job) { j.Model, j.Text = name, "techno" })
		if want := info.Channels; r.Outputs[0].Channels != want {
			t.Errorf("%s: got %d channels, want %d", name, r.Outputs[0].Channels, want)
		}
		if status := w.engine.Status(); len(status.Models) != 1 || status.CachedPrompts != 1 || status.CachedTexts != 1 {
			t.Errorf("%s: got status %+v", name, status)
		}
		for range 2 {
			if unloaded, err := w.engine.Unload(context.Background(), name); err != nil || unloaded != info.Name {
				t.Errorf("unload %s: got %q, %v, want %q", name, unloaded, err, info.Name)
			}
		}
	}
	if len(w.engine.Status().Models) != 0 {
		t.Errorf("got %+v, want nothing resident", w.engine.Status())
	}
}

// What is called config.json and is far larger than one is not read.
func TestHugeConfig(t *testing.T) {
	models := t.TempDir()
	path := filepath.Join(models, "huge", "config.json")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(`{"model_type": "musicgen"}`), 0o600), os.Truncate(path, 1<<31)); err != nil {
		t.Fatal(err)
	}
	list, err := newWorld(t, engine.Options{ModelsDir: models}).engine.Models(t.Context())
	if err != nil || slices.ContainsFunc(list, func(m engine.ModelInfo) bool { return m.Name == "huge" }) {
		t.Errorf("got %+v, %v", list, err)
	}
}

// A folder that holds no model, in the folder where segue happens to run, hides no model of its name.
func TestFolderOfThatName(t *testing.T) {
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens"})
	for _, name := range []string{"mono", "small", "notes"} {
		if err := os.Mkdir(filepath.Join(w.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := w.engine.Model(context.Background(), "mono"); err != nil || m.Source != "models" || m.Problem != "" {
		t.Errorf("mono: got %+v, %v, want the one in the models folder", m, err)
	}
	for name, want := range map[string]string{"small": "segue pull small", "notes": filepath.Join(w.dir, "notes")} {
		_, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: name}, quiet)
		var known *engine.Error
		if !errors.As(err, &known) || known.Kind != engine.ModelMissing || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s with %q", name, err, engine.ModelMissing, want)
		}
	}
	if err := os.CopyFS(filepath.Join(w.dir, "mono"), os.DirFS("../testdata/goldens/mono")); err != nil {
		t.Fatal(err)
	}
	if m, err := w.engine.Model(context.Background(), "mono"); err != nil || m.Source != "path" {
		t.Errorf("mono: got %+v, %v, want the folder, which now holds a model", m, err)
	}
}

// A melody model follows a melody and a text, one of them, or neither; each makes other music, and each is seen once.
func TestMelody(t *testing.T) {
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens"})
	path := w.tone(t, "in.wav", stereo44, 1)
	other := w.tone(t, "other.wav", audio.Format{Container: "wav", Bits: "16", Rate: 22050, Channels: 1}, 3)
	made := map[string]string{}
	for _, melody := range []string{"", other} {
		for _, text := range []string{"", "techno"} {
			make := func() engine.Result {
				return w.run(t, func(j *engine.Job) { j.Path, j.Model, j.Text, j.MelodyPath = path, "melody", text, melody })
			}
			first, again := make(), make()
			if first.Prompt.Cached || !again.Prompt.Cached {
				t.Errorf("melody %q, text %q: cached %v, then %v", melody, text, first.Prompt.Cached, again.Prompt.Cached)
			}
			data, err := os.ReadFile(first.Outputs[0].Path)
			if err != nil {
				t.Fatal(err)
			}
			if same, ok := made[string(data)]; ok {
				t.Errorf("melody %q, text %q made the same as %s", melody, text, same)
			}
			made[string(data)] = melody + " " + text
		}
	}
}

// saying copies a model and lets its makers say how codes are drawn.
func (w world) saying(t testing.TB, model, name, generation string) string {
	t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.CopyFS(dir, os.DirFS(model)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), []byte(generation), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bytesOf is a result's one file.
func bytesOf(t testing.TB, r engine.Result) string {
	t.Helper()
	data, err := os.ReadFile(r.Outputs[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A model's makers say how codes are drawn where the request does not; a request that names a value gets it.
func TestModelSaysHowToDraw(t *testing.T) {
	w := newWorld(t, engine.Options{})
	for _, base := range []string{"../testdata/tiny", "../testdata/goldens/melody"} {
		model := w.saying(t, base, filepath.Base(base), `{"temperature":0.5,"top_k":7,"top_p":0.9,"guidance_scale":1.5,"do_sample":false}`)
		silent := w.saying(t, base, filepath.Base(base)+"-silent", `{"do_sample":true}`)
		says := engine.Sampling{Temperature: 0.5, TopK: 7, TopP: 0.9, Guidance: 1.5}
		published := engine.Sampling{Temperature: 1, TopK: 250, TopP: 1, Guidance: 3}
		named := func(s engine.Sampling) engine.SamplingOptions {
			return engine.SamplingOptions{Temperature: &s.Temperature, TopK: &s.TopK, TopP: &s.TopP, Guidance: &s.Guidance}
		}
		for _, test := range []struct {
			name, model string
			options     engine.SamplingOptions
			want        engine.Sampling
		}{
			{"the model's", model, engine.SamplingOptions{}, says},
			{"the model's, named", silent, named(says), says},
			{"nobody's", silent, engine.SamplingOptions{}, published},
			{"the published, named", model, named(published), published},
			{"top-k named", model, engine.SamplingOptions{TopK: new(250)}, engine.Sampling{Temperature: 0.5, TopK: 250, TopP: 0.9, Guidance: 1.5}},
			{"zeros named", model, engine.SamplingOptions{TopK: new(0), Guidance: new(0.0)}, engine.Sampling{Temperature: 0.5, TopP: 0.9}},
		} {
			make := func(s engine.SamplingOptions) engine.Result {
				return w.run(t, func(j *engine.Job) { j.Model, j.Text, j.SamplingOptions = test.model, "techno", s })
			}
			r := make(test.options)
			if r.Sampling != test.want {
				t.Errorf("%s, %s: got %+v, want %+v", base, test.name, r.Sampling, test.want)
			}
			if bytesOf(t, r) != bytesOf(t, make(named(test.want))) {
				t.Errorf("%s, %s: other music than with all of it named", base, test.name)
			}
		}
		own := w.run(t, func(j *engine.Job) { j.Model, j.Text = model, "techno" })
		if other := w.run(t, func(j *engine.Job) { j.Model, j.Text, j.TopK = model, "techno", new(250) }); bytesOf(t, own) == bytesOf(t, other) {
			t.Errorf("%s: the same music of 7 and of 250 codes", base)
		}
		for path, want := range map[string]engine.Sampling{model: says, silent: published} {
			info, err := w.engine.Model(context.Background(), path)
			if err != nil || info.Sampling == nil || *info.Sampling != want {
				t.Errorf("%s: got %+v, %v, want %+v", path, info.Sampling, err, want)
			}
		}
	}
}

// Rows, their memory and the cache of prompts go by the guidance that applies, whoever says it; and so for greedy music,
// which a request alone may ask for.
func TestGuidanceOfTheModel(t *testing.T) {
	w := newWorld(t, engine.Options{})
	model := w.saying(t, "../testdata/tiny", "unguided", `{"guidance_scale":1,"do_sample":false}`)
	path := w.tone(t, "in.wav", stereo44, 1)
	take := func(guidance *float64) (r engine.Result, grown int64) {
		before := w.backend.Allocated()
		r = w.run(t, func(j *engine.Job) { j.Path, j.Model, j.Text, j.Guidance = path, model, "techno", guidance })
		return r, w.backend.Allocated() - before
	}
	if _, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: model}, quiet); err != nil {
		t.Fatal(err)
	}
	take(new(1.0)) // leaves state and text behind
	said, grown := take(nil)
	if !said.Prompt.Cached || grown != 0 {
		t.Errorf("the model's guidance of 1: cached %v, %d bytes more; want the prompt of the one that was named", said.Prompt.Cached, grown)
	}
	guided, grown := take(new(3.0))
	if guided.Prompt.Cached || grown <= 0 || bytesOf(t, guided) == bytesOf(t, said) {
		t.Errorf("guidance 3 named: cached %v, %d bytes more; want another prompt and other music", guided.Prompt.Cached, grown)
	}
	if again, _ := take(new(2.0)); !again.Prompt.Cached {
		t.Error("guidance 2 after 3 saw the prompt again")
	}
	if status := w.engine.Status(); status.CachedPrompts != 2 {
		t.Errorf("got %d prompts, want the unguided and the guided one", status.CachedPrompts)
	}
	greedy := w.run(t, func(j *engine.Job) { j.Path, j.Model, j.Text, j.Greedy = path, model, "techno", true })
	if bytesOf(t, greedy) == bytesOf(t, said) {
		t.Error("do_sample false made the music greedy")
	}
}

// Generation settings that cannot be are told when the model is named, not while it plays.
func TestModelSaysNonsense(t *testing.T) {
	w := newWorld(t, engine.Options{})
	for generation, want := range map[string]string{
		`{"top_k":-5,"top_p":2}`: "generation_config.json: top_k: got -5, want 0 to 65536; mend it or take it out\ntop_p: got 2, want 0.000001 to 1",
		`{"temperature":"hot"}`:  `generation_config.json: temperature: got "hot", want a number, 0.000001 to 10; mend it or take it out`,
		`{"guidance_scale":NaN}`: "generation_config.json: got no JSON object",
	} {
		model := w.saying(t, "../testdata/tiny", strings.Trim(generation, "{}"), generation)
		info, err := w.engine.Model(context.Background(), model)
		if err != nil || !strings.Contains(info.Problem, want) || info.Sampling != nil {
			t.Errorf("%s: got %+v, %v, want the problem %q", generation, info, err, want)
		}
		_, err = w.engine.Load(context.Background(), engine.ModelOptions{Model: model}, quiet)
		var known *engine.Error
		if !errors.As(err, &known) || known.Kind != engine.ModelInvalid || known.Field != "model" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s with %q", generation, err, engine.ModelInvalid, want)
		}
	}
}

// Under a memory budget the longest unused model goes, never one in use; one that could never fit is refused.
func TestMemoryBudget(t *testing.T) {
	size := func(model string) int64 {
		w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens"})
		info, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: model, Quantization: "none"}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return info.MemoryBytes
	}
	mono, stereo := size("mono"), size("stereo")
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens", Memory: mono + stereo + 1<<20})
	load := func(model string) error {
		_, err := w.engine.Load(context.Background(), engine.ModelOptions{Model: model, Quantization: "none"}, quiet)
		return err
	}
	resident := func() (names []string) {
		for _, m := range w.engine.Status().Models {
			names = append(names, m.Name)
		}
		slices.Sort(names)
		return names
	}
	if err := errors.Join(load("mono"), load("stereo"), load("mono")); err != nil || !slices.Equal(resident(), []string{"mono", "stereo"}) {
		t.Fatalf("got %v, %v; want both", resident(), err)
	}
	if err := load("stereo-sharded"); err != nil || !slices.Equal(resident(), []string{"mono", "stereo-sharded"}) {
		t.Errorf("got %v, %v; want stereo gone, the longest unused", resident(), err)
	}
	small := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens", Memory: 1 << 20})
	_, err := small.engine.Load(context.Background(), engine.ModelOptions{Model: "stereo", Quantization: "none"}, quiet)
	var known *engine.Error
	if !errors.As(err, &known) || known.Kind != engine.OutOfMemory {
		t.Errorf("got %v, want %s", err, engine.OutOfMemory)
	}
}

// lingering is a device at work: what is freed meanwhile is let go of when the work is done.
type lingering struct {
	kern.Backend
	mu   sync.Mutex
	done chan struct{} // nil: it rests
	most int64         // that was held since it works
}

func (b *lingering) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done, b.most = make(chan struct{}), 0
}

func (b *lingering) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.done)
	b.done = nil
}

func (b *lingering) Allocated() int64 {
	freed, _ := b.Freed()
	return b.Backend.Allocated() + freed
}

func (b *lingering) Freed() (int64, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done == nil {
		return 0, nil
	}
	held := b.Backend.Allocated()
	b.most = max(b.most, held)
	return b.most - held, b.done
}

// A load beside a running job evicts no more than it has to, and begins when the device has let go of that.
func TestMemoryBudgetWhileTheDeviceWorks(t *testing.T) {
	backend := &lingering{Backend: openBackend(t)}
	load := func(ctx context.Context, w world, model string) error {
		_, err := w.engine.Load(ctx, engine.ModelOptions{Model: model, Quantization: "none"}, quiet)
		return err
	}
	resident := func(w world) (names []string) {
		for _, m := range w.engine.Status().Models {
			names = append(names, m.Name)
		}
		slices.Sort(names)
		return names
	}
	room := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens"})
	if err := errors.Join(load(t.Context(), room, "mono"), load(t.Context(), room, "stereo")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens", Backend: backend, Memory: room.backend.Allocated() + 1<<20})
	if err := errors.Join(load(t.Context(), w, "stereo"), load(t.Context(), w, "mono")); err != nil {
		t.Fatal(err)
	}
	want := func(names ...string) {
		t.Helper()
		if got := resident(w); !slices.Equal(got, names) {
			t.Errorf("got %v, want %v", got, names)
		}
	}
	begin := func(ctx context.Context) chan error {
		backend.begin()
		loaded := make(chan error)
		go func() { loaded <- load(ctx, w, "stereo-sharded") }()
		eventually(t, "a model is evicted", func() bool { return len(resident(w)) < 2 })
		time.Sleep(10 * time.Millisecond) // for the others, if they went
		return loaded
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	loaded := begin(ctx)
	want("mono")
	cancel(errGivenUp)
	if err := <-loaded; !errors.Is(err, errGivenUp) {
		t.Errorf("got %v, want %v", err, errGivenUp)
	}
	backend.end()
	if err := errors.Join(load(t.Context(), w, "stereo"), load(t.Context(), w, "mono")); err != nil {
		t.Fatal(err)
	}
	loaded = begin(t.Context())
	want("mono")
	backend.end()
	if err := <-loaded; err != nil {
		t.Error(err)
	}
	want("mono", "stereo-sharded")
}

// Another model can be loaded, and the one in use unloaded, while a job runs; the job finishes as if nothing had happened.
func TestModelsComeAndGoWhileAJobRuns(t *testing.T) {
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens"})
	path := w.tone(t, "in.wav", stereo44, 1)
	quietly := w.run(t, func(j *engine.Job) { j.Path, j.Model = path, "mono" })
	var once sync.Once
	job := engine.NewJob()
	job.Path, job.Model, job.Seconds, job.PromptSeconds, job.Seed = path, "mono", 0.5, 1, 1
	job.OutputPath = "during.wav"
	r, err := w.engine.Run(context.Background(), job, func(p engine.Progress) {
		if p.Stage != engine.StageDecode {
			return
		}
		once.Do(func() {
			_, loadErr := w.engine.Load(context.Background(), engine.ModelOptions{Model: "stereo"}, quiet)
			_, unloadErr := w.engine.Unload(context.Background(), "mono")
			if err := errors.Join(loadErr, unloadErr); err != nil {
				t.Error(err)
			}
			if models := w.engine.Status().Models; len(models) != 1 || models[0].Name != "stereo" {
				t.Errorf("got %+v resident, want stereo alone", models)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(quietly.Outputs[0].Path)
	b, _ := os.ReadFile(r.Outputs[0].Path)
	if !bytes.Equal(a, b) {
		t.Error("the job was disturbed")
	}
}

// mono-audiocraft holds mono's weights, so it makes the same bytes.
func TestAudiocraftEqualsHuggingFace(t *testing.T) {
	w := newWorld(t, engine.Options{ModelsDir: "../testdata/goldens", Base: "mono"})
	path := w.tone(t, "in.wav", stereo44, 1)
	var first []byte
	for _, model := range []string{"mono", "mono-audiocraft"} {
		r := w.run(t, func(j *engine.Job) { j.Path, j.Model, j.Text = path, model, "techno" })
		data, err := os.ReadFile(r.Outputs[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(data, first) {
			t.Error("the two layouts of one model made different bytes")
		}
		first = data
	}
}

// Jobs, one after the other, leave nothing behind but the caches.
func TestMemoryStaysFlat(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", audio.Format{Container: "wav", Bits: "16", Rate: 32000, Channels: 1}, 0.2)
	short := func(i int) {
		w.run(t, func(j *engine.Job) {
			j.Path, j.Seconds, j.Seed, j.OutputPath, j.Overwrite = path, 0.04, int64(i), "out.wav", true
		})
	}
	for i := range 3 {
		short(i)
	}
	before := w.backend.Allocated()
	for i := range 50 {
		short(i)
	}
	if after := w.backend.Allocated(); after != before {
		t.Errorf("device memory went from %d to %d bytes in 50 jobs", before, after)
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 2)
	info, err := w.engine.Probe(context.Background(), "in.wav")
	if err != nil || info.Path != path || info.Seconds != 2 || info.Channels != 2 || info.PeakDB == nil || info.Loudness == nil {
		t.Errorf("got %+v, %v", info, err)
	}
	if _, err := w.engine.Probe(context.Background(), "nothing.wav"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want it to say that there is no such file", err)
	}
}
