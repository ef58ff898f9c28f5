package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The stored model is what the program makes, byte for byte, and small.
func TestTinyIsFresh(t *testing.T) {
	made, err := files("../../testdata/goldens/mono/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, want := range made {
		got, err := os.ReadFile(filepath.Join("../../testdata/tiny", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what scripts/tiny makes: run make generate", name)
		}
		total += len(got)
	}
	if total > 4<<20 {
		t.Errorf("testdata/tiny: %d bytes, want at most 4 MiB", total)
	}
}
