package weights

// A checkpoint of any shape without any file: its configuration is given, its tensors are invented when they are asked
// for. Every tensor is a window of one block of random halves, so that a model of gigabytes costs 64 MB until a
// backend packs it; names choose the windows, so two checkpoints of one configuration are alike.

import (
	"encoding/binary"
	"hash/fnv"
	"io/fs"
	"math"
	"math/rand/v2"
	"strings"
)

const (
	blockElements = 1 << 25 // the largest published tensor, T5's vocabulary, has 24.7 million
	spread        = 0.02    // standard deviation of the weights, as models are initialised
)

// Synthetic makes a checkpoint with random weights for the config.json in fsys. Measuring speed needs no more; the music is
// noise. Other files of fsys, such as a tokenizer, belong to it too.
func Synthetic(fsys fs.FS) (*Checkpoint, error) {
	c := newCheckpoint(folder{fsys: fsys})
	c.Layout = HuggingFace
	if err := c.readConfig(); err != nil {
		return nil, err
	}
	c.invented = &inventor{random: randomHalves(blockElements)}
	return c, nil
}

// inventor makes the tensors of a Synthetic checkpoint.
type inventor struct {
	random []byte // float16
}

// tensor returns ones for the weight of a norm, which keeps activations in their usual range, and random halves otherwise.
func (v *inventor) tensor(name string, shape []int) *Tensor {
	t := &Tensor{Name: name, DType: F16, Shape: shape}
	size := 2 * t.Len()
	switch {
	case len(shape) == 1 && strings.HasSuffix(name, "norm.weight"):
		t.Data = make([]byte, size)
		for i := 0; i < size; i += 2 {
			binary.LittleEndian.PutUint16(t.Data[i:], F32ToF16(1))
		}
	case size > len(v.random):
		t.Data = randomHalves(t.Len())
	default:
		h := fnv.New64a()
		h.Write([]byte(name))
		lines := uint64(len(v.random)-size)/64 + 1 // windows begin at cache lines
		at := int(h.Sum64() % lines * 64)
		t.Data = v.random[at : at+size]
	}
	return t
}

// randomHalves are n normally distributed numbers, drawn from the 4096 quantiles of the distribution.
func randomHalves(n int) []byte {
	const quantiles = 1 << 12
	var table [quantiles]uint16
	for i := range table {
		p := (float64(i) + 0.5) / quantiles
		table[i] = F32ToF16(float32(spread * math.Sqrt2 * math.Erfinv(2*p-1)))
	}
	generator := rand.NewPCG(1, 2)
	data := make([]byte, 2*n)
	for i, bits := 0, uint64(0); i < n; i, bits = i+1, bits>>12 {
		if i%5 == 0 { // a word gives five draws
			bits = generator.Uint64()
		}
		binary.LittleEndian.PutUint16(data[2*i:], table[bits%quantiles])
	}
	return data
}
