package weights

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func binderOf(tensors ...*Tensor) *Binder {
	c := &Checkpoint{Dir: "model", tensors: map[string]*Tensor{}}
	for _, t := range tensors {
		c.tensors[t.Name] = t
	}
	return c.Bind()
}

func TestBind(t *testing.T) {
	b := binderOf(
		FromFloats("right", []float32{1, 2}, 2),
		FromFloats("wide", []float32{1, 2}, 1, 2),
		FromFloats("unused.a", []float32{1}, 1),
		FromFloats("unused.b", []float32{1}, 1),
		FromFloats("layer.7.inited", []float32{1}, 1),
	)
	if got := b.Tensor("right", 2); got.Len() != 2 {
		t.Errorf("got shape %v, want [2]", got.Shape)
	}
	if got := b.Tensor("wide", -1, 2); got.Len() != 2 {
		t.Errorf("got shape %v, want [1 2]", got.Shape)
	}
	if got := b.Optional("absent", 3); got != nil {
		t.Errorf("got %s, want nil", got.Name)
	}
	b.Ignore("unused.")
	b.Ignore("*.inited")
	if err := b.Err(); err != nil {
		t.Error(err)
	}
}

func TestBindCollectsProblems(t *testing.T) {
	b := binderOf(
		FromFloats("short", []float32{1}, 1),
		FromFloats("flat", []float32{1, 2}, 2),
		&Tensor{Name: "whole", DType: I64, Shape: []int{1}, Data: make([]byte, 8)},
		FromFloats("stray", []float32{1}, 1),
	)
	for _, placeholder := range []*Tensor{
		b.Tensor("missing", 4, 4), b.Tensor("short", 2), b.Optional("flat", 1, 2), b.Tensor("whole", 1), b.Conv("conv", 2, 3, 4),
	} {
		if placeholder == nil || len(placeholder.Floats()) != 0 {
			t.Error("want an empty tensor in place of a wrong one")
		}
	}
	var problem *BindError
	if err := b.Err(); !errors.As(err, &problem) {
		t.Fatalf("got %v, want a BindError", err)
	}
	if !slices.Equal(problem.Missing, []string{"missing", "conv.weight"}) || !slices.Equal(problem.Extra, []string{"stray"}) {
		t.Errorf("got missing %v, extra %v", problem.Missing, problem.Extra)
	}
	want := []string{"short: got shape [1], want [2]", "flat: got shape [2], want [1 2]", "whole: got dtype I64, want floats"}
	if !slices.Equal(problem.Wrong, want) {
		t.Errorf("got wrong %q, want %q", problem.Wrong, want)
	}
	for _, part := range []string{"model", "2 missing (missing, conv.weight)", "3 wrong", "1 unknown (stray)"} {
		if !strings.Contains(problem.Error(), part) {
			t.Errorf("%q lacks %q", problem.Error(), part)
		}
	}
}

func TestBindErrorIsShort(t *testing.T) {
	b := binderOf()
	for i := range 1000 {
		b.Tensor(fmt.Sprintf("layer.%d", i), 1)
	}
	if text := b.Err().Error(); !strings.Contains(text, "1000 missing") || !strings.Contains(text, "and 990 more") || len(text) > 500 {
		t.Errorf("got %q", text)
	}
}

// Names come from files: one in an error neither fills the screen nor steers the terminal.
func TestBindErrorIsPlain(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	b := binderOf(FromFloats("\x1b[2Jgone", []float32{1}, 1), FromFloats("bad\xff", []float32{1}, 1), FromFloats(long, []float32{1}, 1))
	text := b.Err().Error()
	if !strings.Contains(text, `"\x1b[2Jgone", "bad\xff", "xxx`) || len(text) > 1000 {
		t.Errorf("got %.1000q", text)
	}
}

func TestConvSpellings(t *testing.T) {
	g := []float32{2, -3}
	v := []float32{3, 0, 0, 4, 0, 0, 1, 1, 1, 1, 1, 1}
	norms := []float64{5, math.Sqrt(6)}
	folded := make([]float32, len(v))
	for i := range v {
		folded[i] = float32(float64(g[i/6]) / norms[i/6] * float64(v[i]))
	}
	for name, tensors := range map[string]map[string]*Tensor{
		"folded": {"c.conv.weight": FromFloats("", folded, 2, 3, 2)},
		"g and v": {
			"c.conv.weight_g": FromFloats("", g, 2, 1, 1),
			"c.conv.weight_v": FromFloats("", v, 2, 3, 2)},
		"parametrizations": {
			"c.conv.parametrizations.weight.original0": FromFloats("", g, 2, 1, 1),
			"c.conv.parametrizations.weight.original1": FromFloats("", v, 2, 3, 2)},
	} {
		b := binderOf(fromHuggingFace(tensors)...)
		got := b.Conv("c.conv", 2, 3, 2)
		if err := b.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(got.Floats(), folded) {
			t.Errorf("%s: got %v, want %v", name, got.Floats(), folded)
		}
	}
}

func TestConvProblems(t *testing.T) {
	for name, tensors := range map[string][]*Tensor{
		"nothing":     {},
		"g alone":     {FromFloats("c.weight_g", []float32{1}, 1, 1)},
		"v alone":     {FromFloats("c.weight_v", []float32{1, 2}, 1, 2)},
		"g too long":  {FromFloats("c.weight_g", []float32{1, 2}, 2, 1), FromFloats("c.weight_v", []float32{1, 2}, 1, 2)},
		"v misshapen": {FromFloats("c.weight_g", []float32{1}, 1, 1), FromFloats("c.weight_v", []float32{1, 2, 3}, 1, 3)},
	} {
		b := binderOf(tensors...)
		if got := b.Conv("c", 1, 2); got == nil || got.Len() != 0 || b.Err() == nil {
			t.Errorf("%s: got a tensor of %v and error %v", name, got.Shape, b.Err())
		}
	}
	b := binderOf(FromFloats("c.weight_g", []float32{1}, 1, 1), FromFloats("c.weight_v", []float32{0, 0}, 1, 2))
	if got := b.Conv("c", 1, 2).Floats(); !slices.Equal(got, []float32{0, 0}) {
		t.Errorf("a zero filter became %v", got)
	}
}

// The goldens have the same weights under two spellings.
func TestConvGoldenSpellings(t *testing.T) {
	single, sharded := openGolden(t, "stereo", Options{}).Bind(), openGolden(t, "stereo-sharded", Options{}).Bind()
	const first = "audio_encoder.encoder.layers.0.conv"
	a, b := single.Conv(first, -1, 1, 7), sharded.Conv(first, -1, 1, 7)
	if a.Len() == 0 {
		t.Fatalf("%s was not found", first)
	}
	requireEqual(t, b, a)
}

// BenchmarkFoldWeightNorm: the largest convolution of the 32 kHz codec.
func BenchmarkFoldWeightNorm(b *testing.B) {
	g, v := make([]float32, 1024), make([]float32, 1024*512*16)
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	b.SetBytes(int64(4 * len(v)))
	for b.Loop() {
		foldWeightNorm(g, v)
	}
}
