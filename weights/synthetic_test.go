package weights

import (
	"math"
	"slices"
	"testing"
	"testing/fstest"
)

func synthetic(t *testing.T) *Checkpoint {
	t.Helper()
	config := `{"model_type": "musicgen", "decoder": {"hidden_size": 8}, "text_encoder": {}, "audio_encoder": {}}`
	c, err := Synthetic(fstest.MapFS{"config.json": {Data: []byte(config)}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSynthetic(t *testing.T) {
	c := synthetic(t)
	if got := string(c.Section("decoder")); got != `{"hidden_size": 8}` {
		t.Errorf("decoder section: got %s", got)
	}
	b := c.Bind()
	w := b.Tensor("some.weight", 300, 400)
	var sum, squares float64
	for _, v := range w.Floats() {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(w.Len())
	if mean, deviation := sum/n, math.Sqrt(squares/n); math.Abs(mean) > 3e-4 || math.Abs(deviation-spread) > 1e-3 {
		t.Errorf("got mean %g and deviation %g, want 0 and %g", mean, deviation, spread)
	}
	if norm := b.Tensor("layers.0.layer_norm.weight", 3).Floats(); !slices.Equal(norm, []float32{1, 1, 1}) {
		t.Errorf("norm: got %v, want ones", norm)
	}
	if b.Optional("absent", 2) != nil {
		t.Error("got an optional tensor, want none: models then do without")
	}
	if got := b.Conv("conv", 2, 3, 4); got.Len() != 24 {
		t.Errorf("convolution: got shape %v", got.Shape)
	}
	if err := b.Err(); err != nil {
		t.Error(err)
	}
}

// Two names have different weights, one name has the same ones in every checkpoint.
func TestSyntheticNames(t *testing.T) {
	a, b := synthetic(t).Bind(), synthetic(t).Bind()
	if !slices.Equal(a.Tensor("x", 64).Data, b.Tensor("x", 64).Data) {
		t.Error("x differs between two checkpoints")
	}
	if slices.Equal(a.Tensor("x", 64).Data, a.Tensor("y", 64).Data) {
		t.Error("x and y are the same")
	}
}

func TestSyntheticBeyondTheBlock(t *testing.T) {
	v := inventor{random: randomHalves(64)}
	if got := v.tensor("large", []int{10, 10}); len(got.Data) != 200 {
		t.Errorf("got %d bytes, want 200", len(got.Data))
	}
	if got := v.tensor("whole", []int{64}); len(got.Data) != 128 {
		t.Errorf("got %d bytes, want 128", len(got.Data))
	}
}

func TestSyntheticWithoutConfiguration(t *testing.T) {
	if _, err := Synthetic(fstest.MapFS{}); err == nil {
		t.Error("got no error")
	}
}
