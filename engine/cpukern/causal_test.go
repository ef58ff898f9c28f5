package cpukern

// Attention at the size that decides: the small decoder with 30 seconds behind it, beside a plain read of the same cache.

import (
	"fmt"
	"testing"
	"time"

	"segue/engine/kern"
)

const (
	smallLayers, smallHeads, smallHeadDim = 24, 16, 64
	smallWidth                            = smallHeads * smallHeadDim
)

// A causalBench is one step or prefill through all layers.
type causalBench struct {
	*backend
	stream *stream
	op     kern.CausalAttention
}

func newCausalBench(b *testing.B, p kern.Precision, rows, columns, column int) *causalBench {
	made := open(b, 0).(*backend)
	stored, err := made.Cache(p, kern.CacheShape{Layers: smallLayers, Rows: rows, Columns: column + columns, Heads: smallHeads, HeadDim: smallHeadDim})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stored.Free)
	memory := stored.(*cache).memory
	for i := range memory {
		memory[i] = 0x2c // finite as half and as float32
	}
	qkv, dst := make([]float32, rows*columns*3*smallWidth), make([]float32, rows*columns*smallWidth)
	for i := range qkv {
		qkv[i] = float32(i%17) / 17
	}
	return &causalBench{made, newStream(made), kern.CausalAttention{
		QKV: kern.All(made.newFloats(qkv)), Dst: kern.All(made.newFloats(dst)), Cache: stored,
		Rows: rows, Columns: columns, Column: column, Scale: 0.125, Variations: 1,
	}}
}

func (c *causalBench) run(b *testing.B) {
	for layer := range smallLayers {
		c.op.Layer = layer
		c.stream.CausalAttention(c.op)
	}
	if err := c.stream.Err(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCausalStep: read/step is the time of the plain read over that of the step; 1 means that memory sets the speed.
func BenchmarkCausalStep(b *testing.B) {
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		for _, rows := range []int{1, 2, 8} {
			b.Run(fmt.Sprintf("%s/rows=%d/columns=1504", p, rows), func(b *testing.B) {
				c := newCausalBench(b, p, rows, 1, 1503)
				memory := c.op.Cache.(*cache).memory
				b.SetBytes(c.op.Cache.Bytes())
				b.ReportAllocs()
				benchBeside(b, c.backend, memory, func() { c.run(b) })
			})
		}
	}
}

// BenchmarkCausalShared: eight variations of a prompt of 1,500 columns, with guidance, one second into their own. Bytes are
// those of the prompt once and of what the rows have of their own.
func BenchmarkCausalShared(b *testing.B) {
	for _, p := range []kern.Precision{kern.F16, kern.Q8} {
		b.Run(p.String(), func(b *testing.B) {
			prompt, c := newCausalBench(b, p, 2, 1, 1499), newCausalBench(b, p, 16, 1, 49)
			c.op.Prefix, c.op.PrefixColumns, c.op.Variations = prompt.op.Cache, 1500, 8
			prompt.op.Cache.(*cache).owner = c.backend
			b.SetBytes(prompt.op.Cache.Bytes() + c.op.Cache.Bytes())
			benchBeside(b, c.backend, prompt.op.Cache.(*cache).memory, func() { c.run(b) })
		})
	}
}

// BenchmarkCausalPrefill: six seconds of prompt, with guidance.
func BenchmarkCausalPrefill(b *testing.B) {
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		b.Run(fmt.Sprintf("%s/rows=2/columns=301", p), func(b *testing.B) {
			c := newCausalBench(b, p, 2, 301, 0)
			for b.Loop() {
				c.run(b)
			}
		})
	}
}

// benchBeside alternates run with a plain read of memory and reports the ratio of their medians.
func benchBeside(b *testing.B, k *backend, memory []byte, run func()) {
	units := len(memory) / probeUnit
	read := &readTask{span: span{n: units, block: min(linearBytes/probeUnit, ceilDiv(units, 4*k.pool.threads()))}, kernels: k.kernels, memory: memory}
	var runs, reads []time.Duration
	for b.Loop() {
		start := time.Now()
		run()
		between := time.Now()
		b.StopTimer()
		k.pool.run(read, read.chunks())
		runs, reads = append(runs, between.Sub(start)), append(reads, time.Since(between))
		b.StartTimer()
	}
	step := percentile(runs, 50)
	b.ReportMetric(float64(percentile(reads, 50))/float64(step), "read/step")
	b.ReportMetric(float64(step)/1e6, "ms/step")
}
