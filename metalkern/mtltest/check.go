//go:build linux && (amd64 || arm64)

package mtltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"segue/metalkern/kernels/translate"
)

// clangs are the names that distributions give clang; 14 is the oldest that is known to do.
var clangs = []string{"clang++", "clang++-19", "clang++-18", "clang++-17", "clang++-16", "clang++-15", "clang++-14"}

// Clang finds a clang.
func Clang() (string, error) {
	for _, name := range clangs {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("mtltest: there is none of %v (Debian: apt-get install clang)", clangs)
}

// Check has clang check kernels as Metal's compiler would: types with their address spaces, no conversion that Metal does
// not have, no word outside the dialect. The error holds clang's words.
func Check(clang, name, text string) error {
	folder, err := os.MkdirTemp("", "mtltest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := writeSources(folder); err != nil {
		return err
	}
	file := filepath.Join(folder, name+".metal")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	flat, err := exec.Command(clang, "-E", "-x", "c++", "-DMK_SHIM", file).Output()
	if err != nil {
		return fmt.Errorf("mtltest: %s: preprocessor: %w", name, err)
	}
	kernels, err := translate.Parse(string(flat))
	if err != nil {
		return err
	}
	checked := filepath.Join(folder, name+".cc")
	if err := os.WriteFile(checked, []byte(kernels.Check()), 0o644); err != nil {
		return err
	}
	if output, err := exec.Command(clang, slices.Concat(checkOptions, []string{"-I" + filepath.Join(folder, "cpp"), checked})...).CombinedOutput(); err != nil {
		return fmt.Errorf("mtltest: %s: %w\n%s", name, err, output)
	}
	return nil
}

// checkOptions choose a processor that has half in every clang; nothing is generated for it.
var checkOptions = []string{
	"-x", "c++", "-std=c++14", "--target=aarch64-linux-gnu", "-fsyntax-only", "-nostdinc", "-Werror", "-Wall", "-Wextra",
	"-Wdouble-promotion", "-Wimplicit-float-conversion", "-Wno-unused-function", "-Wno-unused-parameter", "-Wno-undefined-internal",
	"-Wno-undefined-inline", "-Wno-unknown-pragmas", "-Wno-unused-const-variable", "-Wno-unneeded-internal-declaration", "-Wno-missing-braces",
}
