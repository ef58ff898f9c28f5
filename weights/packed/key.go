// Package packed keeps the weights of models in the form in which a device computes with them, so that a model is packed
// once and later starts, and other processes, only map a file.
//
//	Cache.Shelf(key) ── a sound file of that key? ──► Take: views of the mapped file
//	                                     └─ no ────► the backend packs, Put ── Save ──► temporary file, sync, rename
//
// A file holds one part of a model (text encoder, codec, decoder) in one precision: models that share a part, such as
// fine-tunes with their base's text encoder, share its file and the memory under it. The container is safetensors: plain
// bytes by name, and in the metadata the format, the key and checksums. Files are read-only once they have their name.
//
// All of a file is compared with its checksums before it is used: what every step reads when it is opened, the rest after
// the load and before its first use. So any damage to the file up to then is noticed. What is not: a change of the file while it
// is mapped (segue never writes into one), or of a source file that keeps its size and time of change.
//
// The oddity: nothing here fails a load. What cannot be read is packed again, what cannot be written is not kept.
package packed

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"segue/weights"
)

// format changes whenever the container does.
const format = "segue packed 1"

const extension = ".safetensors"

// A Key says what a file holds and what it was made of.
type Key struct {
	Layout    string           `json:"layout"`    // of the backend: family/version
	Part      string           `json:"part"`      // of the model
	Precision string           `json:"precision"` // that it is held in
	Config    string           `json:"config"`    // digest of the configuration that gives the shapes
	Sources   []weights.Source `json:"sources"`
}

// identity is equal for keys whose files would hold the same.
func (k Key) identity() string {
	lines := []string{format, k.Layout, k.Part, k.Precision, k.Config}
	for _, s := range k.Sources {
		lines = append(lines, s.Identity())
	}
	return strings.Join(lines, "\n")
}

// file is the name of the file; what a person can read in it is for people only.
func (k Key) file() string {
	sum := sha256.Sum256([]byte(k.identity()))
	return fmt.Sprintf("%s-%s-%s%s", k.Part, k.Precision, hex.EncodeToString(sum[:12]), extension)
}

// current says whether all sources are still there and the same.
func (k Key) current() bool {
	for _, s := range k.Sources {
		if !s.Current() {
			return false
		}
	}
	return true
}

// family is the layout without its version.
func family(layout string) string {
	name, _, _ := strings.Cut(layout, "/")
	return name
}
