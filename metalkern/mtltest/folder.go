//go:build linux && (amd64 || arm64)

package mtltest

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// A folder of the stand-in holds all that it needs: the library, the program that compiles kernels for it, the headers
// that this program gives to g++, and what was compiled before. Its name has the hash of what it is made from, so that
// it is never stale.

//go:embed cpp
var cpp embed.FS

const libraryName = "libmetal-standin.so"

// Build makes the folder under parent, unless it is there, and returns the path of the library.
func Build(parent string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	sum, err := sourceHash(root)
	sum += "-" + runtime.GOARCH
	if err != nil {
		return "", err
	}
	folder := filepath.Join(parent, sum)
	library := filepath.Join(folder, libraryName)
	unlock, err := lock(parent)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(library); err == nil {
		return library, nil
	}
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(folder, "cache"), 0o755); err != nil {
		return "", err
	}
	if err := writeSources(folder); err != nil {
		return "", err
	}
	if err := command(root, "go", "build", "-ldflags", "-X main.cxx="+cxx(), "-o", filepath.Join(folder, "compiler"), "./metalkern/mtltest/compiler"); err != nil {
		return "", err
	}
	sources, err := filepath.Glob(filepath.Join(folder, "cpp", "*.cc"))
	if err != nil {
		return "", err
	}
	half := library + ".half"
	arguments := []string{"-std=gnu++20", "-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fvisibility=hidden", "-o", half}
	for _, s := range sources {
		if filepath.Base(s) != "replay.cc" {
			arguments = append(arguments, s)
		}
	}
	if err := command(root, cxx(), append(arguments, "-ldl", "-lpthread")...); err != nil {
		return "", err
	}
	return library, os.Rename(half, library)
}

// cxx is the compiler for this processor: under an emulator, one that makes code for the emulated.
func cxx() string {
	const cross = "aarch64-linux-gnu-g++"
	if runtime.GOARCH == "arm64" {
		if _, err := exec.LookPath(cross); err == nil {
			return cross
		}
	}
	return "g++"
}

func command(folder, name string, arguments ...string) error {
	c := exec.Command(name, arguments...)
	c.Dir = folder
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=", "GOARCH=")
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("mtltest: %s: %w\n%s", name, err, output)
	}
	return nil
}

// moduleRoot is the folder of go.mod: tests run in the folder of their package.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("mtltest: go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// sourceHash covers the C++ sources and the Go sources of what compiles kernels.
func sourceHash(root string) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(cpp, "cpp", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := cpp.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		return "", err
	}
	patterns := []string{"metalkern/kernels/translate/*.go", "metalkern/mtltest/compiler/*.go", "metalkern/mtltest/folder.go"}
	for _, pattern := range append(patterns, unitHeaders...) {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(h, "%s %d\n%s", filepath.Base(file), len(text), text)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// unitHeaders are those of CUDA's headers that run on the processor too.
var unitHeaders = []string{"metalkern/cuda/ptx/mtl_units.h", "metalkern/cuda/ptx/mtl_warpgroup.h"}

func writeSources(folder string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(folder, "cpp"), 0o755); err != nil {
		return err
	}
	for _, file := range unitHeaders {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, "cpp", filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
	}
	return fs.WalkDir(cpp, "cpp", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := cpp.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, path), text, 0o644)
	})
}

// lock keeps the tests of several packages from building the same folder at once.
func lock(parent string) (unlock func(), err error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(parent, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("mtltest: lock %s: %w", parent, err)
	}
	return func() { f.Close() }, nil
}
