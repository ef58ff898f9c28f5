package weights

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// copyOf puts a golden checkpoint into a fresh folder.
func copyOf(t *testing.T, golden string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "testdata", "goldens", golden))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sourcesOf(t *testing.T, dir, base string, prefixes ...string) []Source {
	t.Helper()
	c, err := Open(dir, Options{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Sources(prefixes...)
}

// A source is the same as long as its path, size and time are; each part has the files that its tensors are in.
func TestSources(t *testing.T) {
	dir := copyOf(t, "mono")
	path := filepath.Join(dir, "model.safetensors")
	before := sourcesOf(t, dir, "", "decoder.")
	if len(before) != 1 || before[0].Path != path || before[0].Hash != "" || !before[0].Current() {
		t.Fatalf("got %+v, want %s", before, path)
	}
	if again := sourcesOf(t, dir, "", "text_encoder."); !slices.Equal(again, before) {
		t.Errorf("another part of the file: got %+v, want %+v", again, before)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after := sourcesOf(t, dir, "", "decoder."); after[0].Identity() == before[0].Identity() || before[0].Current() {
		t.Errorf("the file has changed: got %+v after %+v", after, before)
	}
	if got := sourcesOf(t, dir, "", "no such part"); got != nil {
		t.Errorf("no tensors: got %+v", got)
	}
	os.Remove(path)
	if before[0].Current() {
		t.Error("a file that is gone is current")
	}
}

// In the hub's cache the content tells a file apart, wherever it is and whenever it was written.
func TestSourcesOfTheHub(t *testing.T) {
	dir := copyOf(t, "mono")
	snapshot := func(name string) string {
		root := filepath.Join(t.TempDir(), name)
		blob, link := filepath.Join(root, "blobs", strings.Repeat("5e", 32)), filepath.Join(root, "snapshots", "1", "model.safetensors")
		data, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		for _, folder := range []string{filepath.Dir(blob), filepath.Dir(link)} {
			if err == nil {
				err = os.MkdirAll(folder, 0o777)
			}
		}
		if err == nil {
			err = os.WriteFile(blob, data, 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(blob, link); err != nil {
			t.Skipf("this system makes no links: %v", err)
		}
		if err := os.Link(filepath.Join(dir, "config.json"), filepath.Join(filepath.Dir(link), "config.json")); err != nil {
			t.Fatal(err)
		}
		return filepath.Dir(link)
	}
	a, b := sourcesOf(t, snapshot("a"), "", "decoder."), sourcesOf(t, snapshot("b"), "", "decoder.")
	if a[0].Identity() != b[0].Identity() || a[0].Hash != strings.Repeat("5e", 32) || a[0].Path == b[0].Path {
		t.Errorf("got %+v and %+v, want one identity", a, b)
	}
}

// A fine-tune's text encoder is its base's, by the base's file.
func TestSourcesOfABase(t *testing.T) {
	base := copyOf(t, "mono")
	dir := copyOf(t, "mono-audiocraft")
	text, decoder := sourcesOf(t, dir, base, "text_encoder."), sourcesOf(t, dir, base, "decoder.", "enc_to_dec_proj.")
	if want := filepath.Join(base, "model.safetensors"); len(text) != 1 || text[0].Path != want {
		t.Errorf("text encoder: got %+v, want %s", text, want)
	}
	if want := filepath.Join(dir, "state_dict.bin"); len(decoder) != 1 || decoder[0].Path != want {
		t.Errorf("decoder: got %+v, want %s", decoder, want)
	}
}

// What is in memory has no source.
func TestNoSources(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"config.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join("..", "testdata", "goldens", "mono", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	c, err := OpenFS(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Sources("decoder."); got != nil {
		t.Errorf("got %+v, want none", got)
	}
}

// Forgetting costs time, never content: not of a mapped file, and not of what is in the heap.
func TestForget(t *testing.T) {
	c, err := Open(copyOf(t, "mono"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	heap := FromFloats("heap", slices.Repeat([]float32{1, 2, 3, 4}, 10000), 40000)
	mapped := 0
	for _, tensor := range append(c.Tensors(), heap, Derive("derived", func() []float32 { return []float32{1} }, 1)) {
		before := bytes.Clone(tensor.Settled().Data)
		tensor.Forget()
		if !bytes.Equal(tensor.Settled().Data, before) {
			t.Errorf("%s: forgetting changed it", tensor.Name)
		}
		if tensor.mapped {
			mapped++
		}
	}
	c.Forget()
	if mapped != len(c.Tensors()) {
		t.Errorf("got %d mapped tensors, want all %d of the file", mapped, len(c.Tensors()))
	}
}

func TestDerived(t *testing.T) {
	computed := 0
	d := Derive("sum", func() []float32 { computed++; return []float32{1, 2, 3, 4, 5, 6} }, 3, 2)
	if !d.Derived() || d.Data != nil || d.Len() != 6 || computed != 0 {
		t.Errorf("before: got %+v, computed %d times", d, computed)
	}
	settled, row := d.Settled(), make([]float32, 2)
	d.Decode(row, 4)
	if settled.Derived() || len(settled.Data) != 24 || settled.Settled() != settled || !slices.Equal(row, []float32{5, 6}) {
		t.Errorf("got %+v, last row %v", settled, row)
	}
	if got := d.Rows("middle", 1, 2).Floats(); !slices.Equal(got, []float32{3, 4}) || !slices.Equal(d.Floats(), settled.Floats()) {
		t.Errorf("middle row: got %v", got)
	}
}

func TestWriteSafetensorsAt(t *testing.T) {
	tensors := []*Tensor{{Name: "a", DType: U8, Shape: []int{64}, Data: make([]byte, 64)}, FromFloats("b", make([]float32, 16), 16)}
	for extra := range 70 {
		var file bytes.Buffer
		if err := WriteSafetensorsAt(&file, tensors, map[string]string{"x": strings.Repeat("y", extra)}, 64); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSafetensors("memory", file.Bytes()); err != nil {
			t.Fatal(err)
		}
		if begin := file.Len() - 128; begin%64 != 0 {
			t.Errorf("%d bytes more: data begins at %d, want a multiple of 64", extra, begin)
		}
	}
}
