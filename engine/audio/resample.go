package audio

// Sample-rate conversion of any ratio: a zero-phase Kaiser-windowed sinc, evaluated per output sample.
//
//	y[m] = Σ_k x[k] · h(m·from/to − k)     h(t) = c·sinc(c·t)·kaiser(t/w), c the cutoff as a share of the input rate
//
// h takes one of to/gcd shifts ("phases"), so a table of rows serves. Where rates share no large factor the table
// would be huge; then rows at fixed shifts are blended by a cubic, whose error stays below -150 dB.
// At the ends the edge sample is held, so a cut piece begins and ends at its own level.

import "math"

const (
	passband   = 0.95 // of the lower rate's Nyquist: flat up to here, stopped from 1.0 on
	stopbandDB = 140
	// maxTable bounds the exact table, in coefficients (8 bytes each).
	maxTable = 1 << 20
	// blendRows per input sample: the cubic's error falls with the fourth power.
	blendRows = 128
)

// Resample converts one channel to exactly ceil(len(x)·to/from) samples. Both rates must be positive.
func Resample(x []float32, from, to int) []float32 {
	if from == to || len(x) == 0 {
		return append([]float32(nil), x...)
	}
	return newKernel(from, to).convert(x)
}

// Resampler converts long audio piece by piece, to what Resample would make of the whole, bit for bit.
type Resampler struct {
	channels int
	kernel   *kernel
	block    int       // frames converted at once: where one ends both clocks tick
	margin   int       // frames around a block that its outputs depend on, ticks too
	held     []float32 // interleaved: the margin before the next block, if it is not the first, and what follows
	before   int       // frames of that margin
}

// NewResampler begins the conversion of audio that has channels.
func NewResampler(from, to, channels int) *Resampler {
	k := newKernel(from, to)
	whole := func(frames int) int { return (frames + k.from - 1) / k.from * k.from }
	return &Resampler{channels: channels, kernel: k, block: whole(from), margin: whole(k.half)}
}

// Write takes interleaved frames, and hands on in planar form what can be converted by now.
func (r *Resampler) Write(interleaved []float32, next func([][]float32) error) error {
	r.held = append(r.held, interleaved...)
	for len(r.held)/r.channels >= r.before+r.block+r.margin {
		if err := next(r.convert(r.before+r.block+r.margin, r.block)); err != nil {
			return err
		}
		drop := r.before + r.block - r.margin
		r.held = append(r.held[:0], r.held[drop*r.channels:]...)
		r.before = r.margin
	}
	return nil
}

// Flush hands on the rest.
func (r *Resampler) Flush(next func([][]float32) error) error {
	frames := len(r.held) / r.channels
	if frames == r.before {
		return nil
	}
	return next(r.convert(frames, frames-r.before))
}

// convert converts the first frames of what is held, and returns what stands for those behind the margin.
func (r *Resampler) convert(frames, wanted int) [][]float32 {
	planar := Deinterleave(r.held[:frames*r.channels], r.channels)
	skip := r.before / r.kernel.from * r.kernel.phases
	for c := range planar {
		planar[c] = r.kernel.convert(planar[c])[skip:][:r.kernel.length(wanted)]
	}
	return planar
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// kernel holds rows of h: row r has the weights for an output r/rows of the way from one input sample to the next.
type kernel struct {
	from   int // in lowest terms; to is phases
	half   int // input samples on each side
	taps   int // 2·half
	cutoff float64
	phases int  // of the ratio
	rows   int  // per input sample: phases, or blendRows
	exact  bool // one row for each phase: nothing to blend, even where phases happen to be blendRows
	table  []float64
}

func newKernel(from, to int) *kernel {
	g := gcd(from, to)
	from, to = from/g, to/g
	// In units of the input rate; both edges sit below the lower Nyquist (0.5·lower).
	lower := math.Min(1, float64(to)/float64(from))
	transition := (1 - passband) * lower / 2
	// Kaiser: half the length in samples for a transition (as a share of the rate) and an attenuation.
	half := int(math.Ceil((stopbandDB - 7.95) / (14.36 * transition) / 2))
	k := &kernel{from: from, half: half, taps: 2 * half, cutoff: (1 + passband) / 2 * lower, phases: to, rows: to, exact: true}
	extra := 0
	if k.taps*to > maxTable {
		k.rows, k.exact, extra = blendRows, false, 3 // the cubic looks one row back and two ahead
	}
	k.table = make([]float64, (k.rows+extra)*k.taps)
	for r := 0; r < k.rows+extra; r++ {
		shift := r
		if extra > 0 {
			shift = r - 1
		}
		k.fill(k.table[r*k.taps:][:k.taps], float64(shift)/float64(k.rows))
	}
	return k
}

// fill computes the weights of inputs 1-half … half for an output at shift from input 0. They sum to one, so that a
// constant stays constant in every phase.
func (k *kernel) fill(row []float64, shift float64) {
	const beta = 0.1102 * (stopbandDB - 8.7)
	sum := 0.0
	for j := range row {
		t := float64(j+1-k.half) - shift
		edge := t / float64(k.half)
		row[j] = 0
		if inside := 1 - edge*edge; inside >= 0 {
			row[j] = sinc(k.cutoff*t) * bessel0(beta*math.Sqrt(inside))
		}
		sum += row[j]
	}
	for j := range row {
		row[j] /= sum
	}
}

func sinc(x float64) float64 {
	if math.Abs(x) < 1e-9 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel0 is the modified Bessel function of order zero: Σ ((x/2)^n / n!)².
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for n := 1.0; term > sum*1e-17; n++ {
		term *= (x / 2 / n) * (x / 2 / n)
		sum += term
	}
	return sum
}

// length is how many outputs n inputs have.
func (k *kernel) length(n int) int {
	return int((int64(n)*int64(k.phases) + int64(k.from) - 1) / int64(k.from))
}

func (k *kernel) convert(x []float32) []float32 {
	out := make([]float32, k.length(len(x)))
	padded := k.pad(x)
	row := make([]float64, k.taps)
	at, phase := 0, 0 // output m stands at input sample at + phase/to
	for m := range out {
		out[m] = float32(dot(k.row(row, phase), padded[at:]))
		at, phase = at+k.from/k.phases, phase+k.from%k.phases
		if phase >= k.phases {
			at, phase = at+1, phase-k.phases
		}
	}
	return out
}

// row returns the weights of a phase, blended into scratch where the table has no such row.
func (k *kernel) row(scratch []float64, phase int) []float64 {
	if k.exact {
		return k.table[phase*k.taps:][:k.taps]
	}
	position := float64(phase) / float64(k.phases) * float64(k.rows)
	r := int(position)
	u := position - float64(r)
	// Lagrange weights of the rows at -1, 0, 1 and 2.
	w0, w1 := -u*(u-1)*(u-2)/6, (u+1)*(u-1)*(u-2)/2
	w2, w3 := -(u+1)*u*(u-2)/2, (u+1)*u*(u-1)/6
	t := k.table[r*k.taps:]
	t0, t1, t2, t3 := t[:k.taps], t[k.taps:2*k.taps], t[2*k.taps:3*k.taps], t[3*k.taps:4*k.taps]
	scratch = scratch[:k.taps]
	for j := range scratch {
		scratch[j] = w0*t0[j] + w1*t1[j] + w2*t2[j] + w3*t3[j]
	}
	return scratch
}

// pad surrounds x with held edges: output 0 stands at x[0], and its row begins half-1 samples before.
func (k *kernel) pad(x []float32) []float64 {
	padded := make([]float64, len(x)+k.taps)
	for i := range padded {
		padded[i] = float64(x[min(max(i-k.half+1, 0), len(x)-1)])
	}
	return padded
}

// dot is Σ a·b over len(a), in four sums that the processor can overlap.
func dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	for len(a) >= 4 && len(b) >= 4 {
		s0 += a[0] * b[0]
		s1 += a[1] * b[1]
		s2 += a[2] * b[2]
		s3 += a[3] * b[3]
		a, b = a[4:], b[4:]
	}
	for i, v := range a {
		s0 += v * b[i]
	}
	return s0 + s1 + s2 + s3
}
