// Command bundled turns a trained checkpoint into the model that travels inside the binary, and back.
//
//	go run ./scripts/bundled pack build/model/checkpoint weights/bundled
//	go run ./scripts/bundled unpack weights/bundled build/model/unpacked
//
// pack rounds the large matrices of all parts to 8 bits (weights.Group) and leaves everything else, filters among it, in
// float16; what it writes is a checkpoint folder that segue opens anywhere. unpack writes the same values as plain
// float32, which transformers reads: the reference's results on the bundled model are made from that.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// copied are the small files of a checkpoint.
var copied = []string{"config.json", "generation_config.json", "tokenizer.json"}

// limit of all files together: what a binary that people download may carry.
const limit = 24 << 20

func main() {
	usage := errors.New("usage: bundled pack|unpack FROM TO")
	if len(os.Args) != 4 {
		fail(usage)
	}
	switch os.Args[1] {
	case "pack":
		fail(pack(os.Args[2], os.Args[3]))
	case "unpack":
		fail(unpack(os.Args[2], os.Args[3]))
	default:
		fail(usage)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bundled:", err)
		os.Exit(1)
	}
}

// pack writes the bundle of the checkpoint in from.
func pack(from, to string) error {
	files, err := smallFiles(from)
	if err != nil {
		return err
	}
	if files["model.safetensors"], err = packTensors(filepath.Join(from, "model.safetensors")); err != nil {
		return err
	}
	total := 0
	for _, data := range files {
		total += len(data)
	}
	if total > limit {
		return fmt.Errorf("%s: got %.1f MiB, want at most %d MiB; train a smaller model", from, float64(total)/(1<<20), limit>>20)
	}
	fmt.Printf("%.1f MiB, at most %d\n", float64(total)/(1<<20), limit>>20)
	return writeFiles(to, files)
}

// unpack writes a bundle as a plain checkpoint.
func unpack(from, to string) error {
	files, err := smallFiles(from)
	if err != nil {
		return err
	}
	if files["config.json"], err = withDType(files["config.json"], "float32"); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(from, "config.json"), err)
	}
	if files["model.safetensors"], err = unpackTensors(filepath.Join(from, "model.safetensors")); err != nil {
		return err
	}
	return writeFiles(to, files)
}

func smallFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range copied {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
