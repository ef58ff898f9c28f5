package bench

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"segue/weights"
)

//go:embed shapes
var shapes embed.FS

// shapeNames are the published sizes.
var shapeNames = []string{"small", "medium", "large"}

// OpenShape makes a checkpoint of a published size with random weights.
func OpenShape(name string) (*weights.Checkpoint, error) {
	files, err := shape(name)
	if err != nil {
		return nil, err
	}
	return weights.Synthetic(files)
}

// ShapeConfig is the config.json of a published size.
func ShapeConfig(name string) ([]byte, error) {
	files, err := shape(name)
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(files, "config.json")
}

func shape(name string) (fs.FS, error) {
	if !slices.Contains(shapeNames, name) {
		return nil, fmt.Errorf("bench: shape: got %q, want %s", name, strings.Join(shapeNames, ", "))
	}
	return fs.Sub(shapes, "shapes/"+name)
}
