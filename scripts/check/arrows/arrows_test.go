package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestArrows(t *testing.T) {
	for _, c := range []struct{ file, imported, want string }{
		{"engine/lm/a.go", "segue/engine/kern", ""},
		{"engine/lm/a.go", "fmt", ""},
		{"engine/lm/a.go", "segue/engine/t5", "engine/lm → engine/t5 points the wrong way"},
		{"engine/lm/a.go", "segue/engine/cpukern", "engine/lm → engine/cpukern"},
		{"engine/lm/a_test.go", "segue/engine/cpukern", ""},
		{"engine/lm/a_test.go", "segue/rpc", "engine/lm → rpc"},
		{"weights/a.go", "segue/engine/kern", "may import nothing of ours"},
		{"weights/a_windows.go", "segue/engine/kern", "weights → engine/kern"},
		{"engine/cpukern/simd/a.go", "segue/engine/cpukern", ""},
		{"engine/cpukern/a.go", "segue/metalkern", "engine/cpukern → metalkern"},
		{"cmd/segue/a.go", "segue/rpc", ""},
		{"util/a.go", "fmt", "util has no row"},
		{"engine/testdata/a.go", "segue/rpc", ""},
	} {
		root := fstest.MapFS{c.file: {Data: []byte("package p\n\nimport _ \"" + c.imported + "\"\n")}}
		wrong, err := check(root)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(wrong, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s importing %s: got %q, want %q", c.file, c.imported, got, c.want)
		}
	}
}

func TestDamagedFile(t *testing.T) {
	if _, err := check(fstest.MapFS{"weights/a.go": {Data: []byte("not Go")}}); err == nil {
		t.Error("a file that does not parse: got no error")
	}
}
