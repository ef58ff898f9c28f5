package kerntest

// Attention and CausalAttention from their formulas in kern/ops.go.

import (
	"math"

	"segue/engine/kern"
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

// naiveCache is a list of columns per row and layer; a column is its key and value, [Heads·HeadDim] each.
type naiveCache map[[2]int][][2][]float64 // [layer, row] → columns

// naiveCausal appends to own and attends; prefix may be nil.
func naiveCausal(a kern.CausalAttention, own, prefix naiveCache, qkv []float64, heads, dim int) []float64 {
	var out []float64
	width := heads * dim
	for r := range a.Rows {
		at := [2]int{a.Layer, r}
		own[at] = own[at][:a.Column]
		for i := range a.Columns {
			fresh := qkv[(r*a.Columns+i)*3*width:][:3*width]
			own[at] = append(own[at], [2][]float64{fresh[width : 2*width], fresh[2*width:]})
			var seen [][2][]float64
			if prefix != nil {
				seen = append(seen, prefix[[2]int{a.Layer, r / a.Variations}][:a.PrefixColumns]...)
			}
			seen = append(seen, own[at]...)
			for h := range heads {
				part := func(x []float64) []float64 { return x[h*dim : (h+1)*dim] }
				var scores []float64
				var values [][]float64
				for _, column := range seen {
					scores = append(scores, float64(a.Scale)*naiveDot(part(fresh[:width]), part(column[0])))
					values = append(values, part(column[1]))
				}
				out = append(out, naiveSoftmaxSum(scores, values)...)
			}
		}
	}
	return out
}
