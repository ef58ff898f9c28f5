package kern

// What every backend refuses of tensors and operands, whatever it makes of them, and the shapes that follow.

import (
	"errors"
	"fmt"
	"math"

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

// Check refuses a window that does not lie in its buffer, of held elements, or has fewer than the n that an op reaches for.
func (s Slice) Check(op, name string, held, n int) error {
	switch {
	case s.Off < 0 || s.N < 0 || s.N > held || s.Off > held-s.N:
		return Shapef(op, "%s: got window [%d, +%d) of a buffer of %d", name, s.Off, s.N, held)
	case n < 0 || n > s.N:
		return Shapef(op, "%s: got %d elements, want %d", name, s.N, n)
	}
	return nil
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

// Check refuses an Embed whose columns do not lie in its codes. Tables and buffers are the backend's to check, here and below.
func (a *Embed) Check() error {
	if len(a.Tables) == 0 || !Positive(a.Rows, a.Variations, a.Columns, a.Stride) || a.First < 0 || a.Columns > a.Stride-a.First {
		return Shapef("embed", "got %d tables, %d rows of %d variations, columns %d+%d of %d",
			len(a.Tables), a.Rows, a.Variations, a.First, a.Columns, a.Stride)
	}
	return nil
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

// Check refuses rows that overlap, and dimensions below 1.
func (a *Attention) Check() error {
	width := Product(a.Heads, a.HeadDim)
	if !Positive(a.Rows, a.Keys, a.Heads, a.HeadDim) || a.QStride < width || a.KVStride < width {
		return Shapef("attention", "got %d rows, %d keys, %d heads of %d, strides %d and %d",
			a.Rows, a.Keys, a.Heads, a.HeadDim, a.QStride, a.KVStride)
	}
	return nil
}

// Check refuses what has no output, and lengths beyond most: those that the backend can count. W is there.
func (c *Conv) Check(most int) error {
	sane := Positive(c.T, c.Stride, c.Dilation) && c.Left >= 0 && c.Right >= 0 && c.Pad <= PadReflect &&
		max(c.T, c.Stride, c.Left, c.Right, Product(c.W.Kernel(), c.Dilation)) <= most
	if !sane || c.OutT() < 1 || (c.W.Kernel()-1)*c.Dilation >= c.Left+c.T+c.Right {
		return Shapef("conv", "got %d frames, padding %d and %d (mode %d), stride %d, dilation %d: no output",
			c.T, c.Left, c.Right, c.Pad, c.Stride, c.Dilation)
	}
	return nil
}

// Check refuses what has no output, and lengths beyond most. W is there.
func (c *ConvTranspose) Check(most int) error {
	sane := Positive(c.T, c.Stride) && c.TrimLeft >= 0 && c.TrimRight >= 0 &&
		max(Product(c.T, c.Stride), c.W.Kernel(), c.TrimLeft, c.TrimRight) <= most
	if !sane || c.OutT() < 1 {
		return Shapef("conv transpose", "got %d frames, stride %d, trim %d and %d: no output", c.T, c.Stride, c.TrimLeft, c.TrimRight)
	}
	return nil
}

// Check refuses dimensions below 1, and codebooks whose codes overlap.
func (a *RVQEncode) Check() error { return checkRVQ("rvq encode", a.Q, a.Entries, a.T, a.D, a.Stride) }

// Check refuses dimensions below 1, and codebooks whose codes overlap.
func (a *RVQDecode) Check() error { return checkRVQ("rvq decode", a.Q, a.Entries, a.T, a.D, a.Stride) }

func checkRVQ(op string, q, entries, t, d, stride int) error {
	if !Positive(q, entries, t, d) || stride < t {
		return Shapef(op, "got %d codebooks of %d entries, %d rows of %d, stride %d", q, entries, t, d, stride)
	}
	return nil
}

// Check refuses shapes that contradict each other and settings without a distribution.
func (a *Sample) Check() error {
	const op = "sample"
	infinite := func(x float32) bool { return math.IsInf(float64(x), 0) }
	switch {
	case !Positive(a.Q, a.Entries, a.Stride, a.Variations) || a.Entries > math.MaxInt32:
		return Shapef(op, "got %d variations, %d codebooks of %d entries, stride %d", a.Variations, a.Q, a.Entries, a.Stride)
	case a.Group != 1 && a.Group != a.Variations:
		return Shapef(op, "Group: got %d, want 1 or %d", a.Group, a.Variations)
	case a.Column < 0 || a.Column >= a.Stride:
		return Shapef(op, "Column: got %d, want 0 to %d", a.Column, a.Stride-1)
	case len(a.Delays) != a.Q:
		return Shapef(op, "got %d delays for %d codebooks", len(a.Delays), a.Q)
	case a.TopK < 0 || !(a.TopP > 0 && a.TopP <= 1) || !(a.Temperature > 0) || infinite(a.Temperature):
		return Shapef(op, "got top-k %d, top-p %g, temperature %g", a.TopK, a.TopP, a.Temperature)
	case a.Guidance != a.Guidance || infinite(a.Guidance):
		return Shapef(op, "Guidance: got %g", a.Guidance)
	}
	return nil
}
