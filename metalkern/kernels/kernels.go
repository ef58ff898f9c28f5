// Package kernels holds the GPU kernels of metalkern: one file of Metal's language per op, each with common.metal before
// it. They keep to a part of the language that a C++ compiler also takes behind a few definitions, so that the same text
// is checked and run on a processor and becomes PTX for NVIDIA's GPUs. common.metal has the rules.
package kernels

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed *.metal
var files embed.FS

const (
	ending = ".metal"
	common = "common"
)

// Names are the files, without their ending.
func Names() []string {
	entries, _ := files.ReadDir(".") // embedded: cannot fail
	var names []string
	for _, e := range entries {
		if name := strings.TrimSuffix(e.Name(), ending); name != common {
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
	shared, err := files.ReadFile(common + ending)
	if err != nil {
		return "", err
	}
	own, err := files.ReadFile(name + ending)
	return string(shared) + string(own), err
}
