package kerntest

// Conv, ConvTranspose, LSTM and the residual quantiser from their formulas in kern/ops.go.

import (
	"math"

	"segue/engine/kern"
)

func naiveELU(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		if out[i] = v; v <= 0 {
			out[i] = math.Expm1(v)
		}
	}
	return out
}

// naivePad pads frames of `in` channels; see kern.Conv for reflections of short inputs.
func naivePad(x []float64, in, left, right int, mode kern.PadMode) []float64 {
	frames := len(x) / in
	extra := 0
	if longest := max(left, right); mode == kern.PadReflect && frames <= longest {
		extra = longest + 1 - frames
		x = append(x[:len(x):len(x)], make([]float64, extra*in)...)
		frames += extra
	}
	var out []float64
	for i := -left; i < frames+right-extra; i++ {
		source := i
		if mode == kern.PadReflect && i < 0 {
			source = -i
		}
		if mode == kern.PadReflect && i >= frames {
			source = 2*(frames-1) - i
		}
		if source < 0 || source >= frames {
			out = append(out, make([]float64, in)...)
		} else {
			out = append(out, x[source*in:(source+1)*in]...)
		}
	}
	return out
}

// naiveConv: w [out, in, kernel].
func naiveConv(a kern.Conv, x, w, bias, residual []float64) []float64 {
	in, outs, kernel := a.W.In(), a.W.Out(), a.W.Kernel()
	if a.ELU {
		x = naiveELU(x)
	}
	x = naivePad(x, in, a.Left, a.Right, a.Pad)
	out := make([]float64, a.OutT()*outs)
	for t := range a.OutT() {
		for o := range outs {
			sum := bias[o]
			for i := range in {
				for j := range kernel {
					sum += w[(o*in+i)*kernel+j] * x[(t*a.Stride+j*a.Dilation)*in+i]
				}
			}
			if residual != nil {
				sum += residual[t*outs+o]
			}
			out[t*outs+o] = sum
		}
	}
	return out
}

// naiveTranspose: w [in, out, kernel].
func naiveTranspose(a kern.ConvTranspose, x, w, bias []float64) []float64 {
	in, outs, kernel := a.W.In(), a.W.Out(), a.W.Kernel()
	if a.ELU {
		x = naiveELU(x)
	}
	full := make([]float64, ((a.T-1)*a.Stride+kernel)*outs)
	for i := range full {
		full[i] = bias[i%outs]
	}
	for t := range a.T {
		for i := range in {
			for o := range outs {
				for j := range kernel {
					full[(t*a.Stride+j)*outs+o] += w[(i*outs+o)*kernel+j] * x[t*in+i]
				}
			}
		}
	}
	return full[a.TrimLeft*outs : len(full)-a.TrimRight*outs]
}

// naiveLSTM: gates [T, 4H], w [4H, H].
func naiveLSTM(gates, w, residual []float64, t, hidden int) []float64 {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	h, c := make([]float64, hidden), make([]float64, hidden)
	var out []float64
	for step := range t {
		g4 := naiveLinear(h, w, gates[step*4*hidden:][:4*hidden], nil, 1, 4*hidden, hidden, kern.Identity)
		for u := range hidden {
			i, f, g, o := g4[u], g4[hidden+u], g4[2*hidden+u], g4[3*hidden+u]
			c[u] = sigmoid(f)*c[u] + sigmoid(i)*math.Tanh(g)
			h[u] = sigmoid(o) * math.Tanh(c[u])
			if residual != nil {
				out = append(out, h[u]+residual[step*hidden+u])
			} else {
				out = append(out, h[u])
			}
		}
	}
	return out
}

// naiveEncode quantises z [T, D] and returns the codes [Q, T] and the remainder.
func naiveEncode(z, books []float64, q, entries, t, d int) ([]int32, []float64) {
	rest := append([]float64(nil), z...)
	codes := make([]int32, q*t)
	for row := range t {
		r := rest[row*d:][:d]
		for b := range q {
			book := books[b*entries*d:][:entries*d]
			best, most := 0, math.Inf(-1)
			for e := range entries {
				entry := book[e*d:][:d]
				if near := -(naiveDot(r, r) - 2*naiveDot(r, entry) + naiveDot(entry, entry)); near > most {
					best, most = e, near
				}
			}
			codes[b*t+row] = int32(best)
			for i := range r {
				r[i] -= book[best*d+i]
			}
		}
	}
	return codes, rest
}

// naiveDecode: codes [Q, stride].
func naiveDecode(codes []int32, books []float64, q, entries, t, d, stride int) []float64 {
	out := make([]float64, t*d)
	for row := range t {
		for b := range q {
			for i := range d {
				out[row*d+i] += books[(b*entries+int(codes[b*stride+row]))*d+i]
			}
		}
	}
	return out
}
