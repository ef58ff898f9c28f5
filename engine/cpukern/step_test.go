package cpukern

// A step of decoding as far as weights go: every product of the small, medium and large decoder at its published shape,
// over arbitrary packed bytes, beside a plain read of the same bytes in the same run.

import (
	"fmt"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"segue/engine/kern"
)

type stepShape struct {
	name          string
	width, layers int
}

var stepShapes = []stepShape{{"small", 1024, 24}, {"medium", 1536, 48}, {"large", 2048, 48}}

// A step is the products of one step and their operands.
type step struct {
	*backend
	stream  *stream
	linears []kern.Linear
	weights []*matrix
}

func newStep(tb testing.TB, shape stepShape, p kern.Precision, rows int) *step {
	made, err := Open(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	b := made.(*backend)
	s := &step{backend: b, stream: newStream(b)}
	d := shape.width
	x, wide := s.floats(rows*d), s.floats(rows*8192)
	norm := kern.NormWeights{Kind: kern.LayerNorm, Weight: s.floats(d), Bias: s.floats(d), Epsilon: 1e-5}
	s.stream.Upload(x, slices.Repeat([]float32{1, 2, -1, 0.5}, rows*d/4))
	for range shape.layers {
		s.add(tb, p, 3*d, d, kern.Linear{Dst: wide, X: x, Norm: norm})
		s.add(tb, p, d, d, kern.Linear{Dst: x, X: wide, Residual: x})
		s.add(tb, p, d, d, kern.Linear{Dst: wide, X: x, Norm: norm})
		s.add(tb, p, d, d, kern.Linear{Dst: x, X: wide, Residual: x})
		s.add(tb, p, 4*d, d, kern.Linear{Dst: wide, X: x, Norm: norm, Act: kern.GELU})
		s.add(tb, p, d, 4*d, kern.Linear{Dst: x, X: wide, Residual: x})
	}
	s.add(tb, p, 4*2048, d, kern.Linear{Dst: wide, X: x, Norm: norm})
	for i := range s.linears {
		s.linears[i].Rows = rows
	}
	return s
}

func (s *step) floats(n int) kern.Slice { return kern.All(s.newFloats(make([]float32, n))) }

// add makes a weight of finite numbers without quantising any: 0x2c2c is the half 0.065.
func (s *step) add(tb testing.TB, p kern.Precision, n, k int, a kern.Linear) {
	w := &matrix{rows: n, cols: k, precision: p}
	var err error
	if w.packed, err = newMemory(w.panels() * w.panelBytes()); err != nil {
		tb.Fatal(err)
	}
	for i := range w.packed {
		w.packed[i] = 0x2c
	}
	w.hold(s.backend, int64(len(w.packed)))
	a.W = w
	s.linears, s.weights = append(s.linears, a), append(s.weights, w)
}

func (s *step) run() {
	for _, a := range s.linears {
		s.stream.Linear(a)
	}
}

// read reads every weight once, shared out like products.
func (s *step) read(task *readTask) {
	for _, w := range s.weights {
		units := len(w.packed) / probeUnit
		block := min(linearBytes/probeUnit, ceilDiv(units, 4*s.pool.threads()))
		*task = readTask{span: span{n: units, block: block}, kernels: s.kernels, memory: w.packed}
		s.pool.run(task, task.chunks())
	}
}

func (s *step) free() {
	for _, w := range s.weights {
		w.Free()
	}
	s.Close()
}

// BenchmarkStep: read/step is the time of the plain read over that of the step; 1 means that memory sets the speed.
func BenchmarkStep(b *testing.B) {
	for _, shape := range stepShapes {
		for _, p := range []kern.Precision{kern.Q8, kern.Q4, kern.F16} {
			if shape.name == "large" && p == kern.F16 {
				continue // 6.5 GB
			}
			for _, rows := range []int{1, 2, 8, 16, 300} {
				b.Run(fmt.Sprintf("%s/%s/rows=%d", shape.name, p, rows), func(b *testing.B) { benchStep(b, shape, p, rows) })
			}
		}
	}
}

func benchStep(b *testing.B, shape stepShape, p kern.Precision, rows int) {
	s := newStep(b, shape, p, rows)
	defer s.free()
	task := &readTask{}
	var steps, reads []time.Duration
	b.SetBytes(s.Allocated())
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		s.run()
		between := time.Now()
		b.StopTimer()
		s.read(task)
		steps, reads = append(steps, between.Sub(start)), append(reads, time.Since(between))
		b.StartTimer()
	}
	if err := s.stream.Err(); err != nil {
		b.Fatal(err)
	}
	step, read := percentile(steps, 50), percentile(reads, 50)
	b.ReportMetric(float64(read)/float64(step), "read/step")
	b.ReportMetric(float64(step)/1e6, "ms/step")
	b.ReportMetric(float64(percentile(steps, 99))/float64(step), "p99/median")
}

func percentile(times []time.Duration, p int) time.Duration {
	slices.Sort(times)
	return times[(len(times)-1)*p/100]
}

// BenchmarkStepShared: how a step fares while something else wants a core: a goroutine of this process, or another process.
func BenchmarkStepShared(b *testing.B) {
	for _, other := range []struct {
		name  string
		start func(b *testing.B) (stop func())
	}{{"nobody", func(*testing.B) func() { return func() {} }}, {"goroutine", busyGoroutine}, {"process", busyProcess}} {
		b.Run(other.name, func(b *testing.B) {
			defer other.start(b)()
			benchStep(b, stepShapes[0], kern.Q8, 2)
		})
	}
}

func busyGoroutine(*testing.B) (stop func()) {
	var stopped atomic.Bool
	go func() {
		for !stopped.Load() {
		}
	}()
	return func() { stopped.Store(true) }
}

func busyProcess(b *testing.B) (stop func()) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		b.Skip("no shell to keep a core busy")
	}
	busy := exec.Command(shell, "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		b.Fatal(err)
	}
	return func() {
		_ = busy.Process.Kill()
		_ = busy.Wait() // says that it was killed
	}
}
