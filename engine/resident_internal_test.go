package engine

import (
	"testing"

	"segue/engine/cpukern"
	"segue/engine/musicgen"
	"segue/weights"
)

// What a model is expected to hold before it is loaded is about what it then holds.
func TestPackedBytes(t *testing.T) {
	backend, err := cpukern.Open(cpukern.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	for _, o := range []ModelOptions{{}, {Quantization: "none"}, {Quantization: "f16", Codec: "f32"}, {Quantization: "q4", TextEncoder: "q8", Embeddings: "q8"}} {
		c, err := weights.Open("../weights/bundled", weights.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := musicgen.Load(t.Context(), backend, c, o.precisions())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := packedBytes(c, o.precisions()), m.Bytes(); got > want+want/10 || got < want-want/10 {
			t.Errorf("%+v: got %d bytes, want about %d", o, got, want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	c, err := weights.Open("../testdata/goldens/melody", weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stored, floats := ModelOptions{Quantization: "none", Codec: "f32"}, ModelOptions{Quantization: "f32", Embeddings: "f32", TextEncoder: "f32", Codec: "f32"}
	if got, want := packedBytes(c, stored.precisions()), packedBytes(c, floats.precisions()); got != want {
		t.Errorf("bfloat16 as stored: got %d bytes, want %d, as float32", got, want)
	}
}
