package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"segue/engine/encodec"
	"segue/engine/lm"
	"segue/engine/musicgen"
	"segue/engine/t5"
	"segue/weights"
	"segue/weights/bundled"
)

// What travels in the binary is small enough, complete, and the same in 8 bits as in the file.
func TestBundled(t *testing.T) {
	total := 0
	for _, name := range append(copied, "model.safetensors") {
		data, err := fs.ReadFile(bundled.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		total += len(data)
	}
	if total > limit {
		t.Errorf("got %d bytes, want at most %d", total, limit)
	}
	c, err := weights.OpenFS(bundled.FS(), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.DType() != weights.I8 {
		t.Errorf("the decoder is stored as %s, want I8", c.DType())
	}
	for _, matrix := range matrices(t, c) {
		checkSettled(t, matrix)
	}
}

// matrices binds the whole model and returns the decoder's large ones.
func matrices(t *testing.T, c *weights.Checkpoint) (list []*weights.Tensor) {
	t.Helper()
	config, err := musicgen.ParseConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	b := c.Bind()
	t5.Bind(b, config.Text)
	encodec.Bind(b, config.Codec)
	decoder := lm.Bind(b, config.Decoder)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	list = append(decoder.Embed, decoder.Heads...)
	for _, l := range decoder.Layers {
		list = append(list, l.Self.Q, l.Self.K, l.Self.V, l.Self.Out, l.Cross.Q, l.Cross.K, l.Cross.V, l.Cross.Out, l.FC1, l.FC2)
	}
	return list
}

// checkSettled: rounding to 8 bits finds the stored integers and scales.
func checkSettled(t *testing.T, matrix *weights.Tensor) {
	t.Helper()
	q, err := weights.Quantize(matrix.Floats(), matrix.Shape[1], 8)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range q.Values {
		if byte(v) != matrix.Data[i] {
			t.Fatalf("%s: integer %d: got %d, stored is %d", matrix.Name, i, v, int8(matrix.Data[i]))
		}
	}
	for i, s := range q.Scales {
		if stored := uint16(matrix.Scales[2*i]) | uint16(matrix.Scales[2*i+1])<<8; s != stored {
			t.Fatalf("%s: scale %d: got %#x, stored is %#x", matrix.Name, i, s, stored)
		}
	}
}

// There and back: the plain checkpoint has the values of the bundle, which are near those that it was made from.
func TestRoundTrip(t *testing.T) {
	packed, plain := filepath.Join(t.TempDir(), "packed"), filepath.Join(t.TempDir(), "plain")
	if err := pack("../../testdata/tiny", packed); err != nil {
		t.Fatal(err)
	}
	if err := unpack(packed, plain); err != nil {
		t.Fatal(err)
	}
	var models [3][]*weights.Tensor
	for i, dir := range []string{"../../testdata/tiny", packed, plain} {
		c, err := weights.Open(dir, weights.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		models[i] = matrices(t, c)
	}
	for i, matrix := range models[1] {
		values := matrix.Floats()
		if !slices.Equal(values, models[2][i].Floats()) {
			t.Errorf("%s: the plain checkpoint differs from the bundle", matrix.Name)
		}
		wrong, signal := 0.0, 0.0
		for j, v := range models[0][i].Floats() {
			d := float64(values[j] - v)
			wrong, signal = wrong+d*d, signal+float64(v)*float64(v)
		}
		if wrong > 5e-5*signal {
			t.Errorf("%s: rounding error %g of the signal, want at most 5e-5", matrix.Name, wrong/signal)
		}
	}
	if err := pack(plain, packed); err != nil {
		t.Fatal(err)
	}
	again, err := weights.Open(packed, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i, matrix := range matrices(t, again) {
		if !slices.Equal(matrix.Floats(), models[2][i].Floats()) {
			t.Errorf("%s: packing what was unpacked changed it", matrix.Name)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := pack(dir, t.TempDir()); err == nil {
		t.Error("a folder without a model: got no error")
	}
	if err := os.CopyFS(dir, os.DirFS("../../testdata/tiny")); err != nil {
		t.Fatal(err)
	}
	half := &weights.Tensor{Name: "decoder.a", DType: weights.I8, Shape: []int{64, 64}, Data: make([]byte, 4096)}
	for name, tensors := range map[string][]*weights.Tensor{
		"no scales":      {half},
		"flat scales":    {half, {Name: "decoder.a.scale", DType: weights.F16, Shape: []int{3}, Data: make([]byte, 6)}},
		"too large":      {weights.FromFloats("audio_encoder.a", []float32{1e6}, 1)},
		"no room at all": {weights.FromFloats("audio_encoder.a", make([]float32, 13<<20), 13<<20)},
	} {
		file, err := encode(tensors)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), file, 0o600); err != nil {
			t.Fatal(err)
		}
		run := pack
		if tensors[0] == half {
			run = unpack
		}
		if err := run(dir, t.TempDir()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
