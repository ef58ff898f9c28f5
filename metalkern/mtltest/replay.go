//go:build linux && (amd64 || arm64)

package mtltest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"segue/metalkern/kernels"
)

// A Sanitizer is a way to compile kernels so that they tell what they do wrong.
type Sanitizer struct {
	Name    string
	options []string
	environ string
	orders  int // of threads; results must be the same in all
}

// Sanitizers: steps outside buffers and undefined arithmetic; threads that touch the same memory without a barrier.
var Sanitizers = []Sanitizer{
	{"address+undefined", []string{"-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"}, "ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0", 3},
	{"thread", []string{"-fsanitize=thread"}, "TSAN_OPTIONS=halt_on_error=1:exitcode=66:history_size=4", 1},
}

// Compile makes a program of kernels, as translate emits them for the processor, and cpp/replay.cc.
func (s Sanitizer) Compile(text []byte, program string) error {
	folder, err := os.MkdirTemp("", "mtltest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := writeSources(folder); err != nil {
		return err
	}
	kernels := filepath.Join(folder, "kernels.cc")
	if err := os.WriteFile(kernels, text, 0o644); err != nil {
		return err
	}
	// -O1 keeps lines apart and the memory that kernels touch in sight. Loops must stay loops: a call of memcpy from the
	// scheduler would be seen by ThreadSanitizer as the kernel's.
	options := []string{"-std=gnu++20", "-O1", "-g1", "-w", "-fno-exceptions", "-ffp-contract=on", "-fno-tree-loop-distribute-patterns", "-fno-omit-frame-pointer",
		"-rdynamic", "-I" + filepath.Join(folder, "cpp"), "-o", program, kernels, filepath.Join(folder, "cpp", "replay.cc"), "-ldl", "-lpthread"}
	if output, err := exec.Command("g++", append(options, s.options...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("mtltest: g++ with sanitizer %s: %w\n%s", s.Name, err, output)
	}
	return nil
}

// Replay runs recorded dispatches with a compiled program; suffix is added to the names of their kernels. The error holds
// the sanitizer's words.
func (s Sanitizer) Replay(program, suffix string, files []string) error {
	c := exec.Command(program, append([]string{fmt.Sprint(s.orders), suffix}, files...)...)
	c.Env = append(os.Environ(), s.environ)
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Run(); err != nil {
		return fmt.Errorf("mtltest: sanitizer %s: %w\n%s", s.Name, err, head(output.String(), 60))
	}
	if got, want := strings.TrimSpace(output.String()), fmt.Sprint(len(files)); got != want {
		return fmt.Errorf("mtltest: sanitizer %s: got %q, want %s files run", s.Name, head(got, 60), want)
	}
	return nil
}

func head(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[:min(lines, len(all))], "")
}

// Recorded are the dispatches of one library that a run of tests wrote.
type Recorded struct {
	Name    string
	Text    []byte // of the kernels, as translate emits them
	Kernels []string
	Files   []string
}

var kernelLine = regexp.MustCompile(`(?m)^MK_KERNEL\((\w+),`)

// Recordings reads what was recorded of the kernels of package kernels, from a folder that SEGUE_METAL_RECORD named.
func Recordings(folder string) ([]Recorded, error) {
	var all []Recorded
	for _, name := range kernels.Names() {
		source, err := kernels.Source(name)
		if err != nil {
			return nil, err
		}
		stem := filepath.Join(folder, LibraryName(source))
		r := Recorded{Name: name}
		if r.Text, err = os.ReadFile(stem + ".cc"); err != nil {
			return nil, fmt.Errorf("mtltest: no dispatch of %s.metal is recorded: run its tests with %s=%s first: %w", name, RecordVariable, folder, err)
		}
		for _, m := range kernelLine.FindAllSubmatch(r.Text, -1) {
			r.Kernels = append(r.Kernels, string(m[1]))
		}
		if r.Files, err = filepath.Glob(filepath.Join(stem, "*.dispatch")); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// LibraryName is what the stand-in calls the compiled form of a text.
func LibraryName(source string) string {
	sum := sha256.Sum256([]byte(source))
	return hex.EncodeToString(sum[:8])
}

// Missing are the kernels that no recorded dispatch ran.
func (r Recorded) Missing() (all []string) {
	for _, k := range r.Kernels {
		ran := slices.ContainsFunc(r.Files, func(file string) bool {
			stem, _, _ := strings.Cut(filepath.Base(file), "-")
			return slices.Contains(strings.Split(stem, "+"), k)
		})
		if !ran {
			all = append(all, k)
		}
	}
	return all
}
