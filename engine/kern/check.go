package kern

// What every backend refuses of tensors and operands, whatever it makes of them, and the shapes that follow.

import (
	"errors"
	"fmt"

	"segue/weights"
)

// MaxElements of one buffer: beyond any model, and small enough that byte counts do not overflow.
const MaxElements = 1 << 34

// Product multiplies dimensions; a negative one gives -1, and what does not fit gives a length that no buffer has.
func Product(dims ...int) int {
	n := 1
	for _, d := range dims {
		if d < 0 {
			return -1
		}
		if d > 0 && n > MaxElements/d {
			n = MaxElements + 1
			continue
		}
		n *= d
	}
	return n
}

// Positive reports whether every dimension is at least 1.
func Positive(dims ...int) bool {
	for _, d := range dims {
		if d < 1 {
			return false
		}
	}
	return true
}

// CheckTensor makes sure that a tensor's shape and its data agree before its elements are reached for.
func CheckTensor(t *weights.Tensor) error {
	if t == nil {
		return errors.New("no tensor")
	}
	n := Product(t.Shape...)
	if n < 1 || n > MaxElements || len(t.Data) != n*t.DType.Size() && !t.Derived() {
		return fmt.Errorf("%s: got %d bytes of %s for shape %v", t.Name, len(t.Data), t.DType, t.Shape)
	}
	return nil
}

// WeightShape is the shape of a weight of parts. Held is the precision of it: p, but of Stored the one that keeps every
// value, float16 where all parts are, else float32.
func WeightShape(p Precision, parts ...*weights.Tensor) (rows, cols int, held Precision, err error) {
	held = F16
	for _, t := range parts {
		if err := CheckTensor(t); err != nil {
			return 0, 0, 0, err
		}
		if len(t.Shape) != 2 || rows > 0 && t.Shape[1] != cols {
			return 0, 0, 0, fmt.Errorf("%s: got shape %v, want [rows, %d]", t.Name, t.Shape, cols)
		}
		rows += t.Shape[0]
		cols = t.Shape[1]
		if t.DType != weights.F16 {
			held = F32
		}
	}
	switch {
	case rows == 0:
		return 0, 0, 0, errors.New("no parts")
	case p > Q4:
		return 0, 0, 0, fmt.Errorf("got precision %d, want %d to %d", p, Stored, Q4)
	case p != Stored:
		held = p
	}
	return rows, cols, held, nil
}

// FilterShape is the shape of a convolution's weight.
func FilterShape(t *weights.Tensor, transposed bool) (in, out, kernel int, err error) {
	if err := CheckTensor(t); err != nil {
		return 0, 0, 0, err
	}
	if len(t.Shape) != 3 {
		return 0, 0, 0, fmt.Errorf("%s: got shape %v, want three dimensions", t.Name, t.Shape)
	}
	if transposed {
		return t.Shape[0], t.Shape[1], t.Shape[2], nil
	}
	return t.Shape[1], t.Shape[0], t.Shape[2], nil
}

// Check compares an op with its caches, which are there.
func (a *CausalAttention) Check() error {
	const op = "causal attention"
	own := a.Cache.Shape()
	switch {
	case !Positive(a.Rows, a.Columns) || a.Rows > own.Rows:
		return Shapef(op, "got %d rows of %d columns, want up to %d rows", a.Rows, a.Columns, own.Rows)
	case a.Layer < 0 || a.Layer >= own.Layers:
		return Shapef(op, "Layer: got %d, want 0 to %d", a.Layer, own.Layers-1)
	case a.Column < 0 || a.Column > own.Columns || a.Columns > own.Columns-a.Column:
		return Shapef(op, "got columns %d+%d, want up to %d", a.Column, a.Columns, own.Columns)
	case a.Prefix == nil && a.PrefixColumns != 0:
		return Shapef(op, "got %d prefix columns without a prefix", a.PrefixColumns)
	case a.Prefix == nil:
		return nil
	}
	p := a.Prefix.Shape()
	switch {
	case p.Layers != own.Layers || p.Heads != own.Heads || p.HeadDim != own.HeadDim || a.Prefix == a.Cache:
		return Shapef(op, "Prefix: got %+v, want the like of %+v, but another", p, own)
	case a.PrefixColumns < 0 || a.PrefixColumns > p.Columns || a.Variations < 1 || (a.Rows-1)/a.Variations >= p.Rows:
		return Shapef(op, "Prefix: got %d columns, %d rows, %d variations, want within %+v", a.PrefixColumns, a.Rows, a.Variations, p)
	}
	return nil
}
