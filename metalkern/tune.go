package metalkern

// How fast each kernel of a linear is on the device at hand, beside the one that Linear takes: for a report from a kind of
// GPU that its authors do not have.

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

// A LinearShape is a linear of a step as models have it.
type LinearShape struct {
	Name            string
	Outputs, Inputs int
	Norm, Residual  bool
	Act             kern.Activation
}

// StepLinears are those of a decoder of a width.
func StepLinears(width int) []LinearShape {
	return []LinearShape{
		{Name: "qkv", Outputs: 3 * width, Inputs: width, Norm: true},
		{Name: "out", Outputs: width, Inputs: width, Residual: true},
		{Name: "fc1", Outputs: 4 * width, Inputs: width, Norm: true, Act: kern.GELU},
		{Name: "fc2", Outputs: width, Inputs: 4 * width, Residual: true},
		{Name: "heads", Outputs: 4 * 2048, Inputs: width, Norm: true},
	}
}

// TuneEffort is how much is done to measure one kernel.
type TuneEffort struct {
	Bytes int64         // of copies of the weight, so that each comes from memory as in a step
	Runs  int           // before one wait, at least, so that waiting counts for little
	Time  time.Duration // of it all; the fastest of the turns that end with a wait counts
}

// A LinearTuning is what was found of a shape.
type LinearTuning struct {
	Rows         int
	Bytes        int64 // of the weight
	Chosen, Best LinearVariant
	Wrong        []string // kernels that give other bits than the one chosen
}

// A LinearVariant is a kernel and what one run of it takes.
type LinearVariant struct {
	Kernel string
	One    time.Duration
}

func (v LinearVariant) String() string { return v.Kernel }

// TuneLinear measures a shape with weights in p for each number of rows, and tells of each until told to stop.
func (b *backend) TuneLinear(shape LinearShape, p kern.Precision, rows []int, effort TuneEffort, tell func(LinearTuning) (more bool)) error {
	t, err := newTuner(b, shape, p, effort)
	if err != nil {
		return err
	}
	for _, n := range rows {
		found, err := t.tune(shape, n)
		if err != nil {
			return errors.Join(err, t.close())
		}
		if !tell(found) {
			break
		}
	}
	return t.close()
}

// A tuner has copies of one weight.
type tuner struct {
	*stream
	effort TuneEffort
	random *rand.Rand
	memory driver.Buffer
	bytes  int64
	copies []*matrix
	made   []kern.Object
	failed error
}

// mostCopies of a weight: as many linears as a step of a large model has.
const mostCopies = 256

func newTuner(b *backend, shape LinearShape, p kern.Precision, effort TuneEffort) (*tuner, error) {
	made, err := b.Stream()
	if err != nil {
		return nil, err
	}
	t := &tuner{stream: made.(*stream), effort: effort, random: rand.New(rand.NewPCG(1, 2))}
	first := &matrix{rows: shape.Outputs, cols: shape.Inputs, precision: p}
	packed := make([]byte, roundUp(int(first.size()), lineBytes))
	values := weights.FromFloats("random", t.normal(shape.Outputs*shape.Inputs), shape.Outputs, shape.Inputs)
	if err := first.pack(packed, []*weights.Tensor{values}); err != nil {
		return nil, errors.Join(err, t.close())
	}
	size := int64(len(packed))
	n := min(max(effort.Bytes/size, 2), mostCopies)
	if t.memory, err = b.memory("tune", n*size); err != nil {
		return nil, errors.Join(err, t.close())
	}
	t.bytes = n * size
	for i := range n {
		m := &matrix{rows: first.rows, cols: first.cols, precision: p}
		m.owner, m.memory, m.at, m.bytes = b, t.memory, i*size, size
		if err := b.upload(driver.Binding{Buffer: t.memory, Offset: m.at}, packed); err != nil {
			return nil, errors.Join(err, t.close())
		}
		t.copies = append(t.copies, m)
	}
	return t, nil
}

func (t *tuner) close() error {
	err := t.Close()
	kern.Free(t.made)
	if t.memory != nil {
		t.free(t.memory, t.bytes)
	}
	return err
}

func (t *tuner) normal(n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(t.random.NormFloat64())
	}
	return values
}

// vector is n random numbers on the device.
func (t *tuner) vector(n int) kern.Slice {
	if t.failed != nil {
		return kern.Slice{}
	}
	made, err := t.backend.Vector(weights.FromFloats("random", t.normal(n), n))
	if t.failed = err; err != nil {
		return kern.Slice{}
	}
	t.made = append(t.made, made)
	return kern.All(made)
}

// linear is the op on one of the copies.
func (t *tuner) linear(shape LinearShape, rows int) (kern.Linear, error) {
	a := kern.Linear{Dst: t.vector(rows * shape.Outputs), X: t.vector(rows * shape.Inputs), Rows: rows, Act: shape.Act}
	if shape.Norm {
		a.Norm = kern.NormWeights{Kind: kern.LayerNorm, Weight: t.vector(shape.Inputs), Bias: t.vector(shape.Inputs), Epsilon: 1e-5}
	}
	if shape.Residual {
		a.Residual = t.vector(rows * shape.Outputs)
	}
	return a, t.failed
}

// tune measures all kernels that may serve so many rows, the chosen one first.
func (t *tuner) tune(shape LinearShape, rows int) (found LinearTuning, err error) {
	a, err := t.linear(shape, rows)
	if err != nil {
		return found, err
	}
	found = LinearTuning{Rows: rows, Bytes: t.copies[0].bytes}
	chosen := t.chooseMatvec(rows, t.copies[0])
	var want []float32
	if found.Chosen, want, err = t.measure(&a, chosen); err != nil {
		return found, err
	}
	found.Best = found.Chosen
	for i := range matvecs {
		m := &matvecs[i]
		if m == chosen || m.rows > 2*rows {
			continue
		}
		v, got, err := t.measure(&a, m)
		if err != nil {
			return found, err
		}
		switch {
		case !sameBits(got, want):
			found.Wrong = append(found.Wrong, v.Kernel)
		case v.One < found.Best.One:
			found.Best = v
		}
	}
	return found, nil
}

// measure goes through all copies, turn after turn: each run waits for the one before, as in a step.
func (t *tuner) measure(a *kern.Linear, m *matvec) (v LinearVariant, result []float32, err error) {
	v.Kernel = m.names[t.copies[0].precision].kernel
	result = make([]float32, a.Dst.N)
	t.run(a, m, 1)
	if err := t.Download(result, a.Dst); err != nil {
		return v, nil, err
	}
	runs := roundUp(max(t.effort.Runs, 1), len(t.copies))
	begin := time.Now()
	for turns := 0; turns < 2 || time.Since(begin) < t.effort.Time; turns++ {
		start := time.Now()
		t.run(a, m, runs)
		fence, _ := t.Submit() // an error stays
		if err := t.Wait(fence); err != nil {
			return v, nil, err
		}
		if one := time.Since(start) / time.Duration(runs); v.One == 0 || one < v.One {
			v.One = one
		}
	}
	return v, result, nil
}

func (t *tuner) run(a *kern.Linear, m *matvec, times int) {
	for i := range times {
		a.W = t.copies[i%len(t.copies)]
		if o, ok := t.linearOperands(a); ok {
			t.matvec(&o, m)
		}
	}
}

func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
