package kerntest

// Rows of the codec's ops: Conv, ConvTranspose, LSTM, RVQEncode, RVQDecode.

import (
	"fmt"
	"slices"

	"segue/engine/kern"
)

// convShape is the filter's: in and out channels, taps.
type convShape struct{ in, out, kernel int }

func convRows() []row {
	var rows []row
	for i, c := range []struct {
		shape convShape
		conv  kern.Conv
	}{
		{convShape{1, 1, 1}, kern.Conv{T: 1}},
		{convShape{1, 65, 7}, kern.Conv{T: 100, Left: 3, Right: 3, Pad: kern.PadReflect}},
		{convShape{17, 3, 7}, kern.Conv{T: 33, Left: 3, Right: 3, Pad: kern.PadReflect}},
		{convShape{33, 1, 7}, kern.Conv{T: 17, Left: 3, Right: 3}},
		{convShape{31, 65, 1}, kern.Conv{T: 65}},
		{convShape{3, 31, 3}, kern.Conv{T: 31, Left: 1, Right: 1, Pad: kern.PadReflect}},
		{convShape{8, 16, 8}, kern.Conv{T: 65, Stride: 4, Left: 2, Right: 5, Pad: kern.PadReflect}},
		{convShape{5, 9, 10}, kern.Conv{T: 53, Stride: 5, Left: 3, Right: 2}},
		{convShape{2, 7, 16}, kern.Conv{T: 24, Stride: 8, Left: 4, Right: 4}},
		{convShape{6, 10, 3}, kern.Conv{T: 33, Dilation: 2, Left: 2, Right: 2, Pad: kern.PadReflect}},
		{convShape{7, 5, 4}, kern.Conv{T: 41, Stride: 3, Dilation: 5, Left: 9, Right: 6}},
		{convShape{4, 4, 5}, kern.Conv{T: 9, Left: 4}},
		// Shorter than the padding: EnCodec's rule.
		{convShape{3, 5, 7}, kern.Conv{T: 1, Left: 3, Right: 3, Pad: kern.PadReflect}},
		{convShape{3, 5, 7}, kern.Conv{T: 3, Left: 3, Right: 3, Pad: kern.PadReflect}},
		{convShape{3, 5, 7}, kern.Conv{T: 2, Left: 1, Right: 6, Pad: kern.PadReflect}},
		{convShape{3, 5, 16}, kern.Conv{T: 4, Stride: 8, Left: 4, Right: 8, Pad: kern.PadReflect}},
		{convShape{3, 5, 7}, kern.Conv{T: 1, Left: 3, Right: 3}},
		{convShape{64, 130, 3}, kern.Conv{T: 131, Left: 1, Right: 1}},
		{convShape{32, 64, 1}, kern.Conv{T: 70}},
		{convShape{20, 24, 5}, kern.Conv{T: 140, Stride: 2, Dilation: 2, Left: 3, Right: 4, Pad: kern.PadReflect}},
	} {
		rows = append(rows, convRow(c.shape, c.conv, i%3), convRow(c.shape, c.conv, (i+1)%3))
	}
	return rows
}

// convRow: variant 0 plain, 1 with ELU and residual, 2 with ELU and the residual in place.
func convRow(shape convShape, a kern.Conv, variant int) row {
	a.Stride, a.Dilation, a.ELU = max(a.Stride, 1), max(a.Dilation, 1), variant > 0
	name := fmt.Sprintf("conv/%dto%dx%d/T%d/stride%d-dilation%d-pad%d+%d-mode%d/variant%d", shape.in, shape.out, shape.kernel,
		a.T, a.Stride, a.Dilation, a.Left, a.Right, a.Pad, variant)
	return row{name: name, build: func(f *fixture) call {
		a := a
		var w, bias, residual []float64
		a.W, w = f.filter(false, shape.out, shape.in, shape.kernel)
		a.Bias, bias = f.vector(shape.out)
		x := f.normal(a.T * shape.in)
		a.X = f.floats(x)
		n := a.OutT() * shape.out
		if variant > 0 {
			initial := f.normal(n)
			residual = wide(initial)
			a.Residual = f.guarded(f.floats(initial))
		}
		if a.Dst = a.Residual; variant < 2 {
			a.Dst = f.room(n)
		}
		return call{
			record: func(s kern.Stream) { s.Conv(a) },
			bytes:  4 * int64(len(w)+len(x)+n),
			results: []result{{window: a.Dst, floats: func() []float64 {
				return naiveConv(a, wide(x), w, bias, residual)
			}}},
		}
	}}
}

func transposeRows() []row {
	var rows []row
	for i, c := range []struct {
		shape convShape
		conv  kern.ConvTranspose
	}{
		{convShape{1, 1, 1}, kern.ConvTranspose{T: 1, Stride: 1}},
		{convShape{17, 3, 16}, kern.ConvTranspose{T: 9, Stride: 8, TrimLeft: 4, TrimRight: 4}},
		{convShape{33, 31, 10}, kern.ConvTranspose{T: 17, Stride: 5, TrimLeft: 3, TrimRight: 2}},
		{convShape{16, 65, 8}, kern.ConvTranspose{T: 33, Stride: 4, TrimLeft: 2, TrimRight: 2}},
		{convShape{3, 5, 8}, kern.ConvTranspose{T: 1, Stride: 4, TrimLeft: 2, TrimRight: 2}},
		{convShape{8, 2, 8}, kern.ConvTranspose{T: 100, Stride: 4, TrimRight: 4}},
		{convShape{5, 7, 7}, kern.ConvTranspose{T: 11, Stride: 3, TrimLeft: 1}},
		{convShape{5, 7, 3}, kern.ConvTranspose{T: 11, Stride: 5}}, // gaps between the taps
		{convShape{4, 3, 9}, kern.ConvTranspose{T: 6, Stride: 2, TrimLeft: 5, TrimRight: 3}},
		{convShape{2, 3, 5}, kern.ConvTranspose{T: 7, Stride: 1, TrimLeft: 4, TrimRight: 4}},
		{convShape{20, 12, 10}, kern.ConvTranspose{T: 40, Stride: 5, TrimLeft: 11, TrimRight: 2}}, // whole frames trimmed
		{convShape{3, 1, 4}, kern.ConvTranspose{T: 5, Stride: 2, TrimLeft: 1, TrimRight: 1}},
	} {
		rows = append(rows, transposeRow(c.shape, c.conv, i%2 == 0))
	}
	return rows
}

func transposeRow(shape convShape, a kern.ConvTranspose, elu bool) row {
	a.ELU = elu
	name := fmt.Sprintf("transpose/%dto%dx%d/T%d/stride%d-trim%d+%d/elu%v", shape.in, shape.out, shape.kernel,
		a.T, a.Stride, a.TrimLeft, a.TrimRight, elu)
	return row{name: name, build: func(f *fixture) call {
		a := a
		var w, bias []float64
		a.W, w = f.filter(true, shape.in, shape.out, shape.kernel)
		a.Bias, bias = f.vector(shape.out)
		x := f.normal(a.T * shape.in)
		a.X, a.Dst = f.floats(x), f.room(a.OutT()*shape.out)
		return call{
			record:  func(s kern.Stream) { s.ConvTranspose(a) },
			bytes:   4 * int64(len(w)+len(x)+a.Dst.N),
			results: []result{{window: a.Dst, floats: func() []float64 { return naiveTranspose(a, wide(x), w, bias) }}},
		}
	}}
}

func lstmRows() []row {
	var rows []row
	for i, hidden := range []int{1, 3, 17, 32, 65} {
		for j, t := range []int{1, 2, 7} {
			rows = append(rows, lstmRow(weightKinds[(3*i+j)%len(weightKinds)], t, hidden, j))
		}
	}
	for i, kind := range weightKinds {
		rows = append(rows, lstmRow(kind, 5, 96, i%3))
	}
	return rows
}

// lstmRow: variant 0 without a residual, 1 with one, 2 in place. What a backend rounds in one step, h to 8 bits beside a
// quantised weight, every later step carries on.
func lstmRow(kind weightKind, t, hidden, variant int) row {
	name := fmt.Sprintf("lstm/%s/%dx%d/variant%d", kind, t, hidden, variant)
	carried := 1.0
	if kind.precision.Grouped() {
		carried = 10
	}
	return row{name: name, tolerance: kind.tolerance(t*hidden) * carried, build: func(f *fixture) call {
		a := kern.LSTM{T: t}
		var w, residual []float64
		a.Hidden, w = f.weight(kind, 4*hidden, hidden)
		gates := f.normal(t * 4 * hidden)
		a.Gates = f.floats(gates)
		if variant > 0 {
			initial := f.normal(t * hidden)
			residual = wide(initial)
			a.Residual = f.guarded(f.floats(initial))
		}
		if a.Dst = a.Residual; variant < 2 {
			a.Dst = f.room(t * hidden)
		}
		return call{
			record:  func(s kern.Stream) { s.LSTM(a) },
			bytes:   int64(t) * a.Hidden.Bytes(),
			results: []result{{window: a.Dst, floats: func() []float64 { return naiveLSTM(wide(gates), w, residual, t, hidden) }}},
		}
	}}
}

func rvqRows() []row {
	var rows []row
	for _, s := range [][4]int{{1, 1, 1, 1}, {4, 33, 17, 8}, {3, 65, 31, 33}, {8, 16, 3, 3}, {4, 130, 65, 16}} {
		rows = append(rows, encodeRow(s[0], s[1], s[2], s[3]), decodeRow(s[0], s[1], s[2], s[3]))
	}
	return append(rows, tiesRow())
}

// tiesRow: every entry is there three times, and the first must be found.
func tiesRow() row {
	return row{name: "rvqencode/ties", build: func(f *fixture) call {
		const entries, t, d = 11, 9, 17
		book := slices.Repeat(f.normal(entries*d), 3)
		z := f.normal(t * d)
		a := kern.RVQEncode{Q: 1, Entries: 3 * entries, T: t, D: d, Stride: t, Books: f.floats(book), Z: f.floats(z), Codes: f.intRoom(t)}
		codes, _ := naiveEncode(wide(z), wide(book), 1, 3*entries, t, d)
		again := f.floats(z)
		return call{
			record: func(s kern.Stream) {
				s.Copy(a.Z, again)
				s.RVQEncode(a)
			},
			results: []result{{window: a.Codes, ints: func() []int32 { return codes }}},
		}
	}}
}

func encodeRow(q, entries, t, d int) row {
	return row{name: fmt.Sprintf("rvqencode/%dx%d/%dx%d", q, entries, t, d), build: func(f *fixture) call {
		stride := t + 2
		books, values := f.vector(q * entries * d)
		z := f.normal(t * d)
		a := kern.RVQEncode{Q: q, Entries: entries, T: t, D: d, Stride: stride, Books: books, Z: f.guarded(f.floats(z))}
		a.Codes = f.intRoom((q-1)*stride + t)
		codes, rest := naiveEncode(wide(z), values, q, entries, t, d)
		spread := repeat(int32(-1), a.Codes.N)
		for b := range q {
			copy(spread[b*stride:], codes[b*t:(b+1)*t])
		}
		again := f.floats(z)
		return call{
			record: func(s kern.Stream) {
				s.Copy(a.Z, again)
				s.RVQEncode(a)
			},
			results: []result{
				{window: a.Codes, ints: func() []int32 { return spread }},
				{window: a.Z, floats: func() []float64 { return rest }},
			},
		}
	}}
}

func decodeRow(q, entries, t, d int) row {
	return row{name: fmt.Sprintf("rvqdecode/%dx%d/%dx%d", q, entries, t, d), build: func(f *fixture) call {
		stride := t + 3
		books, values := f.vector(q * entries * d)
		codes := f.below((q-1)*stride+t, entries)
		a := kern.RVQDecode{Q: q, Entries: entries, T: t, D: d, Stride: stride, Books: books, Codes: f.ints(codes), Dst: f.room(t * d)}
		return call{
			record:  func(s kern.Stream) { s.RVQDecode(a) },
			results: []result{{window: a.Dst, floats: func() []float64 { return naiveDecode(codes, values, q, entries, t, d, stride) }}},
		}
	}}
}
