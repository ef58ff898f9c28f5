package encodec

import (
	"context"
	"testing"

	"segue/engine/kern"
	"segue/weights"
)

// FuzzConv: any stretch of the outputs of any convolution is what the reference has there, from no more inputs than
// it depends on.
func FuzzConv(f *testing.F) {
	k, s := open(f)
	f.Add(uint8(7), uint8(1), uint8(1), uint8(0), uint8(20), uint8(3), uint8(9))
	f.Add(uint8(16), uint8(8), uint8(1), uint8(1), uint8(40), uint8(4), uint8(5)) // the last frame, half padding
	f.Add(uint8(3), uint8(1), uint8(9), uint8(3), uint8(19), uint8(0), uint8(1))
	f.Add(uint8(56), uint8(9), uint8(1), uint8(1), uint8(40), uint8(4), uint8(20)) // one output, mirrored past its own window
	f.Add(uint8(10), uint8(5), uint8(1), uint8(4), uint8(3), uint8(7), uint8(8))
	f.Fuzz(func(t *testing.T, kernel, stride, dilation, mode, length, from, to uint8) {
		c, w, ok := anyConv(kernel, stride, dilation, mode)
		n := int(length)
		if !ok || n == 0 {
			t.Skip()
		}
		l := &loader{Uploader: kern.Uploader{Context: t.Context(), Backend: k}, config: c}
		v := l.conv(w)
		if l.Err != nil {
			t.Fatal(l.Err)
		}
		defer kern.Free(l.Made)
		out := span{min(int(from), v.outputs(n)), min(int(to), v.outputs(n))}
		if out.len() <= 0 {
			t.Skip()
		}
		samples := noise(n)
		want := refConv(c, w, column(samples)).floats()
		if len(want) != v.outputs(n) {
			t.Fatalf("outputs of %d: got %d, want %d", n, v.outputs(n), len(want))
		}
		got := runOne(t, k, s, v, samples, out)
		if worst := maxError(got, want[out.from:out.to]); worst > 1e-5 {
			t.Errorf("outputs %v of %d: error %.3g", out, len(want), worst)
		}
		if in := v.inputs(out); w.transposed && in.from*v.stride+int(kernel) <= out.from+v.left {
			t.Errorf("outputs %v: input %d has no part in them", out, in.from)
		}
	})
}

// anyConv makes a convolution of one channel; mode has a bit each for reflection, causality and transposition.
func anyConv(kernel, stride, dilation, mode uint8) (Config, convWeights, bool) {
	c := Config{UseCausalConv: mode&2 != 0, TrimRightRatio: 0.7}
	if mode&1 != 0 {
		c.PadMode = kern.PadReflect
	}
	w := convWeights{stride: int(stride), dilation: int(dilation), transposed: mode&4 != 0, elu: mode&8 != 0}
	if kernel == 0 || stride == 0 || dilation == 0 || w.transposed && dilation != 1 {
		return c, w, false
	}
	if reach := (int(kernel)-1)*w.dilation + 1; reach < w.stride || reach > 1000 {
		return c, w, false
	}
	source := &chance{}
	w.weight, w.bias = source.Tensor("weight", 1, 1, int(kernel)), source.Tensor("bias", 1)
	return c, w, true
}

// runOne computes out with a stack of v alone.
func runOne(t *testing.T, k kern.Backend, s kern.Stream, v conv, samples []float32, out span) []float32 {
	one := stack{{conv: v}}
	p := one.plan(len(samples), []span{out})
	slot, err := k.Floats(p.room)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Free()
	in := p.chunks[0][0]
	x, err := k.Vector(weights.FromFloats("x", samples[in.from:in.to], in.len()))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	y, err := one.run(context.Background(), s, window{kern.All(x), in, 1}, p, 0, [2]kern.Slice{kern.All(slot)})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, out.len())
	if err := s.Download(got, y.at(out)); err != nil {
		t.Fatal(err)
	}
	return got
}
