// Command arrows holds the rule of the house: data flows down, results flow up, and no import points back. It reads the
// imports of every Go file, whatever its build tags, compares them with the table below, and names each arrow that the
// table does not have.
//
//	go run ./scripts/check/arrows        (from the module's root)
package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "segue"

// table says which packages of ours a package may import. A row ending in /... is for a whole subtree, whose packages
// may also import one another. "*" is everything. ARCHITECTURE.md tells why, and has the same table.
var table = map[string][]string{
	"weights":                      {},
	"weights/bundled":              {},
	"weights/hub":                  {},
	"weights/packed":               {"weights"},
	"engine/audio":                 {},
	"engine/kern":                  {"weights"},
	"engine/kern/kerntest":         {"engine/kern", "weights"},
	"engine/cpukern":               {"engine/cpukern/simd", "engine/kern", "weights"},
	"engine/cpukern/simd":          {"weights"},
	"engine/cpukern/simd/_asm/...": {},
	"metalkern": {"metalkern/driver", "metalkern/metal", "metalkern/cuda", "metalkern/kernels", "engine/kern",
		"weights"},
	"metalkern/driver":            {},
	"metalkern/ccall":             {},
	"metalkern/metal":             {"metalkern/driver", "metalkern/ccall", "engine/kern"},
	"metalkern/cuda":              {"metalkern/driver", "metalkern/ccall", "engine/kern"},
	"metalkern/kernels":           {},
	"metalkern/kernels/translate": {},
	"metalkern/mtltest":           {"metalkern/driver", "metalkern/metal", "metalkern/kernels", "metalkern/kernels/translate"},
	"metalkern/mtltest/compiler":  {"metalkern/kernels/translate"},
	"metalkern/mtltest/sanitize":  {"metalkern/mtltest"},
	"engine/lm":                   {"engine/kern", "weights"},
	"engine/t5":                   {"engine/kern", "weights"},
	"engine/encodec":              {"engine/kern", "weights"},
	"engine/musicgen":             {"engine/lm", "engine/t5", "engine/encodec", "engine/kern", "weights"},
	"engine":                      {"engine/audio", "engine/musicgen", "engine/lm", "engine/kern", "weights", "weights/hub", "weights/packed"},
	"engine/verify":               {"engine/audio", "engine/musicgen", "engine/t5", "engine/lm", "engine/kern", "weights"},
	"engine/bench":                {"engine/audio", "engine/musicgen", "engine/lm", "engine/kern", "weights"},
	"rpc":                         {"engine"},
	"cmd/...":                     {"*"},
	"scripts/...":                 {"*"},
}

// tested is what tests may import besides: a machine to run on, the table of ops, a model put together, and Metal's stand-in with
// what it is made of.
var tested = []string{"engine/cpukern", "engine/kern/kerntest", "engine/musicgen", "metalkern/mtltest", "metalkern/kernels",
	"metalkern/kernels/translate", "metalkern/ccall"}

func main() {
	wrong, err := check(os.DirFS("."))
	if err != nil {
		fmt.Fprintln(os.Stderr, "arrows:", err)
		os.Exit(1)
	}
	for _, line := range wrong {
		fmt.Fprintln(os.Stderr, line)
	}
	if len(wrong) > 0 {
		os.Exit(1)
	}
}

// check returns one line for each import that the table does not allow.
func check(root fs.FS) (wrong []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && name != "."
			if hidden || entry.Name() == "testdata" || name == "build" {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		found, err := checkFile(root, name)
		wrong = append(wrong, found...)
		return err
	})
	return wrong, err
}

func checkFile(root fs.FS, name string) (wrong []string, err error) {
	source, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	from := path.Dir(name)
	row, allowed, ok := rowOf(from)
	if !ok {
		return []string{fmt.Sprintf("%s: arrows: package %s has no row in the table of scripts/check/arrows", name, from)}, nil
	}
	for _, spec := range file.Imports {
		full, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		to, ours := strings.CutPrefix(full, module+"/")
		if !ours || to == from || within(to, row) || slices.Contains(allowed, to) || slices.Contains(allowed, "*") ||
			strings.HasSuffix(name, "_test.go") && slices.Contains(tested, to) {
			continue
		}
		line := files.Position(spec.Pos()).Line
		wrong = append(wrong, fmt.Sprintf("%s:%d: arrows: %s → %s points the wrong way; %s may import %s", name, line, from, to, row, list(allowed)))
	}
	return wrong, nil
}

// rowOf finds a package's row: its own, or that of the subtree that it lies in.
func rowOf(pkg string) (row string, allowed []string, ok bool) {
	if allowed, ok = table[pkg]; ok {
		return pkg, allowed, true
	}
	for row, allowed := range table {
		if within(pkg, row) {
			return row, allowed, true
		}
	}
	return "", nil, false
}

// within says whether a package belongs to a row of a subtree.
func within(pkg, row string) bool {
	tree, ok := strings.CutSuffix(row, "/...")
	return ok && (pkg == tree || strings.HasPrefix(pkg, tree+"/"))
}

func list(names []string) string {
	if len(names) == 0 {
		return "nothing of ours"
	}
	return strings.Join(names, ", ")
}
