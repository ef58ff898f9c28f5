package encodec

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/weights"
)

// chance is a source of random tensors, the same for the same name, that keep activations near 1. It writes down
// what it was asked for.
type chance struct{ asked []string }

func (c *chance) Tensor(name string, shape ...int) *weights.Tensor {
	c.asked = append(c.asked, fmt.Sprint(name, " ", shape))
	seed := fnv.New64a()
	seed.Write([]byte(name))
	rng := rand.New(rand.NewPCG(seed.Sum64(), 0))
	n, inputs := 1, 1
	for i, d := range shape {
		n *= d
		if i > 0 {
			inputs *= d
		}
	}
	scale := 1 / math.Sqrt(float64(inputs))
	if len(shape) == 1 {
		scale = 0.1 // a bias
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(rng.NormFloat64() * scale)
	}
	return weights.FromFloats(name, values, shape...)
}

func (c *chance) Conv(prefix string, shape ...int) *weights.Tensor {
	return c.Tensor(prefix+".weight", shape...)
}

func (c *chance) Ignore(pattern string) { c.asked = append(c.asked, "ignore "+pattern) }

// small is a codec with a little of everything, quick enough for the reference.
func small() Config {
	return Config{
		SamplingRate: 1000, HiddenSize: 5, NumFilters: 3, UpsamplingRatios: []int{5, 3, 2}, NumResidualLayers: 1,
		NumLSTMLayers: 2, KernelSize: 7, LastKernelSize: 5, ResidualKernelSize: 3, DilationGrowthRate: 2, Compress: 2,
		TrimRightRatio: 1, CodebookSize: 11, Codebooks: 3,
	}
}

// TestBindNames holds names and shapes against those of a released checkpoint, and of one with every option.
func TestBindNames(t *testing.T) {
	config, err := parse(t, released())
	if err != nil {
		t.Fatal(err)
	}
	config.NumFilters, config.HiddenSize, config.CodebookSize = 4, 6, 8 // in place of 64, 128, 2048
	check := func(config Config, want ...string) {
		t.Helper()
		c := &chance{}
		bind(c, config)
		for _, entry := range want {
			if !slices.Contains(c.asked, entry) {
				t.Errorf("%s was not asked for, only %q", entry, c.asked)
			}
		}
	}
	check(config,
		"audio_encoder.encoder.layers.0.conv.weight [4 1 7]", "audio_encoder.encoder.layers.0.conv.bias [4]",
		"audio_encoder.encoder.layers.1.block.1.conv.weight [2 4 3]", "audio_encoder.encoder.layers.1.block.3.conv.weight [4 2 1]",
		"audio_encoder.encoder.layers.3.conv.weight [8 4 8]", "audio_encoder.encoder.layers.6.conv.weight [16 8 8]",
		"audio_encoder.encoder.layers.9.conv.weight [32 16 10]", "audio_encoder.encoder.layers.12.conv.weight [64 32 16]",
		"audio_encoder.encoder.layers.13.lstm.weight_ih_l0 [256 64]", "audio_encoder.encoder.layers.13.lstm.bias_hh_l1 [256]",
		"audio_encoder.encoder.layers.15.conv.weight [6 64 7]",
		"audio_encoder.decoder.layers.0.conv.weight [64 6 7]", "audio_encoder.decoder.layers.1.lstm.weight_hh_l1 [256 64]",
		"audio_encoder.decoder.layers.3.conv.weight [64 32 16]", "audio_encoder.decoder.layers.3.conv.bias [32]",
		"audio_encoder.decoder.layers.4.block.1.conv.weight [16 32 3]", "audio_encoder.decoder.layers.6.conv.weight [32 16 10]",
		"audio_encoder.decoder.layers.13.block.3.conv.bias [4]", "audio_encoder.decoder.layers.15.conv.weight [1 4 7]",
		"audio_encoder.quantizer.layers.3.codebook.embed [8 6]",
	)
	config.NumResidualLayers, config.UseConvShortcut, config.NumLSTMLayers = 2, true, 1
	check(config,
		"audio_encoder.encoder.layers.2.block.1.conv.weight [2 4 3]", "audio_encoder.encoder.layers.2.shortcut.conv.weight [4 4 1]",
		"audio_encoder.encoder.layers.4.conv.weight [8 4 8]", "audio_encoder.encoder.layers.17.lstm.bias_ih_l0 [256]",
		"audio_encoder.encoder.layers.19.conv.weight [6 64 7]",
		"audio_encoder.decoder.layers.5.block.1.conv.weight [16 32 3]", "audio_encoder.decoder.layers.7.conv.weight [32 16 10]",
		"audio_encoder.decoder.layers.19.conv.weight [1 4 7]",
	)
}
