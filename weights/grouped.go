package weights

// Matrices of 8 bits in a file. A matrix NAME [rows, cols] may be stored as two tensors, which any reader of safetensors
// can open:
//
//	NAME        I8  [rows, cols]                 integers
//	NAME.scale  F16 [rows, ceil(cols/GroupSize)]  one for each group of consecutive inputs
//
// value[r, c] = integer[r, c] · scale[r, c/GroupSize], exact in float32. A checkpoint joins the two: from then on it is one
// tensor like any other, and whoever decodes it sees the values.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

const scaleSuffix = ".scale"

// maxRounds bounds Group; two rounds are enough but where a group's numbers are next to nothing.
const maxRounds = 16

// joinScales gives every I8 matrix its scales, which are no tensor of their own any more.
func (c *Checkpoint) joinScales() error {
	for name, t := range c.tensors {
		scale := c.tensors[name+scaleSuffix]
		if t.DType != I8 || scale == nil {
			continue
		}
		if len(t.Shape) != 2 || scale.DType != F16 || !sameShape(scale.Shape, []int{t.Shape[0], groups(t.Shape[1])}) {
			return formatErrorf(c.Dir, "%s: got %s %v for I8 %v, want F16 [rows, columns/%d]", plain(scale.Name), scale.DType, scale.Shape, t.Shape, GroupSize)
		}
		t.Scales = scale.Data
		delete(c.tensors, scale.Name)
	}
	return nil
}

func groups(cols int) int { return (cols + GroupSize - 1) / GroupSize }

// decodeGroups is Decode for I8 with scales.
func (t *Tensor) decodeGroups(dst []float32, from int) {
	cols := t.Shape[1]
	for len(dst) > 0 {
		row, col := from/cols, from%cols
		n := min(len(dst), cols-col, GroupSize-col%GroupSize)
		scale := F16ToF32(binary.LittleEndian.Uint16(t.Scales[2*(row*groups(cols)+col/GroupSize):]))
		for i, v := range t.Data[from : from+n] {
			dst[i] = float32(int8(v)) * scale
		}
		dst, from = dst[n:], from+n
	}
}

// Group rounds a matrix to 8 bits and returns the two tensors of its stored form. Quantize, given the stored values, finds
// the same integers and scales again: a model that is held in 8 bits is what the file says, bit for bit. One rounding alone
// does not promise that: where two numbers of a group share the largest magnitude, the scale's sign may turn, and scales
// next to nothing have few bits.
func Group(t *Tensor) (values, scales *Tensor, err error) {
	if len(t.Shape) != 2 || strings.HasSuffix(t.Name, scaleSuffix) {
		return nil, nil, fmt.Errorf("weights: group: %s: got shape %v, want a matrix", t.Name, t.Shape)
	}
	values = &Tensor{Name: t.Name, DType: I8, Shape: t.Shape}
	for range maxRounds {
		q, err := Quantize(t.Floats(), t.Shape[1], 8)
		if err != nil {
			return nil, nil, fmt.Errorf("weights: group: %s: %w", t.Name, err)
		}
		again := &Tensor{Name: t.Name, DType: I8, Shape: t.Shape, Data: make([]byte, 0, len(q.Values)), Scales: make([]byte, 0, 2*len(q.Scales))}
		for _, v := range q.Values {
			again.Data = append(again.Data, byte(v))
		}
		for _, s := range q.Scales {
			again.Scales = binary.LittleEndian.AppendUint16(again.Scales, s)
		}
		if bytes.Equal(again.Data, values.Data) && bytes.Equal(again.Scales, values.Scales) {
			scales = &Tensor{Name: t.Name + scaleSuffix, DType: F16, Shape: []int{q.Rows, q.Groups()}, Data: values.Scales}
			return &Tensor{Name: t.Name, DType: I8, Shape: t.Shape, Data: values.Data}, scales, nil
		}
		values, t = again, again
	}
	return nil, nil, fmt.Errorf("weights: group: %s: rounding does not settle in %d rounds", t.Name, maxRounds)
}
