package kerntest

// A row's result does not depend on the rows beside it: every op over rows is run whole and row by row, and must give the
// same bits. This is what makes a variation the same alone and among others.

import (
	"fmt"
	"slices"
	"testing"

	"segue/engine/kern"
)

func testAlone(t *testing.T, k kern.Backend) {
	for _, kind := range weightKinds {
		for _, shape := range []linearShape{{2, 1, 1}, {3, 17, 31}, {8, 65, 33}, {12, 33, 64}, {13, 64, 65}, {40, 31, 130}, {5, 9, 4420}, {10, 17, 612}} {
			name := fmt.Sprintf("linear/%s/%dx%dx%d", kind, shape.rows, shape.n, shape.k)
			alone(t, k, name, func(f *fixture) rowCall {
				a := kern.Linear{Rows: shape.rows, Act: kern.GELU}
				a.W, _ = f.weight(kind, shape.n, shape.k)
				a.Norm, _, _ = f.norm(kern.LayerNorm, shape.k)
				a.Bias, _ = f.vector(shape.n)
				a.X = f.floats(f.normal(shape.rows * shape.k))
				a.Residual = f.floats(f.normal(shape.rows * shape.n))
				return rowCall{shape.rows, shape.n, func(s kern.Stream, r, rows int, dst kern.Slice) {
					a := a
					a.Rows, a.Dst = rows, dst
					a.X = a.X.At(r*shape.k, rows*shape.k)
					a.Residual = a.Residual.At(r*shape.n, rows*shape.n)
					s.Linear(a)
				}}
			})
		}
	}
	alone(t, k, "norm", func(f *fixture) rowCall {
		const width = 67
		a := kern.Norm{X: f.floats(f.normal(9 * width))}
		a.Norm, _, _ = f.norm(kern.RMSNorm, width)
		return rowCall{9, width, func(s kern.Stream, r, rows int, dst kern.Slice) {
			s.Norm(kern.Norm{Dst: dst, X: a.X.At(r*width, rows*width), Rows: rows, Norm: a.Norm})
		}}
	})
	for _, shape := range []struct{ rows, keys, dim, gap, margin int }{{11, 37, 16, 2, oddMargin}, {66, 30, 64, 4, alignedMargin}} {
		alone(t, k, fmt.Sprintf("attention/%dx%d", shape.rows, shape.dim), func(f *fixture) rowCall {
			const heads = 3
			f.margin = shape.margin
			width := heads * shape.dim
			a := kern.Attention{Keys: shape.keys, Heads: heads, HeadDim: shape.dim, QStride: width + shape.gap, KVStride: width, Scale: 0.25}
			q := f.floats(f.normal(shape.rows * a.QStride))
			a.K, a.V = f.floats(f.normal(a.Keys*a.KVStride)), f.floats(f.normal(a.Keys*a.KVStride))
			return rowCall{shape.rows, width, func(s kern.Stream, r, rows int, dst kern.Slice) {
				a := a
				a.Rows, a.Dst, a.Q = rows, dst, q.At(r*a.QStride, rows*a.QStride)
				s.Attention(a)
			}}
		})
	}
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		for _, dim := range []int{16, 64} {
			name := fmt.Sprintf("%v/%d", p, dim)
			alone(t, k, "causal/steps/"+name, func(f *fixture) rowCall { return causalAlone(f, p, dim, 520, []int{1, 1}) })
			alone(t, k, "causal/prefill/"+name, func(f *fixture) rowCall { return causalAlone(f, p, dim, 21, []int{17, 5}) })
		}
	}
}

// A rowCall runs an op for rows r…r+rows-1 of all its rows, into dst [rows, width].
type rowCall struct {
	rows, width int
	record      func(s kern.Stream, r, rows int, dst kern.Slice)
}

func alone(t *testing.T, k kern.Backend, name string, build func(f *fixture) rowCall) {
	t.Run(name, func(t *testing.T) {
		f := newFixture(t, k, "alone/"+name)
		defer f.close()
		c := build(f)
		whole, single := f.room(c.rows*c.width), f.room(c.rows*c.width)
		c.record(f.stream, 0, c.rows, whole)
		for r := range c.rows {
			c.record(f.stream, r, 1, single.At(r*c.width, c.width))
		}
		want, got := floatBits(f.read(whole)), floatBits(f.read(single))
		for r := range c.rows {
			if a, b := want[r*c.width:(r+1)*c.width], got[r*c.width:(r+1)*c.width]; !slices.Equal(a, b) {
				t.Errorf("row %d of %d has other bits alone", r, c.rows)
			}
		}
	})
}

// causalAlone: rows that share a prefix, each alone in a cache of its own. What is compared is the last append.
func causalAlone(f *fixture, p kern.Precision, dim, prefixed int, appends []int) rowCall {
	const rows, heads = 6, 2
	width := heads * dim
	h := history{precision: p, layers: 1, heads: heads, dim: dim, prefix: prefixed, rows: rows, variations: rows}
	shape := kern.CacheShape{Layers: 1, Rows: rows, Heads: heads, HeadDim: dim}
	var qkv []kern.Slice
	for _, n := range appends {
		shape.Columns += n
		qkv = append(qkv, f.floats(f.normal(rows*n*3*width)))
	}
	prefix, _ := f.prefix(h, shape)
	last := appends[len(appends)-1]
	return rowCall{rows, last * width, func(s kern.Stream, r, n int, dst kern.Slice) {
		shape.Rows = n
		own, column := f.cacheOf(p, shape), 0
		for i, columns := range appends {
			a := kern.CausalAttention{
				Dst: dst, QKV: qkv[i].At(r*columns*3*width, n*columns*3*width), Cache: own, Prefix: prefix, PrefixColumns: prefixed,
				Rows: n, Columns: columns, Variations: n, Column: column, Scale: 0.25,
			}
			if columns > last {
				a.Dst = f.window(n*columns*width, true)
			}
			s.CausalAttention(a)
			column += columns
		}
	}}
}
