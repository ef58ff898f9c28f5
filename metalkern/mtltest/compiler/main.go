// Command compiler is what the stand-in for Metal calls to compile kernels: it prints the path of a shared object. It
// lies in a folder that package mtltest makes, beside the headers and a cache.
//
//	source.metal ─► g++ -E ─► translate ─► g++ ─► cache/<hash>.so
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"segue/metalkern/kernels/translate"
)

// cxx is set when this command is built: see package mtltest.
var cxx = "g++"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "compiler: want one argument, the file of kernels")
		os.Exit(2)
	}
	path, err := compile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Print(path)
}

func compile(file string) (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", err
	}
	folder := filepath.Dir(executable)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	object := filepath.Join(folder, "cache", hex.EncodeToString(sum[:8])+".so")
	if _, err := os.Stat(object); err == nil {
		return object, nil
	}
	program, err := translated(file, unitsOf(string(text)), filepath.Join(folder, "cpp"))
	if err != nil {
		return "", err
	}
	// Each step goes to a file of its own name first: two processes may compile the same kernels at once.
	half := fmt.Sprintf("%s.%d", object, os.Getpid())
	defer os.Remove(half)
	arguments := append([]string{"-std=gnu++20", "-O2", "-w", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions", "-ffp-contract=on", "-ftls-model=initial-exec",
		"-I" + filepath.Join(folder, "cpp"), "-x", "c++", "-o", half, "-"}, machine()...)
	if _, err := run([]byte(program), cxx, arguments...); err != nil {
		return "", err
	}
	if err := keep(program, strings.TrimSuffix(object, ".so")+".cc"); err != nil {
		return "", err
	}
	return object, os.Rename(half, object)
}

// unitsOf is how a text of kernels begins: which of NVIDIA's units it is to be compiled for, if any.
func unitsOf(text string) string {
	for _, units := range []string{translate.Warpgroups, translate.Units} {
		if strings.HasPrefix(text, units) {
			return units
		}
	}
	return ""
}

// unitHeaders are what mtl_cpu.h takes for units.
var unitHeaders = map[string][]string{
	translate.Units:      {"mtl_cpu_units.h", "mtl_units.h"},
	translate.Warpgroups: {"mtl_cpu_units.h", "mtl_units.h", "mtl_cpu_warpgroup.h", "mtl_warpgroup.h"},
}

// translated is a file of kernels in C++, after the headers in a folder.
func translated(file, units, headers string) (string, error) {
	arguments := []string{"-E", "-x", "c++", "-DMK_SHIM"}
	for _, name := range unitHeaders[units] {
		header, err := os.ReadFile(filepath.Join(headers, name))
		if err != nil {
			return "", err
		}
		arguments = append(arguments, translate.Offers(string(header))...)
	}
	flat, err := run(nil, cxx, append(arguments, file)...)
	if err != nil {
		return "", err
	}
	kernels, err := translate.Parse(string(flat))
	if err != nil {
		return "", err
	}
	return units + kernels.CPU(), nil
}

// keep writes what was compiled beside the object, to be compiled again with sanitizers.
func keep(text, file string) error {
	half := fmt.Sprintf("%s.%d", file, os.Getpid())
	if err := os.WriteFile(half, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(half, file)
}

// machine asks for this processor's instructions: without them every half is converted by a function.
func machine() []string {
	if cxx == "g++" && runtime.GOARCH == "amd64" {
		return []string{"-march=native"}
	}
	return nil
}

func run(input []byte, name string, arguments ...string) ([]byte, error) {
	c := exec.Command(name, arguments...)
	c.Stdin = bytes.NewReader(input)
	var out, wrong bytes.Buffer
	c.Stdout, c.Stderr = &out, &wrong
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, wrong.String())
	}
	return out.Bytes(), nil
}
