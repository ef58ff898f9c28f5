// Package bundled holds the model that travels inside the binary, so that a first request needs no download.
//
// It is a checkpoint in the Hugging Face layout, opened like any other: weights.OpenFS(bundled.FS(), …). The files are
// made by scripts/bundled from a checkpoint; its matrices are stored in 8 bits.
package bundled

import (
	"embed"
	"io/fs"
)

// Name is what requests and results call the model.
const Name = "random-tiny"

// Description says what to expect of it.
const Description = "untrained: random weights in MusicGen's architecture, which play noise; proves the path from file to file, makes no music"

//go:embed config.json generation_config.json model.safetensors tokenizer.json
var files embed.FS

// FS is the checkpoint's folder.
func FS() fs.FS { return files }
