package kerntest

// Rows of Linear, Norm and Embed. Shapes are odd on purpose: one element, primes, one more and one less than what
// vector units and tiles like.

import (
	"fmt"

	"segue/engine/kern"
	"segue/weights"
)

// A weightKind is how a file stores a weight and how a backend is to hold it.
type weightKind struct {
	dtype     weights.DType
	precision kern.Precision
}

var weightKinds = []weightKind{
	{weights.F32, kern.Stored}, {weights.F16, kern.Stored}, {weights.BF16, kern.Stored},
	{weights.F16, kern.F32}, {weights.F32, kern.F16}, {weights.F32, kern.Q8}, {weights.BF16, kern.Q4},
	{weights.I8, kern.Stored}, {weights.I8, kern.Q8},
}

func (k weightKind) String() string { return k.dtype.String() + "-" + k.precision.String() }

// tolerance of so many results. Beside quantised weights, which the naive formula has too, a backend may round activations
// to 8 bits in groups of 32, as the CPU does for speed: a relative error of max|x|/127/√12, 2.5e-5 squared for normal
// numbers. A few results may all happen to be small beside the products that they are the sums of.
func (k weightKind) tolerance(results int) float64 {
	switch {
	case !k.precision.Grouped():
		return defaultTolerance
	case results < 32:
		return 2e-3
	}
	return 1e-4
}

// linearShape is X [rows, k] by W [n, k].
type linearShape struct{ rows, n, k int }

func linearRows() []row {
	var rows []row
	sizes := [][2]int{{1, 1}, {3, 17}, {17, 3}, {31, 33}, {33, 31}, {65, 65}, {48, 64}, {130, 257}}
	for _, r := range []int{1, 2, 3, 8, 12, 13} {
		for i, size := range sizes {
			for j, kind := range weightKinds {
				rows = append(rows, linearRow(linearShape{r, size[0], size[1]}, kind, i+j+r))
			}
		}
	}
	for i, kind := range weightKinds {
		rows = append(rows,
			linearRow(linearShape{301, 65, 33}, kind, i),
			linearRow(linearShape{67, 70, 97}, kind, i+5),
			linearRow(linearShape{2, 1025, 96}, kind, i+10))
		// More inputs than a GPU keeps beside its cores at once.
		for j, long := range []linearShape{{1, 5, 4165}, {2, 9, 2113}, {4, 5, 1057}, {9, 17, 577}, {2, 9, 4420}, {1, 33, 612}, {5, 9, 1540}, {16, 9, 1156}, {17, 5, 2052}} {
			rows = append(rows, linearRow(long, kind, i+j))
		}
		// Tiles: one step and three, and more of each than one; rows that fill none, or one and a bit; inputs that are not held.
		for j, tiled := range []linearShape{{50, 3, 1}, {97, 129, 96}, {130, 65, 164}, {50, 5, 8452}} {
			rows = append(rows, linearRow(tiled, kind, i+2*j))
		}
	}
	for _, p := range []kern.Precision{kern.Stored, kern.F32, kern.F16, kern.Q8, kern.Q4} {
		rows = append(rows, stackedRow(p))
	}
	// Beside float16 weights x keeps its digits: rounded to float16 it would be 5e-8 off.
	fine := linearRow(linearShape{69, 33, 64}, weightKind{weights.F16, kern.Stored}, 0)
	fine.tolerance = 1e-10
	rows = append(rows, fine)
	return append(rows, linearRow(linearShape{2, 17, 33}, weightKind{weights.F64, kern.Stored}, 0))
}

// linearRow goes through norms, activations, bias and residual as variant counts up.
func linearRow(shape linearShape, kind weightKind, variant int) row {
	a := kern.Linear{Rows: shape.rows, Act: kern.Activation(variant % 3)}
	a.Norm.Kind = kern.NormKind(variant / 2 % 3)
	withBias, withResidual, inPlace := variant%2 == 0, variant%4 > 1, variant%8 > 5
	name := fmt.Sprintf("linear/%s/%dx%dx%d/norm%d-act%d-bias%v-residual%v-inplace%v", kind, shape.rows, shape.n, shape.k,
		a.Norm.Kind, a.Act, withBias, withResidual, inPlace)
	return row{name: name, tolerance: kind.tolerance(shape.rows * shape.n), build: func(f *fixture) call {
		a := a
		var w, bias, residual []float64
		a.W, w = f.weight(kind, shape.n, shape.k)
		norm, weight, shift := f.norm(a.Norm.Kind, shape.k)
		a.Norm = norm
		x := f.normal(shape.rows * shape.k)
		a.X = f.floats(x)
		if withBias {
			a.Bias, bias = f.vector(shape.n)
		}
		a.Dst = f.room(shape.rows * shape.n)
		var initial []float32
		if withResidual {
			initial = f.normal(shape.rows * shape.n)
			residual = wide(initial)
			a.Residual = f.floats(initial)
		}
		if inPlace {
			a.Dst = f.guarded(a.Residual)
		}
		return call{
			bytes:  a.W.Bytes(),
			record: func(s kern.Stream) { s.Linear(a) },
			results: []result{{window: a.Dst, floats: func() []float64 {
				in := naiveNorm(norm.Kind, wide(x), weight, shift, norm.Epsilon)
				return naiveLinear(in, w, bias, residual, shape.rows, shape.n, shape.k, a.Act)
			}}},
		}
	}}
}

// norm makes the parameters of a normalisation.
func (f *fixture) norm(kind kern.NormKind, width int) (n kern.NormWeights, weight, bias []float64) {
	n = kern.NormWeights{Kind: kind, Epsilon: 1e-5}
	if kind != kern.NoNorm {
		n.Weight, weight = f.vector(width)
	}
	if kind == kern.LayerNorm {
		n.Bias, bias = f.vector(width)
	}
	return n, weight, bias
}

// stackedRow: one weight of parts in several precisions, one of them at an odd address, as in a mapped file.
func stackedRow(p kern.Precision) row {
	const rows, k = 3, 33
	tolerance := weightKind{precision: p}.tolerance(rows * (7 + 17 + 27 + 37 + 47))
	return row{name: "linear/stacked-" + p.String(), tolerance: tolerance, build: func(f *fixture) call {
		var parts []*weights.Tensor
		var w []float64
		for i, dtype := range []weights.DType{weights.F16, weights.F32, weights.BF16, weights.F16, weights.F32} {
			part, values := f.tensor(dtype, 7+10*i, k)
			if i >= 3 {
				part = unaligned(part)
			}
			parts, w = append(parts, part), append(w, f.held(p, part, values)...)
		}
		n := len(w) / k
		x := f.normal(rows * k)
		a := kern.Linear{Rows: rows, W: f.matrixOf(p, parts...), X: f.floats(x), Dst: f.room(rows * n)}
		return call{
			record: func(s kern.Stream) { s.Linear(a) },
			results: []result{{window: a.Dst, floats: func() []float64 {
				return naiveLinear(wide(x), w, nil, nil, rows, n, k, kern.Identity)
			}}},
		}
	}}
}

func normRows() []row {
	var rows []row
	for _, kind := range []kern.NormKind{kern.LayerNorm, kern.RMSNorm} {
		for _, count := range []int{1, 3, 65} {
			for i, width := range []int{1, 3, 17, 31, 64, 1030} {
				rows = append(rows, normRow(kind, count, width, i%2 == 0))
			}
		}
	}
	return rows
}

// normRow: numbers far from zero, so that a variance taken as mean(x²)-mean² is seen to lose digits.
func normRow(kind kern.NormKind, rows, width int, inPlace bool) row {
	name := fmt.Sprintf("norm/kind%d/%dx%d/inplace%v", kind, rows, width, inPlace)
	return row{name: name, build: func(f *fixture) call {
		norm, weight, bias := f.norm(kind, width)
		x := f.normal(rows * width)
		for i := range x {
			x[i] += 30
		}
		a := kern.Norm{Rows: rows, Norm: norm, X: f.floats(x)}
		a.Dst = a.X
		if !inPlace {
			a.Dst = f.room(rows * width)
		}
		return call{
			record: func(s kern.Stream) { s.Norm(a) },
			results: []result{{window: f.guarded(a.Dst), floats: func() []float64 {
				return naiveNorm(kind, wide(x), weight, bias, norm.Epsilon)
			}}},
		}
	}}
}

func embedRows() []row {
	var rows []row
	for i, kind := range weightKinds {
		rows = append(rows,
			embedRow(kind, kern.Embed{Rows: 1, Variations: 1, Columns: 1, Stride: 1}, 1, 1, i == 0),
			embedRow(kind, kern.Embed{Rows: 6, Variations: 3, First: 2, Columns: 5, Stride: 9}, 4, 33, i == 1),
			embedRow(kind, kern.Embed{Rows: 2, Variations: 1, First: 8, Columns: 1, Stride: 9}, 8, 65, true),
			embedRow(kind, kern.Embed{Rows: 1, Variations: 1, Columns: 31, Stride: 31}, 1, 17, false))
	}
	return rows
}

func embedRow(kind weightKind, a kern.Embed, tables, width int, positioned bool) row {
	name := fmt.Sprintf("embed/%s/%dx%d-%d+%d/%dx%d/positions%v", kind, a.Rows, a.Variations, a.First, a.Columns, tables, width, positioned)
	return row{name: name, build: func(f *fixture) call {
		const entries = 19
		a := a
		var values [][]float64
		for range tables {
			table, v := f.table(kind, entries, width)
			a.Tables, values = append(a.Tables, table), append(values, v)
		}
		codes := f.below(a.Variations*tables*a.Stride, entries)
		a.Codes = f.ints(codes)
		var positions []float64
		if positioned {
			a.Positions, positions = f.vector((a.First + a.Columns + 1) * width)
		}
		a.Dst = f.room(a.Rows * a.Columns * width)
		return call{
			record: func(s kern.Stream) { s.Embed(a) },
			results: []result{{window: a.Dst, floats: func() []float64 {
				return naiveEmbed(a, values, codes, positions, width)
			}}},
		}
	}}
}
