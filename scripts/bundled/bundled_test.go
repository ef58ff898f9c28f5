package main

import (
	"bytes"
	"io/fs"
	"testing"

	"segue/weights/bundled"
)

// The stored model is what the program makes, byte for byte, and small enough to carry.
func TestBundledIsFresh(t *testing.T) {
	made, err := files("../../testdata/goldens/mono/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, want := range made {
		got, err := fs.ReadFile(bundled.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what scripts/bundled makes: run make generate", name)
		}
		total += len(got)
	}
	if total > 4<<20 {
		t.Errorf("bundled model: %d bytes, want at most 4 MiB", total)
	}
}
