package encodec

// The codec once more, written straight from its definition: whole signals, explicit padding, float64, no chunks.

import (
	"math"

	"segue/engine/kern"
)

// signal is [T][C].
type signal [][]float64

func column(samples []float32) signal {
	x := make(signal, len(samples))
	for t, v := range samples {
		x[t] = []float64{float64(v)}
	}
	return x
}

func (x signal) floats() []float32 {
	var flat []float32
	for _, row := range x {
		for _, v := range row {
			flat = append(flat, float32(v))
		}
	}
	return flat
}

func zeros(n, channels int) signal {
	x := make(signal, n)
	for t := range x {
		x[t] = make([]float64, channels)
	}
	return x
}

func plus(a, b signal) signal {
	sum := zeros(len(a), len(a[0]))
	for t := range a {
		for c := range a[t] {
			sum[t][c] = a[t][c] + b[t][c]
		}
	}
	return sum
}

func refEmbed(c Config, w *Weights, samples []float32) signal {
	x := refLayers(c, w.encoder, column(samples))
	return refConv(c, w.encoderOut, refRecur(w.encoderLSTM, x))
}

func refDecode(c Config, w *Weights, codes []int32, frames int) signal {
	z := zeros(frames, c.HiddenSize)
	for q, book := range w.books {
		for t := range z {
			for d := range z[t] {
				z[t][d] += float64(book.Floats()[int(codes[q*frames+t])*c.HiddenSize+d])
			}
		}
	}
	return refLayers(c, w.decoder, refRecur(w.decoderLSTM, refConv(c, w.decoderIn, z)))
}

func refLayers(c Config, layers []layerWeights, x signal) signal {
	for _, layer := range layers {
		y := refConv(c, layer.conv, x)
		if layer.tail != nil {
			if layer.shortcut != nil {
				x = refConv(c, *layer.shortcut, x)
			}
			y = plus(x, refConv(c, *layer.tail, y))
		}
		x = y
	}
	return x
}

func refConv(c Config, w convWeights, x signal) signal {
	if w.elu {
		y := zeros(len(x), len(x[0]))
		for t := range x {
			for i, v := range x[t] {
				y[t][i] = v
				if v <= 0 {
					y[t][i] = math.Expm1(v)
				}
			}
		}
		x = y
	}
	if w.transposed {
		return refTransposed(c, w, x)
	}
	out, in, kernel := w.weight.Shape[0], w.weight.Shape[1], w.weight.Shape[2]
	weight, bias := w.weight.Floats(), w.bias.Floats()
	reach := (kernel-1)*w.dilation + 1
	total := reach - w.stride
	right := total / 2
	if c.UseCausalConv {
		right = 0
	}
	n := (len(x) + w.stride - 1) / w.stride
	extra := (n-1)*w.stride + reach - total - len(x)
	x = refPad(x, total-right, right+extra, c.PadMode)
	y := zeros(n, out)
	for t := range y {
		for o := range out {
			y[t][o] = float64(bias[o])
			for i := range in {
				for j := range kernel {
					y[t][o] += float64(weight[(o*in+i)*kernel+j]) * x[t*w.stride+j*w.dilation][i]
				}
			}
		}
	}
	return y
}

// refPad mirrors x, lengthened by zeros where it is too short for that, which are dropped again.
func refPad(x signal, left, right int, mode kern.PadMode) signal {
	n, short := len(x), 0
	if widest := max(left, right); mode == kern.PadReflect && n <= widest {
		short = widest - n + 1
		x = append(append(signal{}, x...), zeros(short, len(x[0]))...)
		n = len(x)
	}
	padded := zeros(left+n+right, len(x[0]))
	for t := range padded {
		at := t - left
		if mode == kern.PadReflect {
			if at < 0 {
				at = -at
			}
			if at >= n {
				at = 2*(n-1) - at
			}
		}
		if at >= 0 && at < n {
			copy(padded[t], x[at])
		}
	}
	return padded[:len(padded)-short]
}

func refTransposed(c Config, w convWeights, x signal) signal {
	in, out, kernel := w.weight.Shape[0], w.weight.Shape[1], w.weight.Shape[2]
	weight, bias := w.weight.Floats(), w.bias.Floats()
	y := zeros((len(x)-1)*w.stride+kernel, out)
	for t := range y {
		for o := range out {
			y[t][o] = float64(bias[o])
		}
	}
	for t := range x {
		for i := range in {
			for o := range out {
				for j := range kernel {
					y[t*w.stride+j][o] += x[t][i] * float64(weight[(i*out+o)*kernel+j])
				}
			}
		}
	}
	total := kernel - w.stride
	right := total / 2
	if c.UseCausalConv {
		right = int(math.Ceil(float64(total) * c.TrimRightRatio))
	}
	return y[total-right : len(y)-right]
}

func refRecur(layers []lstmWeights, x signal) signal {
	y := x
	for _, w := range layers {
		y = refLSTM(w, y)
	}
	return plus(x, y)
}

func refLSTM(w lstmWeights, x signal) signal {
	width := len(x[0])
	input, hidden := w.input.Floats(), w.hidden.Floats()
	sigmoid := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
	h, cell, y := make([]float64, width), make([]float64, width), signal{}
	for t := range x {
		gates := make([]float64, 4*width)
		for g := range gates {
			gates[g] = float64(w.inputBias.Floats()[g]) + float64(w.hiddenBias.Floats()[g])
			for i := range width {
				gates[g] += float64(input[g*width+i])*x[t][i] + float64(hidden[g*width+i])*h[i]
			}
		}
		h = make([]float64, width)
		for i := range h {
			cell[i] = sigmoid(gates[width+i])*cell[i] + sigmoid(gates[i])*math.Tanh(gates[2*width+i])
			h[i] = sigmoid(gates[3*width+i]) * math.Tanh(cell[i])
		}
		y = append(y, h)
	}
	return y
}
