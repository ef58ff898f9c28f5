package cpukern

// A cache holds keys and values in float32, in halves, or in bytes with one float32 scale for each key and each value:
//
//	[layer][row][head][keys, values][column][HeadDim]
//
// so that what one head reads is contiguous. Ops see vectors: the keys or the values of one head.

import (
	"fmt"
	"unsafe"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

type cache struct {
	holding
	shape  kern.CacheShape
	memory []byte
	// Views of it: one of the three holds the numbers.
	floats []float32
	halves []uint16
	bytes8 []int8
	scales []float32 // of bytes8, before them: [layer][row][head][keys, values][column]
}

func (b *backend) Cache(p kern.Precision, shape kern.CacheShape) (kern.Cache, error) {
	columns := kern.Product(shape.Layers, shape.Rows, shape.Columns, shape.Heads, 2)
	n := kern.Product(columns, shape.HeadDim)
	if err := b.checkLength("cache", n); err != nil {
		return nil, err
	}
	var size int
	switch p {
	case kern.F32:
		size = 4 * n
	case kern.F16:
		size = 2 * n
	case kern.Q8:
		size = 4*columns + n
	default:
		return nil, fmt.Errorf("cpukern: cache: got precision %s, want %s, %s or %s", p, kern.F32, kern.F16, kern.Q8)
	}
	memory, err := newMemory(size)
	if err != nil {
		return nil, fmt.Errorf("cpukern: cache: %d bytes of memory: %w", size, err)
	}
	c := &cache{shape: shape, memory: memory}
	switch p {
	case kern.F32:
		c.floats = floatsOf(memory)
	case kern.F16:
		c.halves = halvesOf(memory)
	default:
		c.scales, c.bytes8 = floatsOf(memory)[:columns], bytes8Of(memory)[4*columns:]
	}
	c.hold(b, int64(size))
	return c, nil
}

func bytes8Of(b []byte) []int8 { return unsafe.Slice((*int8)(unsafe.Pointer(&b[0])), len(b)) }

func (c *cache) Shape() kern.CacheShape { return c.shape }

func (c *cache) Free() {
	if c.release() {
		freeMemory(c.memory)
		c.memory, c.floats, c.halves, c.bytes8, c.scales = nil, nil, nil, nil, nil
	}
}

// head returns the keys and the values of one head.
func (c *cache) head(layer, row, head int) (keys, values vectors) {
	first := ((layer*c.shape.Rows+row)*c.shape.Heads + head) * 2
	return c.vectors(first), c.vectors(first + 1)
}

func (c *cache) vectors(index int) vectors {
	columns := c.shape.Columns
	n := columns * c.shape.HeadDim
	v := vectors{width: c.shape.HeadDim}
	switch {
	case c.floats != nil:
		v.floats = c.floats[index*n:][:n]
	case c.halves != nil:
		v.halves = c.halves[index*n:][:n]
	default:
		v.bytes8, v.scales = c.bytes8[index*n:][:n], c.scales[index*columns:][:columns]
	}
	return v
}

// vectors are [columns, width] in one of the precisions of a cache.
type vectors struct {
	width  int
	floats []float32
	halves []uint16
	bytes8 []int8
	scales []float32
}

// put stores x [width] as column.
func (v *vectors) put(k *simd.Kernels, column int, x []float32) {
	at := column * v.width
	switch {
	case v.floats != nil:
		copy(v.floats[at:at+v.width], x)
	case v.halves != nil:
		k.Narrow(v.halves[at:at+v.width], x)
	default:
		v.scales[column] = k.QuantizeVector(v.bytes8[at:at+v.width], x)
	}
}

// dots: scores[j] = q·v[first+j].
func (v *vectors) dots(k *simd.Kernels, scores, q []float32, first int) {
	at := first * v.width
	switch {
	case v.floats != nil:
		k.Dots(scores, q, v.floats[at:], v.width)
	case v.halves != nil:
		k.DotsF16(scores, q, v.halves[at:], v.width)
	default:
		k.DotsI8(scores, q, v.bytes8[at:], v.scales[first:], v.width)
	}
}

// weigh: dst += Σ_j p[j]·v[first+j], in order of j.
func (v *vectors) weigh(k *simd.Kernels, dst, p []float32, first int) {
	at := first * v.width
	switch {
	case v.floats != nil:
		k.Weigh(dst, p, v.floats[at:], v.width)
	case v.halves != nil:
		k.WeighF16(dst, p, v.halves[at:], v.width)
	default:
		k.WeighI8(dst, p, v.bytes8[at:], v.scales[first:], v.width)
	}
}

// fetch asks for the vectors from first on, while something else is computed.
func (v *vectors) fetch(k *simd.Kernels, first int) {
	at := first * v.width
	switch {
	case v.floats != nil:
		fetch(k, v.floats[at:], fetchBytes)
	case v.halves != nil:
		fetch(k, v.halves[at:], fetchBytes)
	default:
		fetch(k, v.bytes8[at:], fetchBytes)
		fetch(k, v.scales[first:], fetchBytes/8)
	}
}

func fetch[T any](k *simd.Kernels, x []T, most int) {
	if len(x) > 0 {
		size := int(unsafe.Sizeof(x[0]))
		k.Fetch(unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), min(size*len(x), most)))
	}
}

// widen converts len(dst)/width columns to float32, from first on.
func (v *vectors) widen(k *simd.Kernels, dst []float32, first int) {
	at := first * v.width
	switch {
	case v.floats != nil:
		copy(dst, v.floats[at:])
	case v.halves != nil:
		k.Widen(dst, v.halves[at:][:len(dst)])
	default:
		for i, scale := range v.scales[first:][:len(dst)/v.width] {
			row := dst[i*v.width:][:v.width]
			for d, b := range v.bytes8[at+i*v.width:][:v.width] {
				row[d] = scale * float32(b)
			}
		}
	}
}
