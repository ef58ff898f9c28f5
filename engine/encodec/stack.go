package encodec

// Chunked convolutions. A stack is a run of convolutions and residual blocks between the samples and the frames.
// To compute some of its outputs, plan walks back from them and finds what every layer must contribute; run then
// walks forward and computes exactly that. Each output is made from the same numbers, in the same order, as if the
// whole signal had been computed at once, so chunks join without a trace.
//
// The oddity is reflection: near an end of the signal an output also needs samples from further inside, so a chunk
// there is widened until it holds them.

import (
	"context"
	"math"

	"segue/engine/kern"
)

// span is the half-open interval [from, to) of time steps at one layer's rate.
type span struct{ from, to int }

func (s span) len() int { return s.to - s.from }

// window is the part of an activation that is in memory: the rows of span, channels numbers each.
type window struct {
	data kern.Slice
	span
	channels int
}

// at is the part of w that holds s.
func (w window) at(s span) kern.Slice {
	return w.data.At((s.from-w.from)*w.channels, s.len()*w.channels)
}

// conv is a convolution on the device and its geometry in time.
type conv struct {
	filter           kern.Filter
	bias             kern.Slice
	stride, dilation int
	left, right      int // padding of every input, or what is trimmed off the output when transposed
	pad              kern.PadMode
	elu              bool
}

// setPadding makes the output ⌈n/stride⌉ long, or n·stride when transposed and the kernel is twice the stride.
func (v *conv) setPadding(c Config) {
	total := v.reach() - v.stride
	switch {
	case !c.UseCausalConv:
		v.right = total / 2
	case v.filter.Transposed():
		v.right = int(math.Ceil(float64(total) * c.TrimRightRatio))
	}
	v.left = total - v.right
}

// reach is the number of inputs from the first to the last that one output sees.
func (v *conv) reach() int { return (v.filter.Kernel()-1)*v.dilation + 1 }

// outputs is the length of the whole output for a whole input of n.
func (v *conv) outputs(n int) int {
	if v.filter.Transposed() {
		return (n-1)*v.stride + v.filter.Kernel() - v.left - v.right
	}
	return (n + v.stride - 1) / v.stride
}

// inputs are the time steps that the outputs in out see. Those outside the signal are padding; there is more of it on
// the right than v.right says when stride does not divide the signal.
func (v *conv) inputs(out span) span {
	if v.filter.Transposed() {
		first, last := out.from+v.left, out.to-1+v.left
		return span{(max(0, first-v.filter.Kernel()+1) + v.stride - 1) / v.stride, last/v.stride + 1}
	}
	first := out.from*v.stride - v.left
	return span{first, first + (out.len()-1)*v.stride + v.reach()}
}

// widen extends out until the inputs it sees include those that are mirrored into the padding that it sees. A signal
// no longer than its padding is taken whole, since the op has a rule of its own for it.
func (v *conv) widen(out span, n int) span {
	if v.pad != kern.PadReflect || v.filter.Transposed() {
		return out
	}
	whole := span{0, v.outputs(n)}
	if seen := v.inputs(whole); n <= max(-seen.from, seen.to-n) {
		return whole
	}
	if in := v.inputs(out); in.from < 0 { // sees x[-1] … x[in.from], mirrors of x[1] … x[-in.from]
		missing := 1 - in.from - in.to
		out.to = min(whole.to, out.to+max(0, missing+v.stride-1)/v.stride)
	}
	if in := v.inputs(out); in.to > n { // sees mirrors back to x[n-1-(in.to-n)]
		mirrored := n - 1 - (in.to - n)
		out.from = min(out.from, (mirrored+v.left)/v.stride)
	}
	return out
}

// record computes the outputs in out of a signal of n time steps, of which x holds what inputs asks for.
func (v *conv) record(s kern.Stream, dst kern.Slice, x window, out span, n int, residual kern.Slice) {
	in := v.inputs(out)
	have := span{max(0, in.from), min(n, in.to)}
	if v.filter.Transposed() {
		s.ConvTranspose(kern.ConvTranspose{
			Dst: dst, X: x.at(have), W: v.filter, Bias: v.bias, T: have.len(), Stride: v.stride, ELU: v.elu,
			TrimLeft:  out.from + v.left - have.from*v.stride,
			TrimRight: (have.to-1)*v.stride + v.filter.Kernel() - v.left - out.to,
		})
		return
	}
	s.Conv(kern.Conv{
		Dst: dst, X: x.at(have), W: v.filter, Bias: v.bias, T: have.len(), Stride: v.stride, Dilation: v.dilation,
		Left: have.from - in.from, Right: in.to - have.to, Pad: v.pad, ELU: v.elu, Residual: residual,
	})
}

// whole computes all outputs for the n rows of x.
func (v *conv) whole(s kern.Stream, dst, x kern.Slice, n int) {
	v.record(s, dst, window{x, span{0, n}, v.filter.In()}, span{0, v.outputs(n)}, n, kern.Slice{})
}

// stage is one convolution or, with tail, one residual block; see layerWeights.
type stage struct {
	conv
	tail, shortcut *conv
}

// inPlace says that the output lies where the input did: the block adds its result to it.
func (g *stage) inPlace() bool { return g.tail != nil && g.shortcut == nil }

// room is how many floats of spare memory record needs for n outputs.
func (g *stage) room(n int) int {
	channels := g.filter.Out()
	if g.shortcut != nil {
		channels += g.shortcut.filter.Out()
	}
	return n * channels
}

// record computes the outputs in out, in spare or in place of x.
func (g *stage) record(s kern.Stream, x window, out span, n int, spare kern.Slice) window {
	y := window{spare.At(0, out.len()*g.filter.Out()), out, g.filter.Out()}
	g.conv.record(s, y.data, x, out, n, kern.Slice{})
	if g.tail == nil {
		return y
	}
	sum := window{x.at(out), out, x.channels}
	if g.shortcut != nil {
		sum.data = spare.At(y.data.N, sum.data.N)
		g.shortcut.record(s, sum.data, x, out, n, kern.Slice{})
	}
	g.tail.record(s, sum.data, y, out, n, sum.data)
	return sum
}

type stack []stage

// plan is what a stack computes, chunk by chunk.
type plan struct {
	lengths []int    // time steps of the whole signal before each stage, and after the last
	chunks  [][]span // of each chunk: the time steps of these that it holds
	room    int      // floats that one of two alternating activations takes at most
}

// plan prepares to compute outputs, one chunk each, from a signal of n time steps.
func (k stack) plan(n int, outputs []span) plan {
	p := plan{lengths: []int{n}}
	for i := range k {
		n = k[i].outputs(n)
		p.lengths = append(p.lengths, n)
	}
	for _, out := range outputs {
		spans := k.back(out, p.lengths)
		p.room = max(p.room, spans[0].len()*k[0].filter.In())
		for i := range k {
			p.room = max(p.room, k[i].room(spans[i+1].len()))
		}
		p.chunks = append(p.chunks, spans)
	}
	return p
}

// back finds the time steps of every activation that out depends on.
func (k stack) back(out span, lengths []int) []span {
	spans := make([]span, len(k)+1)
	for i := len(k) - 1; i >= 0; i-- {
		out = k[i].widen(out, lengths[i])
		spans[i+1] = out
		in := k[i].inputs(out)
		out = span{max(0, in.from), min(lengths[i], in.to)}
	}
	spans[0] = out
	return spans
}

// run computes one chunk from x, which is not in slots[0], with activations alternating between the slots. The result
// holds at least the outputs that were planned and lasts until the slots are used again.
func (k stack) run(ctx context.Context, s kern.Stream, x window, p plan, chunk int, slots [2]kern.Slice) (window, error) {
	next := 0
	for i := range k {
		if err := ctx.Err(); err != nil {
			return x, err
		}
		x = k[i].record(s, x, p.chunks[chunk][i+1], p.lengths[i], slots[next])
		if !k[i].inPlace() {
			next = 1 - next
		}
	}
	return x, nil
}

// cut divides the frames [from, to) into chunks of size.
func cut(from, to, size int) []span {
	var chunks []span
	for ; from < to; from += size {
		chunks = append(chunks, span{from, min(from+size, to)})
	}
	return chunks
}
