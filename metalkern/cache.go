package metalkern

// A cache holds keys and values in float32, in halves, or in bytes with one float32 scale for each key and each value. All
// numbers come first, then all scales; both are layer by layer. causal_common.metal has the order within a layer.

import (
	"fmt"

	"segue/engine/kern"
)

// chunkElements of a head lie together in a cache; the last chunk is filled up.
const chunkElements = 8

type cache struct {
	holding
	shape     kern.CacheShape
	precision kern.Precision
	turn      uint64 // the submission that wrote last
	first     int    // the first column that it wrote
}

func (b *backend) Cache(p kern.Precision, shape kern.CacheShape) (kern.Cache, error) {
	columns := kern.Product(shape.Layers, shape.Rows, shape.Columns, shape.Heads, 2)
	padded := shape.HeadDim // checked below: roundUp of a huge number could overflow
	if padded > 0 && padded <= maxHeadDim {
		padded = roundUp(padded, chunkElements)
	}
	n := kern.Product(columns, padded)
	switch {
	case n < 1 || n > kern.MaxElements:
		return nil, fmt.Errorf("metalkern: cache: got %+v, want at most %d elements", shape, kern.MaxElements)
	case shape.HeadDim > maxHeadDim:
		return nil, fmt.Errorf("metalkern: cache: got heads of %d, want at most %d", shape.HeadDim, maxHeadDim)
	case p != kern.F32 && p != kern.F16 && p != kern.Q8:
		return nil, fmt.Errorf("metalkern: cache: got precision %s, want %s, %s or %s", p, kern.F32, kern.F16, kern.Q8)
	}
	c := &cache{shape: shape, precision: p}
	size := int64(n) * c.numberBytes()
	if p == kern.Q8 {
		size += 4 * int64(columns)
	}
	if err := b.hold(&c.holding, "cache", size); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *cache) Shape() kern.CacheShape { return c.shape }

func (c *cache) chunks() int { return ceilDiv(c.shape.HeadDim, chunkElements) }

func (c *cache) numberBytes() int64 { return int64(c.precision.Bits() / 8) }

// layer is the numbers and the scales of one layer.
func (c *cache) layer(n int) (numbers, scales region) {
	vectors := int64(2 * c.shape.Rows * c.shape.Heads * c.shape.Columns)
	size := vectors * int64(c.chunks()*chunkElements) * c.numberBytes()
	numbers = region{memory: c.memory, from: int64(n) * size, to: int64(n+1) * size}
	if c.precision == kern.Q8 {
		first := int64(c.shape.Layers) * size
		scales = region{memory: c.memory, from: first + int64(n)*4*vectors, to: first + int64(n+1)*4*vectors}
	}
	return numbers, scales
}

// writes says that a submission writes columns from first on.
func (c *cache) writes(turn uint64, first int) {
	if c.turn == turn {
		first = min(first, c.first)
	}
	c.turn, c.first = turn, first
}

// settled reports whether all columns before the given one were written before that submission.
func (c *cache) settled(turn uint64, before int) bool { return c.turn != turn || c.first >= before }
