// Command ptx makes metalkern/cuda/ptx/*.ptx.gz, the kernels for NVIDIA's GPUs, of the Metal texts:
//
//	*.metal ─► C preprocessor ─► package translate, mtl_cuda.h ─► NVRTC ─► *.ptx.gz, the hash of text and header first
//
// The header is two files, the second written without NVIDIA's instructions: tests of package mtltest run that too. Some files are
// made once more for GPUs with instructions of their own, which two more files are for: *.sm_90a.ptx.gz.
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

// A target is a file of kernels, made for one kind of GPU: the oldest, or one with instructions of its own.
type target struct {
	kernels      string   // the file's name, without its ending
	name         string   // that of what is made of it
	architecture string   // NVRTC's name of the GPU
	headers      []string // the parts of the header
}

func targets() (all []target) {
	oldest := []string{header, "mtl_units.h"}
	for _, name := range kernels.Names() {
		all = append(all, target{name, name, "compute_80", oldest})
	}
	hopper := append(oldest[:2:2], "mtl_cuda_warpgroup.h", "mtl_warpgroup.h")
	return append(all, target{"linear_tile", "linear_tile.sm_90a", "compute_90a", hopper})
}

func (t *target) header() (string, error) {
	var b strings.Builder
	for _, name := range t.headers {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		b.Write(text)
	}
	return b.String(), nil
}

// source is what a file is made of, and its hash.
func (t *target) source() (text, head, hash string, err error) {
	if text, err = kernels.Source(t.kernels); err != nil {
		return "", "", "", err
	}
	if head, err = t.header(); err != nil {
		return "", "", "", err
	}
	sum := sha256.Sum256([]byte(text + "\x00" + head))
	return text, head, hex.EncodeToString(sum[:]), nil
}

// stale are the targets whose PTX is missing or not of today's source, and the names of files that nothing makes any more.
func stale() (old []target, leftOver []string, err error) {
	all := targets()
	for _, t := range all {
		_, _, hash, err := t.source()
		if err != nil {
			return nil, nil, err
		}
		if firstLine(t.name) != hashLine+hash {
			old = append(old, t)
		}
	}
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ending)
		if ok && !slices.ContainsFunc(all, func(t target) bool { return t.name == name }) {
			leftOver = append(leftOver, name)
		}
	}
	return old, leftOver, err
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
	old, wrong, err := stale()
	for _, t := range old {
		wrong = append(wrong, t.name)
	}
	if err == nil && len(wrong) > 0 {
		return fmt.Errorf("ptx: stale in %s: %s; `make ptx` makes them again", folder, strings.Join(wrong, ", "))
	}
	return err
}

// remake makes what is stale.
func remake(library string) error {
	old, leftOver, err := stale()
	if err != nil {
		return err
	}
	for _, name := range leftOver {
		if err := os.Remove(filepath.Join(folder, name+ending)); err != nil {
			return err
		}
	}
	compiler, err := openNVRTC(library)
	for _, t := range old {
		if err == nil {
			err = compiler.makeOne(&t)
		}
	}
	return err
}

// makeOne compiles a file for the oldest GPU that has what it is written with.
func (n *nvrtc) makeOne(t *target) error {
	text, head, hash, err := t.source()
	if err != nil {
		return err
	}
	plain, err := preprocess(text, head)
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", t.name, err)
	}
	parsed, err := translate.Parse(plain)
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", t.name, err)
	}
	program := parsed.CUDA(header)
	ptx, err := n.compile(t.name, program, head, t.architecture)
	if err != nil {
		return fmt.Errorf("ptx: %s: %w", t.name, err)
	}
	out := fmt.Sprintf("%s%s\n// Made by `make ptx`, with NVRTC %s. DO NOT EDIT.\n%s", hashLine, hash, n.version, bare(ptx))
	fmt.Printf("%s: %d kernels, %d bytes\n", t.name, len(parsed.Kernels), len(out))
	return write(filepath.Join(folder, t.name+ending), out)
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

// meaning are the comments that mean something: mtl_cuda.h and mtl_cuda_warpgroup.h tell what.
var meaning = regexp.MustCompile(`// (after earlier|memory \d+)$`)

// bare leaves out comments, empty lines, and the compiler's own constants, and makes names the same in every run.
func bare(ptx string) string {
	var b strings.Builder
	for line := range strings.Lines(steady(ptx)) {
		if meaning.MatchString(strings.TrimSpace(line)) {
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
