// Package bundled holds the model that travels inside the binary, so that a first request needs no download.
//
// It is a checkpoint in the Hugging Face layout, opened like any other: weights.OpenFS(bundled.FS(), …). The files are
// made by scripts/train/bundle.sh; README.md beside them is the model's card.
package bundled

import (
	"embed"
	"io/fs"
)

// Name is what requests and results call the model.
const Name = "segue-tiny"

// Description says what to expect of it.
const Description = "trained on composed music, for loops of drums, bass and chords; small and synthetic; MIT licence"

//go:embed config.json generation_config.json model.safetensors tokenizer.json
var files embed.FS

// FS is the checkpoint's folder.
func FS() fs.FS { return files }
