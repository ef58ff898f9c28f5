// Command checkpoint writes a checkpoint of a published size with random weights, in the form in which the published ones
// come: float32, the codec's convolutions as weight_g and weight_v, a tokenizer of 32,100 pieces. It stands in for them
// where loading is measured; it makes noise.
//
//	go run ./scripts/bench/checkpoint small build/random-small
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"segue/engine/bench"
	"segue/engine/encodec"
	"segue/engine/lm"
	"segue/engine/musicgen"
	"segue/engine/t5"
	"segue/weights"
)

const (
	pieces = 32000
	extras = 100
	spread = 0.02 // standard deviation of the weights
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: checkpoint SIZE FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "checkpoint:", err)
		os.Exit(1)
	}
}

func write(size, dir string) error {
	tensors, err := tensorsOf(size)
	if err != nil {
		return err
	}
	config, err := bench.ShapeConfig(size)
	if err != nil {
		return err
	}
	tokenizer, err := json.Marshal(tokenizer())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"config.json": config, "tokenizer.json": tokenizer} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	return bench.WriteFile(filepath.Join(dir, "model.safetensors"), func(w io.Writer) error {
		return weights.WriteSafetensors(w, tensors, map[string]string{"format": "pt"})
	})
}

// tensorsOf are windows of one block of random numbers, but for norms, which are ones.
func tensorsOf(size string) ([]*weights.Tensor, error) {
	c, err := bench.OpenShape(size)
	if err != nil {
		return nil, err
	}
	config, err := musicgen.ParseConfig(c)
	if err != nil {
		return nil, err
	}
	binder := c.Bind() // a checkpoint of invented tensors has those that are asked for
	t5.Bind(binder, config.Text)
	encodec.Bind(binder, config.Codec)
	lm.Bind(binder, config.Decoder)
	if err := binder.Err(); err != nil {
		return nil, err
	}
	d := newDrawer(c.Tensors())
	for _, t := range c.Tensors() {
		switch {
		case strings.HasPrefix(t.Name, "audio_encoder.") && len(t.Shape) == 3:
			d.add(t.Name+"_v", t.Shape...)
			d.addOnes(t.Name+"_g", t.Shape[0], 1, 1)
		case len(t.Shape) == 1 && strings.HasSuffix(t.Name, "norm.weight"):
			d.addOnes(t.Name, t.Shape...)
		default:
			d.add(t.Name, t.Shape...)
		}
	}
	return d.list, nil
}

// drawer cuts float32 tensors from one block.
type drawer struct {
	random *rand.Rand
	block  []byte
	list   []*weights.Tensor
}

func newDrawer(tensors []*weights.Tensor) *drawer {
	largest := 0
	for _, t := range tensors {
		largest = max(largest, t.Len())
	}
	d := &drawer{random: rand.New(rand.NewPCG(1, 2)), block: make([]byte, 0, 4*(largest+1<<20))}
	for len(d.block) < cap(d.block) {
		d.block = binary.LittleEndian.AppendUint32(d.block, math.Float32bits(float32(spread*d.random.NormFloat64())))
	}
	return d
}

func (d *drawer) add(name string, shape ...int) {
	t := &weights.Tensor{Name: name, DType: weights.F32, Shape: shape}
	at := 4 * d.random.IntN(len(d.block)/4-t.Len()+1)
	t.Data = d.block[at : at+4*t.Len()]
	d.list = append(d.list, t)
}

func (d *drawer) addOnes(name string, shape ...int) {
	t := &weights.Tensor{Name: name, DType: weights.F32, Shape: shape}
	ones := make([]float32, t.Len())
	for i := range ones {
		ones[i] = 1
	}
	d.list = append(d.list, weights.FromFloats(name, ones, shape...))
}

// tokenizer has as many pieces as T5's, of random letters.
func tokenizer() map[string]any {
	random := rand.New(rand.NewPCG(3, 4))
	vocabulary := [][]any{{"<pad>", 0.0}, {"</s>", 0.0}, {"<unk>", 0.0}}
	for letter := 'a'; letter <= 'z'; letter++ {
		vocabulary = append(vocabulary, []any{string(letter), -9.5})
	}
	seen := map[string]bool{}
	for len(vocabulary) < pieces {
		word := make([]byte, 2+random.IntN(8))
		for i := range word {
			word[i] = byte('a' + random.IntN(26))
		}
		if piece := "▁" + string(word); !seen[piece] {
			seen[piece] = true
			vocabulary = append(vocabulary, []any{piece, -2 - 11*random.Float64()})
		}
	}
	for i := range extras {
		vocabulary = append(vocabulary, []any{fmt.Sprintf("<extra_id_%d>", extras-1-i), 0.0})
	}
	return map[string]any{
		"version": "1.0", "added_tokens": []any{}, "normalizer": nil,
		"pre_tokenizer": map[string]any{"type": "Metaspace", "replacement": "▁", "add_prefix_space": true},
		"post_processor": map[string]any{
			"type": "TemplateProcessing",
			"single": []any{
				map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}},
				map[string]any{"SpecialToken": map[string]any{"id": "</s>", "type_id": 0}},
			},
			"special_tokens": map[string]any{"</s>": map[string]any{"id": "</s>", "ids": []int{1}, "tokens": []string{"</s>"}}},
		},
		"model": map[string]any{"type": "Unigram", "unk_id": 2, "vocab": vocabulary},
	}
}
