// Command ptx makes metalkern/cuda/ptx/*.ptx.gz, the kernels for NVIDIA's GPUs, of the Metal texts:
//
//	*.metal ─► C preprocessor ─► package translate, mtl_cuda.h ─► NVRTC ─► *.ptx.gz, the hash of text and header first
//
// The header is two files, the second written without NVIDIA's instructions: tests of package mtltest run that too.
//
// NVRTC is NVIDIA's compiler as a library. It is chosen over clang because it comes with the precise functions on numbers
// (clang has them from a toolkit only), needs no header, and is one package of the Python index away. Its version decides
// the oldest driver that reads what it writes: 12.0 writes PTX 8.0, for drivers from 525 on.
//
//	make ptx                          gets NVRTC and runs: go run ./scripts/ptx --nvrtc build/nvrtc/…/libnvrtc.so.12
//	go run ./scripts/ptx --check      says which are stale, without a compiler
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"segue/metalkern/kernels"
	"segue/metalkern/kernels/translate"
)

const (
	folder = "metalkern/cuda/ptx"
	header = "mtl_cuda.h"
	ending = ".ptx.gz"
	// hashLine stands at the head of each file.
	hashLine = "// SHA-256 of Metal text and header: "
)

func main() {
	check := flag.Bool("check", false, "only say which files are stale")
	library := flag.String("nvrtc", "", "`FILE` libnvrtc.so.12")
	flag.Parse()
	err := errors.New("ptx: want --check or --nvrtc FILE")
	if *check {
		err = complain()
	} else if *library != "" {
		err = remake(*library)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// headers are the parts of the header.
var headers = []string{header, "mtl_units.h"}

func headerText() (string, error) {
	var b strings.Builder
	for _, name := range headers {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), nil
}

// source is what a file is made of, and its hash.
func source(name string) (text, hash string, err error) {
	if text, err = kernels.Source(name); err != nil {
		return "", "", err
	}
	head, err := headerText()
	if err != nil {
		return "", "", err
	}
	sum := sha256.Sum256([]byte(text + "\x00" + head))
	return text, hex.EncodeToString(sum[:]), nil
}

// stale names the kernels whose PTX is missing or not of today's source, and the files that have no source any more.
func stale() (names, leftOver []string, err error) {
	for _, name := range kernels.Names() {
		_, hash, err := source(name)
		if err != nil {
			return nil, nil, err
		}
		if firstLine(name) != hashLine+hash {
			names = append(names, name)
		}
	}
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ending); ok && !slices.Contains(kernels.Names(), name) {
			leftOver = append(leftOver, name)
		}
	}
	return names, leftOver, err
}

// firstLine of a PTX file; "" if there is none that can be read.
func firstLine(name string) string {
	file, err := os.Open(filepath.Join(folder, name+ending))
	if err != nil {
		return ""
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		return ""
	}
	lines := bufio.NewScanner(text)
	lines.Scan()
	return lines.Text()
}

func complain() error {
	names, leftOver, err := stale()
	if wrong := append(names, leftOver...); err == nil && len(wrong) > 0 {
		return fmt.Errorf("ptx: stale in %s: %s; `make ptx` makes them again", folder, strings.Join(wrong, ", "))
	}
	return err
}

// remake makes what is stale.
func remake(library string) error {
	names, leftOver, err := stale()
	if err != nil {
		return err
	}
	for _, name := range leftOver {
		if err := os.Remove(filepath.Join(folder, name+ending)); err != nil {
			return err
		}
	}
	compiler, err := openNVRTC(library)
	for _, name := range names {
		if err == nil {
			err = compiler.makeOne(name)
		}
	}
	return err
}

// makeOne compiles a file for the oldest GPU.
func (n *nvrtc) makeOne(name string) error {
	text, hash, err := source(name)
	if err != nil {
		return err
	}
	head, err := headerText()
	if err != nil {
		return err
	}
	plain, err := preprocess(text, head)
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", name, err)
	}
	parsed, err := translate.Parse(plain)
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", name, err)
	}
	program := parsed.CUDA(header)
	ptx, err := n.compile(name, program, head, "compute_80")
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", name, err)
	}
	out := fmt.Sprintf("%s%s\n// Made by `make ptx`, with NVRTC %s. DO NOT EDIT.\n%s", hashLine, hash, n.version, bare(ptx))
	fmt.Printf("%s: %d kernels, %d bytes\n", name, len(parsed.Kernels), len(out))
	return write(filepath.Join(folder, name+ending), out)
}

func write(path, text string) error {
	var b bytes.Buffer
	packed, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err = io.WriteString(packed, text); err == nil {
		err = packed.Close()
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o666)
}

// preprocess expands the macros that make variants of kernels; the header's are left to NVRTC, which has a word of its own
// for unrolling.
func preprocess(text, head string) (string, error) {
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "cc"
	}
	arguments := []string{"-E", "-x", "c++", "-DMK_SHIM", "-D__CUDACC__", "-U__clang__"}
	arguments = append(arguments, translate.Offers(head)...)
	c := exec.Command(compiler, append(arguments, "-")...)
	c.Stdin, c.Stderr = strings.NewReader(text), os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("C preprocessor (%s -E; CC names another): %w", compiler, err)
	}
	return strings.ReplaceAll(string(out), "#pragma clang loop unroll(full)", "#pragma unroll"), nil
}

// afterEarlier is the one comment that means something: mtl_cuda.h tells what.
const afterEarlier = "// after earlier"

// bare leaves out comments, empty lines, and the compiler's own constants, and makes names the same in every run.
func bare(ptx string) string {
	var b strings.Builder
	for line := range strings.Lines(steady(ptx)) {
		if strings.Contains(line, afterEarlier) {
			b.WriteString(line)
		} else if code, _, _ := strings.Cut(line, "//"); strings.TrimSpace(code) != "" && !strings.Contains(code, "nv6target") {
			b.WriteString(strings.TrimRight(code, " \t\n"))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// internal begins a name that belongs to one compilation: a length, and so many characters with a number of the run.
var internal = regexp.MustCompile(`N([0-9]+)_INTERNAL_`)

func steady(ptx string) string {
	for {
		at := internal.FindStringSubmatchIndex(ptx)
		if at == nil {
			return ptx
		}
		length, _ := strconv.Atoi(ptx[at[2]:at[3]])
		ptx = strings.ReplaceAll(ptx, ptx[at[0]:at[3]+length], "N4file")
	}
}
