//go:build amd64 || arm64

package main

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestVerifyOnMetal runs whole models, as the reference's results have them, through the Metal backend on its stand-in: what
// a Mac does, with the same kernels and calls. The stand-in says what was wrong with the calls.
func TestVerifyOnMetal(t *testing.T) {
	for _, name := range []string{"mono", "melody"} {
		t.Run(name, func(t *testing.T) {
			standin(t)
			var out bytes.Buffer
			env := &environment{stdout: &out, stderr: &out}
			args := []string{filepath.Join("..", "..", "testdata", "goldens", name), "--device", "metal"}
			if err := runVerify(t.Context(), env, args); err != nil {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}
