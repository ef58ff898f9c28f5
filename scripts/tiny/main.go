// Command tiny makes testdata/tiny, the model that tests run on: a small, untrained MusicGen checkpoint in the Hugging
// Face layout. Its structure is the real one (T5, delay pattern, 32 kHz codec with ratios 8·5·4·4), its weights are
// random, and so what it plays is noise, fast.
//
//	go run ./scripts/tiny testdata/tiny        (from the root; the tokenizer is that of testdata/goldens/mono)
//
// The same source makes the same bytes on every machine: the random stream is PCG, sums are kept apart from products.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"segue/weights"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: tiny FOLDER")
		os.Exit(2)
	}
	files, err := files("testdata/goldens/mono/tokenizer.json")
	for name, data := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name), data, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tiny:", err)
		os.Exit(1)
	}
}

// files returns the checkpoint by file name.
func files(tokenizer string) (map[string][]byte, error) {
	vocabulary, err := os.ReadFile(tokenizer)
	if err != nil {
		return nil, err
	}
	var model bytes.Buffer
	if err := weights.WriteSafetensors(&model, tensors(), map[string]string{"format": "pt"}); err != nil {
		return nil, err
	}
	return map[string][]byte{
		"config.json":            encode(config()),
		"generation_config.json": encode(generation()),
		"model.safetensors":      model.Bytes(),
		"tokenizer.json":         vocabulary,
	}, nil
}
