package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/term"

	"segue/engine"
	"segue/rpc"
	"segue/weights/bundled"
	"segue/weights/hub"
)

// newFlags is a flag set whose help begins with usage and about.
func newFlags(name, usage, about string) *flag.FlagSet {
	set := flag.NewFlagSet(name, flag.ContinueOnError)
	set.SetOutput(io.Discard) // errors are printed once, by exitCode
	set.Usage = func() {
		fmt.Fprintf(set.Output(), "Usage: segue %s\n\n%s\n", usage, about)
		printFlags(set.Output(), set)
	}
	return set
}

// parseOnly reads the flags of a command that takes nothing else.
func parseOnly(set *flag.FlagSet, args []string) error {
	positional, err := parse(set, args)
	if err == nil && len(positional) > 0 {
		return usageError{fmt.Sprintf("%s: got the argument %q, want flags only", set.Name(), positional[0])}
	}
	return err
}

// parseWith reads the flags of a command and its one argument. A script whose variable is not set gives an empty one.
func parseWith(set *flag.FlagSet, what string, args []string) (string, error) {
	positional, err := parse(set, args)
	switch {
	case err != nil:
		return "", err
	case len(positional) != 1:
		return "", usageError{fmt.Sprintf("%s: got %d arguments, want one: segue %[1]s %[3]s [flags]", set.Name(), len(positional), what)}
	case positional[0] == "":
		return "", usageError{fmt.Sprintf("%s: got an empty %s, want one: segue %[1]s %[2]s [flags]", set.Name(), what)}
	}
	return positional[0], nil
}

// parse reads flags wherever they stand among the arguments and returns the others.
func parse(set *flag.FlagSet, args []string) (positional []string, err error) {
	help := set.Usage
	set.Usage = func() {} // the package shows it at every mistake, too
	for {
		if err := set.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				var text strings.Builder
				set.SetOutput(&text)
				help()
				return nil, helpAsked(text.String())
			}
			said := oneDash.ReplaceAllString(err.Error(), "${1}--$2")
			return nil, usageError{fmt.Sprintf("%s: %s%s (segue %s --help tells the flags)", set.Name(), said, meant(set, said), set.Name())}
		}
		args = set.Args()
		if len(args) == 0 {
			return positional, nil
		}
		positional, args = append(positional, args[0]), args[1:]
	}
}

// meant proposes a flag for one that is not defined.
func meant(set *flag.FlagSet, said string) string {
	_, wrong, undefined := strings.Cut(said, "not defined: --")
	if !undefined {
		return ""
	}
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if nearest := rpc.Nearest(wrong, known); nearest != "" {
		return ", did you mean --" + nearest + "?"
	}
	return ""
}

func printFlags(w io.Writer, set *flag.FlagSet) {
	any := false
	set.VisitAll(func(f *flag.Flag) {
		if !any {
			fmt.Fprint(w, "\nFlags:\n")
			any = true
		}
		name, usage := flag.UnquoteUsage(f)
		usage = strings.TrimPrefix(usage, name+" ") // the name of the value stands before its meaning
		line := "  --" + f.Name
		if name != "" {
			line += " " + name
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "%-26s %s\n", line, wrap(usage, 27, 100))
	})
}

// wrap breaks text into lines of at most width columns, later ones indented.
func wrap(text string, indent, width int) string {
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		if column+1+len(word) > width {
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = indent
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// jobFlags makes a flag of every field of job but skip: the parameter's name in kebab-case, its documentation, its default.
func jobFlags(set *flag.FlagSet, job *engine.Job, skip ...string) {
	v := reflect.ValueOf(job).Elem()
	for _, field := range reflect.VisibleFields(v.Type()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.Anonymous && !slices.Contains(skip, name) {
			set.Var(&jobFlag{v.FieldByIndex(field.Index)}, kebab(name), documentation(field))
		}
	}
}

var camelCase = regexp.MustCompile(`\b[a-z]+[A-Z]\w*`)

// documentation is a flag's help text, which calls other parameters as their flags; the back-quoted word names its value.
func documentation(f reflect.StructField) string {
	doc := camelCase.ReplaceAllStringFunc(f.Tag.Get("doc"), func(name string) string { return "--" + kebab(name) })
	switch {
	case f.Type.Kind() == reflect.Bool:
		return doc
	case f.Type.Kind() == reflect.String:
		return "`WORD` " + doc
	}
	return "`N` " + doc
}

// oneDash is a flag as package flag writes it.
var oneDash = regexp.MustCompile(`(^|[ :])-([a-z])`)

// parameters are those of a job that are no words, and so can be told from words. Only who prints an error asks.
var parameters = sync.OnceValue(func() *regexp.Regexp {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[engine.Job]()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); !field.Anonymous && name != kebab(name) {
			names = append(names, name)
		}
	}
	return regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
})

// asFlags calls parameters what they are called on the command line.
func asFlags(text string) string {
	return parameters().ReplaceAllStringFunc(text, func(name string) string { return "--" + kebab(name) })
}

func kebab(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// jobFlag is a flag that writes into a field of a Job.
type jobFlag struct{ field reflect.Value }

func (f *jobFlag) IsBoolFlag() bool { return f.field.IsValid() && f.field.Kind() == reflect.Bool }

func (f *jobFlag) String() string {
	switch {
	case !f.field.IsValid() || f.field.Kind() == reflect.Pointer && f.field.IsNil() || f.field.Type() == reflect.TypeFor[engine.Rate]() && f.field.Int() == 0:
		return ""
	case f.field.Kind() == reflect.String:
		return f.field.String()
	}
	return fmt.Sprint(reflect.Indirect(f.field).Interface())
}

func (f *jobFlag) Set(s string) error {
	switch f.field.Kind() {
	case reflect.String:
		f.field.SetString(s)
	case reflect.Bool:
		v, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("want true or false")
		}
		f.field.SetBool(v)
	case reflect.Int, reflect.Int64:
		if s == "source" && f.field.Type() == reflect.TypeFor[engine.Rate]() {
			s = "0"
		}
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return errors.New("want a whole number")
		}
		f.field.SetInt(v)
	case reflect.Pointer: // nil: nobody has named it
		named := reflect.New(f.field.Type().Elem())
		if err := (&jobFlag{named.Elem()}).Set(s); err != nil {
			return err
		}
		f.field.Set(named)
	case reflect.Float64:
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return errors.New("want a number")
		}
		f.field.SetFloat(v)
	}
	return nil
}

// machineFlags are those of every command that runs a model.
type machineFlags struct {
	device, models, base string
	threads              int
	memory               int64        // MB
	log                  *slog.Logger // nil: warnings to stderr
}

func (m *machineFlags) register(set *flag.FlagSet) {
	m.registerDevice(set)
	set.IntVar(&m.threads, "threads", 0, "`N` CPU threads; 0: all cores, less one when there are more than four")
	set.Int64Var(&m.memory, "memory", 0, "`MB` that models may hold together; the longest unused goes first; 0: half of the machine's, three quarters of a GPU's")
	set.StringVar(&m.models, "models", "", "`FOLDER` models by name are looked up here (default $SEGUE_MODELS, else "+defaultModels()+")")
	set.StringVar(&m.base, "base", "", "`MODEL` supplies text encoder, tokenizer and codec to audiocraft checkpoints")
}

func defaultModels() string {
	if dir := os.Getenv("SEGUE_MODELS"); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, "segue", "models")
}

// packedDir is where packed weights are kept, "" where the system has no folder for such.
func packedDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "segue", "packed")
}

func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// hubConfig is the Hugging Face hub and cache, by the rules of its own clients.
func hubConfig() hub.Config {
	home, _ := os.UserHomeDir() // without one, the environment has to name the cache
	return hub.FromEnvironment(os.Getenv, home)
}

// openEngine wires an engine as the flags say.
func (m *machineFlags) openEngine() (*engine.Engine, error) {
	if m.memory < 0 || m.memory > maxMemory {
		return nil, usageError{fmt.Sprintf("--memory: got %d, want 0 to %d, in megabytes", m.memory, int64(maxMemory))}
	}
	backend, choice, err := m.openBackend()
	if err != nil {
		return nil, err
	}
	home, _ := os.UserHomeDir() // without one, ~ is refused
	models := m.models
	if models == "" {
		models = defaultModels()
	}
	log := m.log
	if log == nil {
		log = newLog(os.Stderr, slog.LevelWarn)
	}
	return engine.Open(engine.Options{
		Backend: backend, Choice: choice, ModelsDir: models, Hub: hubConfig(), Packed: packedDir(), Base: m.base,
		Memory: m.budget(backend), Home: home, Log: log,
		Bundled: engine.Bundled{Name: bundled.Name, Description: bundled.Description, Files: bundled.FS()},
	})
}

// withEngine opens an engine for one command and closes it after.
func (m *machineFlags) withEngine(ctx context.Context, fn func(*engine.Engine) error) error {
	e, err := m.openEngine()
	if err != nil {
		return err
	}
	defer e.Close()
	return fn(e)
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// columns of the terminal that stderr is; 80 where it does not say.
func columns() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || width < 1 {
		return 80
	}
	return width
}
