package kerntest

// Attention and CausalAttention from their formulas in kern/ops.go.

import (
	"math"

	"segue/engine/kern"
	"segue/weights"
)

// naiveSoftmaxSum: Σ_j softmax_j(scores)·values[j].
func naiveSoftmaxSum(scores []float64, values [][]float64) []float64 {
	out := make([]float64, len(values[0]))
	top, sum := math.Inf(-1), 0.0
	for _, s := range scores {
		top = math.Max(top, s)
	}
	for _, s := range scores {
		sum += math.Exp(s - top)
	}
	for j, s := range scores {
		for d, v := range values[j] {
			out[d] += math.Exp(s-top) / sum * v
		}
	}
	return out
}

func naiveDot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

func naiveAttention(a kern.Attention, q, k, v, bias []float64) []float64 {
	var out []float64
	for r := range a.Rows {
		for h := range a.Heads {
			query := q[r*a.QStride+h*a.HeadDim:][:a.HeadDim]
			scores := make([]float64, a.Keys)
			values := make([][]float64, a.Keys)
			for j := range a.Keys {
				at := j*a.KVStride + h*a.HeadDim
				scores[j] = float64(a.Scale) * naiveDot(query, k[at:at+a.HeadDim])
				if bias != nil {
					scores[j] += bias[h*(a.Rows+a.Keys-1)+j-r+a.Rows-1]
				}
				values[j] = v[at : at+a.HeadDim]
			}
			out = append(out, naiveSoftmaxSum(scores, values)...)
		}
	}
	return out
}

// naiveCache is a list of columns per row and layer; a column is its key and value, [Heads·HeadDim] each, as rounded.
type naiveCache struct {
	precision kern.Precision
	columns   map[[2]int][][2][]float64 // [layer, row] → columns
}

func newNaiveCache(p kern.Precision) *naiveCache {
	return &naiveCache{p, make(map[[2]int][][2][]float64)}
}

// rounded is what the cache holds of keys or values of dim numbers each.
func (c *naiveCache) rounded(x []float64, dim int) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		switch c.precision {
		case kern.F16:
			out[i] = float64(weights.F16ToF32(weights.F32ToF16(float32(v))))
		case kern.Q8:
			top := 0.0
			for _, u := range x[i/dim*dim:][:dim] {
				top = math.Max(top, math.Abs(u))
			}
			out[i] = math.RoundToEven(v*127/top) * top / 127
		default:
			out[i] = v
		}
	}
	return out
}

// naiveStore appends the keys and values of a to own.
func naiveStore(a kern.CausalAttention, own *naiveCache, qkv []float64, width, dim int) {
	for r := range a.Rows {
		at := [2]int{a.Layer, r}
		columns := own.columns[at][:a.Column]
		for i := range a.Columns {
			fresh := qkv[(r*a.Columns+i)*3*width:][:3*width]
			columns = append(columns, [2][]float64{own.rounded(fresh[width:2*width], dim), own.rounded(fresh[2*width:], dim)})
		}
		own.columns[at] = columns
	}
}

// naiveCausal appends to own and attends; prefix may be nil.
func naiveCausal(a kern.CausalAttention, own, prefix *naiveCache, qkv []float64, heads, dim int) []float64 {
	var out []float64
	width := heads * dim
	naiveStore(a, own, qkv, width, dim)
	for r := range a.Rows {
		for i := range a.Columns {
			query := qkv[(r*a.Columns+i)*3*width:][:width]
			var seen [][2][]float64
			if prefix != nil {
				seen = append(seen, prefix.columns[[2]int{a.Layer, r / a.Variations}][:a.PrefixColumns]...)
			}
			seen = append(seen, own.columns[[2]int{a.Layer, r}][:a.Column+i+1]...)
			for h := range heads {
				part := func(x []float64) []float64 { return x[h*dim : (h+1)*dim] }
				var scores []float64
				var values [][]float64
				for _, column := range seen {
					scores = append(scores, float64(a.Scale)*naiveDot(part(query), part(column[0])))
					values = append(values, part(column[1]))
				}
				out = append(out, naiveSoftmaxSum(scores, values)...)
			}
		}
	}
	return out
}
