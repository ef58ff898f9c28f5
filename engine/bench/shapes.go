package bench

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"segue/weights"
)

//go:embed shapes
var shapes embed.FS

// shapeNames are the published sizes.
var shapeNames = []string{"small", "medium", "large"}

// OpenShape makes a checkpoint of a published size with random weights.
func OpenShape(name string) (*weights.Checkpoint, error) {
	for _, known := range shapeNames {
		if name == known {
			files, err := fs.Sub(shapes, "shapes/"+name)
			if err != nil {
				return nil, err
			}
			return weights.Synthetic(files)
		}
	}
	return nil, fmt.Errorf("bench: shape: got %q, want %s", name, strings.Join(shapeNames, ", "))
}
