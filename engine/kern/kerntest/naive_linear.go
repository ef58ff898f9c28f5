package kerntest

// Linear, Norm and Embed from their formulas in kern/ops.go.

import (
	"math"

	"segue/engine/kern"
)

// naiveLinear: act(X·Wᵀ + bias) + residual; x [rows, k], w [n, k]. bias and residual may be nil.
func naiveLinear(x, w, bias, residual []float64, rows, n, k int, act kern.Activation) []float64 {
	out := make([]float64, rows*n)
	for r := range rows {
		for c := range n {
			sum := 0.0
			for i := range k {
				sum += x[r*k+i] * w[c*k+i]
			}
			if bias != nil {
				sum += bias[c]
			}
			sum = naiveActivation(sum, act)
			if residual != nil {
				sum += residual[r*n+c]
			}
			out[r*n+c] = sum
		}
	}
	return out
}

func naiveActivation(x float64, act kern.Activation) float64 {
	switch act {
	case kern.GELU:
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	case kern.ReLU:
		return math.Max(x, 0)
	}
	return x
}

// naiveNorm normalises rows of x; width = len(weight).
func naiveNorm(kind kern.NormKind, x, weight, bias []float64, epsilon float32) []float64 {
	if kind == kern.NoNorm {
		return x
	}
	width := len(weight)
	out := make([]float64, len(x))
	for at := 0; at < len(x); at += width {
		row := x[at : at+width]
		mean, variance := 0.0, 0.0
		if kind == kern.LayerNorm {
			for _, v := range row {
				mean += v / float64(width)
			}
		}
		for _, v := range row {
			variance += (v - mean) * (v - mean) / float64(width)
		}
		for i, v := range row {
			out[at+i] = (v - mean) / math.Sqrt(variance+float64(epsilon)) * weight[i]
			if kind == kern.LayerNorm {
				out[at+i] += bias[i]
			}
		}
	}
	return out
}

// naiveEmbed: tables[q] is [entries, width], codes [variations, tables, stride].
func naiveEmbed(a kern.Embed, tables [][]float64, codes []int32, positions []float64, width int) []float64 {
	out := make([]float64, a.Rows*a.Columns*width)
	for r := range a.Rows {
		for i := range a.Columns {
			dst := out[(r*a.Columns+i)*width:][:width]
			for q, table := range tables {
				code := int(codes[(r%a.Variations*len(tables)+q)*a.Stride+a.First+i])
				for d := range dst {
					dst[d] += table[code*width+d]
				}
			}
			if positions != nil {
				for d := range dst {
					dst[d] += positions[(a.First+i)*width+d]
				}
			}
		}
	}
	return out
}
