package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"

	"segue/engine/audio"
	"segue/engine/kern"
	"segue/engine/t5"
)

// tokens: text → ids, by each tokenizer file of the folder.
func (c *checker) tokens() error {
	files := []struct {
		name string
		open func([]byte) (*t5.Tokenizer, error)
	}{{"tokenizer.json", t5.NewTokenizer}, {"spiece.model", t5.NewSentencePiece}}
	for _, f := range files {
		data, err := c.checkpoint.File(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		tokenizer, err := f.open(data)
		if err != nil {
			return err
		}
		var got, want []int32
		for i, text := range c.golden.texts {
			got = append(got, tokenizer.Encode(text)...)
			want = append(want, c.golden.tokenIDs[i]...)
		}
		c.integers("tokens."+f.name, got, want, nil)
	}
	return nil
}

// items are the token ids of the golden's texts, without their padding.
func (c *checker) items() ([][]int32, error) {
	ids, err := c.golden.tensor("text.input_ids", 2)
	if err != nil || ids == nil {
		return nil, err
	}
	mask, err := c.golden.tensor("text.attention_mask", 2)
	if err != nil {
		return nil, err
	}
	if mask == nil || mask.Len() != ids.Len() {
		return nil, errors.New("golden: text.attention_mask: want one of the shape of text.input_ids")
	}
	values, errIDs := ids.Ints()
	keep, errMask := mask.Ints()
	if err := errors.Join(errIDs, errMask); err != nil {
		return nil, err
	}
	items := make([][]int32, ids.Shape[0])
	for i := range items {
		for j := i * ids.Shape[1]; j < (i+1)*ids.Shape[1]; j++ {
			if keep[j] != 0 {
				items[i] = append(items[i], values[j])
			}
		}
	}
	return items, nil
}

// text: ids → states of the text encoder.
func (c *checker) text() error {
	hidden, err := c.golden.tensor("text.hidden", 3)
	if err != nil || hidden == nil {
		return err
	}
	items, err := c.items()
	if err != nil {
		return err
	}
	var got, want []float32
	for i, ids := range items {
		states, err := c.model.Text.Encode(c.ctx, c.stream, ids)
		if err != nil {
			return err
		}
		own := make([]float32, states.Len())
		err = c.stream.Download(own, kern.All(states))
		states.Free()
		if err != nil {
			return err
		}
		got = append(got, own...)
		row := hidden.Shape[1] * hidden.Shape[2]
		want = append(want, hidden.Floats()[i*row:][:len(ids)*hidden.Shape[2]]...)
	}
	return c.floats("text.hidden", got, want, textTolerance)
}

// chroma is the golden's melody, nil where it has none.
func (c *checker) chroma() ([]float32, error) {
	t, err := c.golden.tensor("melody.features", 3)
	if err != nil || t == nil {
		return nil, err
	}
	return t.Floats(), nil
}

// melody: a melody's audio → chroma.
func (c *checker) melody() error {
	wave, err := c.golden.tensor("melody.audio", 1)
	if err != nil || wave == nil {
		return err
	}
	want, err := c.chroma()
	if err != nil || want == nil {
		return err
	}
	return c.floats("melody.features", audio.Chroma(wave.Floats(), c.model.Rate()), want, 0)
}

// codec: audio → embeddings and codes; stored codes → audio.
func (c *checker) codec() error {
	for _, name := range c.golden.names("encodec.", ".audio") {
		if err := c.codecExample("encodec." + name); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) codecExample(name string) error {
	wave, err := c.golden.tensor(name+".audio", 3)
	if err != nil {
		return err
	}
	embeddings, err := c.golden.tensor(name+".embeddings", 3)
	if err != nil {
		return err
	}
	if embeddings != nil {
		got, frames, err := c.model.Codec.Embeddings(c.ctx, c.stream, wave.Floats())
		if err != nil {
			return err
		}
		if err := c.floats(name+".embeddings", transposed(got, frames), embeddings.Floats(), embeddingsTolerance); err != nil {
			return err
		}
	}
	stored, err := c.golden.tensor(name+".codes", 4)
	if err != nil || stored == nil {
		return err
	}
	want, err := stored.Ints()
	if err != nil {
		return err
	}
	got, _, err := c.model.Codec.Encode(c.ctx, c.stream, wave.Floats())
	if err != nil {
		return err
	}
	c.integers(name+".codes", got, want, nil)
	decoded, err := c.golden.tensor(name+".decoded", 3)
	if err != nil || decoded == nil {
		return err
	}
	var samples []float32
	err = c.model.Codec.Decode(c.ctx, c.stream, want, stored.Shape[3], 0, func(block []float32) error {
		samples = append(samples, block...)
		return nil
	})
	if err != nil {
		return err
	}
	return c.floats(name+".decoded", samples, decoded.Floats(), audioTolerance)
}

// transposed turns [rows][columns] into [columns][rows].
func transposed(x []float32, rows int) []float32 {
	columns := len(x) / max(rows, 1)
	out := make([]float32, len(x))
	for r := range rows {
		for k := range columns {
			out[k*rows+r] = x[r*columns+k]
		}
	}
	return out
}

var filterName = regexp.MustCompile(`^t([0-9.]+?)(?:_k([0-9]+))?(?:_p([0-9.]+))?$`)

// sampling: logits → the distribution that codes are drawn from.
func (c *checker) sampling() error {
	logits, err := c.golden.tensor("sampling.logits", 2)
	if err != nil || logits == nil {
		return err
	}
	for _, name := range c.golden.names("sampling.", ".probs") {
		match := filterName.FindStringSubmatch(name)
		if match == nil {
			return fmt.Errorf("golden: sampling.%s.probs: want a name such as t0.7_k10_p0.9", name)
		}
		op := kern.Sample{Q: logits.Shape[0], Entries: logits.Shape[1], Guidance: 1, TopP: 1}
		op.Temperature = number(match[1])
		op.TopK, _ = strconv.Atoi(match[2])
		if match[3] != "" {
			op.TopP = number(match[3])
		}
		got, err := c.distribution(op, logits.Floats())
		if err != nil {
			return err
		}
		want := c.golden.file.Tensors["sampling."+name+".probs"].Floats()
		if err := c.floats("sampling."+name, got, want, probsTolerance); err != nil {
			return err
		}
	}
	return nil
}

func number(s string) float32 {
	v, _ := strconv.ParseFloat(s, 32) // the pattern lets only numbers through; "1.2.3" gives 0 and fails the comparison
	return float32(v)
}

// distribution runs op on logits and returns the probabilities that it would draw from.
func (c *checker) distribution(op kern.Sample, logits []float32) ([]float32, error) {
	op.Variations, op.Group, op.Stride, op.Column, op.Frames = 1, 1, 2, 1, 1
	op.Delays = make([]int, op.Q)
	input, err := c.backend.Floats(len(logits))
	if err != nil {
		return nil, err
	}
	defer input.Free()
	probs, err := c.backend.Floats(len(logits))
	if err != nil {
		return nil, err
	}
	defer probs.Free()
	integers, err := c.backend.Ints(op.Q*op.Stride + 2)
	if err != nil {
		return nil, err
	}
	defer integers.Free()
	c.stream.Upload(kern.All(input), logits)
	op.Logits, op.Probs = kern.All(input), kern.All(probs)
	op.Codes, op.Seeds = kern.All(integers).At(0, op.Q*op.Stride), kern.All(integers).At(op.Q*op.Stride, 2)
	c.stream.Sample(op)
	out := make([]float32, len(logits))
	return out, c.stream.Download(out, op.Probs)
}
