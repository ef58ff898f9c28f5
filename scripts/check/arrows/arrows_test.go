package main

import (
	"os"
	"path"
	"regexp"
	"slices"
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
		{"engine/cpukern/simd/a.go", "segue/engine/cpukern", "engine/cpukern/simd → engine/cpukern"},
		{"metalkern/driver/a.go", "segue/metalkern/metal", "metalkern/driver → metalkern/metal"},
		{"scripts/check/a.go", "segue/scripts/bench", ""},
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

// TestDocument: ARCHITECTURE.md names each package's imports, by their last element, as the table has them.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (` + "`[^|]+`" + `) \|[^|]+\| ([^|]+) \|$`)
	rows := row.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 15 {
		t.Fatalf("got %d rows, want a table", len(rows))
	}
	for _, found := range rows {
		told := strings.Split(found[2], ", ")
		slices.Sort(told)
		for _, quoted := range strings.Split(found[1], ", ") {
			pkg := strings.Trim(quoted, "`")
			_, allowed, ok := rowOf(pkg)
			if !ok {
				t.Errorf("%s has no row in the table", pkg)
				continue
			}
			if got, want := strings.Join(told, ", "), brief(allowed); got != want {
				t.Errorf("%s: ARCHITECTURE.md says %s, want %s", pkg, got, want)
			}
		}
	}
}

// brief is a row as ARCHITECTURE.md writes it, sorted.
func brief(allowed []string) string {
	switch {
	case len(allowed) == 0:
		return "–"
	case allowed[0] == "*":
		return "all"
	}
	var names []string
	for _, pkg := range allowed {
		names = append(names, path.Base(pkg))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func TestDamagedFile(t *testing.T) {
	if _, err := check(fstest.MapFS{"weights/a.go": {Data: []byte("not Go")}}); err == nil {
		t.Error("a file that does not parse: got no error")
	}
}
