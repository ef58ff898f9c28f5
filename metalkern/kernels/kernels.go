// Package kernels holds the GPU kernels of metalkern: a file of Metal's language for each op, or two where there is much, with
// common.metal before it, and before two what they share. They keep to a part of the language that a C++ compiler also takes
// behind a few definitions, so that the same text is checked and run on a processor and becomes PTX for NVIDIA's GPUs.
// common.metal has the rules.
package kernels

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed *.metal
var files embed.FS

const (
	ending = ".metal"
	common = "common" // alone, what stands before all; behind an op's name, what stands before its files
)

// Names are the files, without their ending.
func Names() []string {
	entries, _ := files.ReadDir(".") // embedded: cannot fail
	var names []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ending); !strings.HasSuffix(name, common) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Source is the whole text of a file, as compilers get it.
func Source(name string) (string, error) {
	if !slices.Contains(Names(), name) {
		return "", fmt.Errorf("kernels: got file %q, want one of %s", name, strings.Join(Names(), ", "))
	}
	op, _, _ := strings.Cut(name, "_")
	var text []byte
	for _, part := range []string{common, op + "_" + common, name} {
		b, err := files.ReadFile(part + ending)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		text = append(text, b...)
	}
	return string(text), nil
}
