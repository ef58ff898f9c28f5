package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"segue/engine"
	"segue/engine/bench"
	"segue/engine/kern"
	"segue/weights"
)

const aboutBench = `Measures what a request costs on this machine with every combination of the lists given, how far each is from float32 in
quality, and recommends one. The table goes to stdout; nothing is written elsewhere unless asked for.

  segue bench                                              the bundled model, 8 and 4 bits and halves
  segue bench --model musicgen-small --output-dir bench    and WAVs, report.html, report.json
  segue bench --shape small --threads 1,2 --json -         random weights of a published shape, no file needed
  segue bench --shape large --quantization q4 --context 1500 --variations 1,4
`

// benchFlags are those that become bench.Options.
type benchFlags struct {
	bench.Options
	machine         machineFlags
	json, outputDir string
}

func (f *benchFlags) register(set *flag.FlagSet) {
	o, m := &f.Options, &f.Matrix
	set.StringVar(&o.Model, "model", "", "`NAME` folder, name or Hugging Face name, as for continue (default the bundled one)")
	set.StringVar(&o.Shape, "shape", "", "`SIZE` small, medium or large: random weights of that published shape instead of a model; speed only")
	set.StringVar(&o.Clip, "clip", "", "`FILE` audio to continue (default a few chords)")
	f.machine.registerDevice(set)
	set.Var(listFlag(&m.Quantizations, kern.ParsePrecision), "quantization", "`LIST` weights of the decoder: none, f32, f16, q8, q4 (default q4,q8,f16; of a shape q4,q8)")
	set.Var(listFlag(&m.KVCaches, kern.ParsePrecision), "kv-cache", "`LIST` keys and values: f32, f16, q8 (default f16,q8; of a shape f16)")
	set.Var(listFlag(&m.Threads, parseInt), "threads", "`LIST` CPU threads; 0: all cores, less one when there are more than four")
	set.Var(listFlag(&m.Guidance, parseFloat), "guidance", "`LIST` guidance; 1: half the work")
	set.Var(listFlag(&m.Variations, parseInt), "variations", "`LIST` takes made at once")
	set.Var(listFlag(&o.Contexts, parseInt), "context", "`LIST` columns at which steps are measured, 50 to a second (default after the prompt, middle and end of the window)")
	set.Float64Var(&o.PromptSeconds, "prompt-seconds", 6, "`N` seconds of the clip that the model hears")
	set.Float64Var(&o.Seconds, "seconds", 4, "`N` seconds of new audio in a whole request")
	set.StringVar(&o.Text, "text", "an upbeat groove with warm bass and crisp drums", "`WORDS` description of the music")
	set.Int64Var(&o.Seed, "seed", 1, "`N` seed of the first take, the same for all")
	set.IntVar(&o.Repeats, "repeats", 3, "`N` measurements behind each median, after one to warm up")
	set.StringVar(&f.outputDir, "output-dir", "", "`FOLDER` for the takes as WAV, report.html and report.json (default none)")
	set.StringVar(&f.json, "json", "", "`FILE` the report as JSON; -: to stdout, and the table to stderr")
	set.StringVar(&f.machine.models, "models", "", "`FOLDER` models by name are looked up here (default $SEGUE_MODELS, else "+defaultModels()+")")
	set.StringVar(&f.machine.base, "base", "", "`MODEL` supplies text encoder, tokenizer and codec to audiocraft checkpoints")
}

func runBench(ctx context.Context, env *environment, args []string) error {
	set := newFlags("bench", "bench [flags]", aboutBench)
	f := &benchFlags{Options: bench.Options{Version: version(), Matrix: bench.Matrix{Threads: []int{0}, Guidance: []float64{3}, Variations: []int{1}}}}
	f.register(set)
	switch err := parseOnly(set, args); {
	case err != nil:
		return err
	case f.Shape != "" && f.Model != "":
		return usageError{"bench: got --model and --shape, want one of them"}
	}
	f.chooseMatrix()
	if err := f.Validate(); err != nil { // before a model is loaded
		return usageError{err.Error()}
	}
	if err := f.checkTargets(); err != nil {
		return err
	}
	if err := f.wire(ctx); err != nil {
		return err
	}
	bar := &benchProgress{env: env}
	f.Progress = bar.report
	report, err := bench.Run(ctx, f.Options)
	bar.end()
	if err != nil {
		return err
	}
	return f.write(env, report)
}

// checkTargets finds out before minutes of work whether there is a place for the results.
func (f *benchFlags) checkTargets() error {
	if f.outputDir != "" {
		if err := os.MkdirAll(f.outputDir, 0o777); err != nil {
			return err
		}
		for _, name := range []string{"report.json", "report.html"} {
			if err := bench.CheckFile(filepath.Join(f.outputDir, name)); err != nil {
				return fmt.Errorf("--output-dir: %w", err)
			}
		}
	}
	if f.json != "" && f.json != "-" {
		if err := bench.CheckFile(f.json); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	return nil
}

// chooseMatrix fills in the lists that were not given. A shape's are shorter: quality does not depend on them.
func (f *benchFlags) chooseMatrix() {
	quantizations, caches := []kern.Precision{kern.Q4, kern.Q8, kern.F16}, []kern.Precision{kern.F16, kern.Q8}
	if f.Shape != "" {
		quantizations, caches = quantizations[:2], caches[:1]
	}
	if f.Matrix.Quantizations == nil {
		f.Matrix.Quantizations = quantizations
	}
	if f.Matrix.KVCaches == nil {
		f.Matrix.KVCaches = caches
	}
}

// wire finds the model and says how devices are opened.
func (f *benchFlags) wire(ctx context.Context) (err error) {
	f.OpenBackend = func(threads int) (kern.Backend, error) {
		m := f.machine
		m.threads = threads
		backend, _, err := m.openBackend()
		return backend, err
	}
	if f.Shape != "" {
		f.Open = func() (*weights.Checkpoint, error) { return bench.OpenShape(f.Shape) }
		if _, err = f.Open(); err != nil { // a wrong name
			return usageError{err.Error()}
		}
		return nil
	}
	finder := f.machine
	finder.device = "cpu" // no model runs
	return finder.withEngine(ctx, func(e *engine.Engine) (err error) {
		if f.Model, f.Open, err = e.Checkpoint(f.Model); err != nil {
			return err
		}
		checkpoint, err := f.Open() // what is wrong with it is told before a device is opened
		if err != nil {
			return err
		}
		return checkpoint.Close()
	})
}

// write puts the report where the flags say, the table first: what cannot be written must not take the rest with it.
func (f *benchFlags) write(env *environment, report *bench.Report) error {
	table := env.stdout
	if f.json == "-" {
		table = env.stderr
	}
	err := report.Table(table)
	switch f.json {
	case "":
	case "-":
		err = errors.Join(err, report.JSON(env.stdout))
	default:
		err = errors.Join(err, bench.WriteFile(f.json, report.JSON))
	}
	if f.outputDir != "" {
		err = errors.Join(err, report.Export(f.outputDir))
	}
	return err
}

// benchProgress is a line on stderr: one that is rewritten on a terminal, one for each thing measured elsewhere.
type benchProgress struct{ env *environment }

func (p *benchProgress) report(done, total int, what string) {
	if p.env.terminal {
		fmt.Fprintf(p.env.stderr, "\r\x1b[K%d of %d: %s", done+1, total, what)
		return
	}
	fmt.Fprintf(p.env.stderr, "%d of %d: %s\n", done+1, total, what)
}

func (p *benchProgress) end() {
	if p.env.terminal {
		fmt.Fprint(p.env.stderr, "\r\x1b[K")
	}
}

// list is a flag of values with commas between them.
type list[T any] struct {
	values *[]T
	parse  func(string) (T, error)
}

func listFlag[T any](values *[]T, parse func(string) (T, error)) *list[T] {
	return &list[T]{values, parse}
}

func (l *list[T]) String() string {
	if l.values == nil {
		return ""
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(*l.values), "[]"), " ", ",") // of an empty list nothing
}

func (l *list[T]) Set(text string) error {
	var values []T
	for _, part := range strings.Split(text, ",") {
		v, err := l.parse(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	*l.values = values
	return nil
}

func parseInt(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("got %q, want whole numbers with commas between them", s)
	}
	return v, nil
}

func parseFloat(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, fmt.Errorf("got %q, want numbers with commas between them", s)
	}
	return v, nil
}
