package bench

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/engine/lm"
)

func logits(probabilities ...float64) []float32 {
	list := make([]float32, len(probabilities))
	for i, p := range probabilities {
		list[i] = float32(math.Log(p) + 3) // a constant changes nothing
	}
	return list
}

func TestDiverge(t *testing.T) {
	for _, c := range []struct {
		p, q []float32
		same bool
		kl   float64
	}{
		{logits(0.5, 0.25, 0.25), logits(0.5, 0.25, 0.25), true, 0},
		{logits(0.5, 0.5), logits(0.25, 0.75), false, 0.5*math.Log(2) + 0.5*math.Log(2.0/3)},
		{logits(0.9, 0.1), logits(0.6, 0.4), true, 0.9*math.Log(1.5) + 0.1*math.Log(0.25)},
		{[]float32{1000, 0}, []float32{1000, 0}, true, 0}, // no overflow
	} {
		if same, kl := diverge(c.p, c.q); same != c.same || math.Abs(kl-c.kl) > 1e-6 {
			t.Errorf("%v, %v: got %v, %g, want %v, %g", c.p, c.q, same, kl, c.same, c.kl)
		}
	}
}

// Codebook 1 is a column later than codebook 0; only cells that hold music count.
func TestDivergences(t *testing.T) {
	c := &lm.Config{Codebooks: 2, Entries: 2, Delays: []int{0, 1}}
	const columns, frames = 3, 2
	want, got := make([]float32, columns*2*2), make([]float32, columns*2*2)
	differ := func(column, q int) {
		copy(want[(column*2+q)*2:], logits(0.9, 0.1))
		copy(got[(column*2+q)*2:], logits(0.1, 0.9))
	}
	differ(1, 0) // frame 1 of codebook 0
	differ(2, 0) // after its last frame
	differ(0, 1) // before its first
	list := divergences(want, got, c, frames)
	if kl := 0.8 * math.Log(9) / 2; list[0].Top1 != 0.5 || math.Abs(list[0].KL-kl) > 1e-6 {
		t.Errorf("codebook 0: got %+v, want 0.5 and %g", list[0], kl)
	}
	if list[1] != (Divergence{Top1: 1}) {
		t.Errorf("codebook 1: got %+v, want no difference", list[1])
	}
}

func sine(frequency, level float64, n int) [][]float32 {
	samples := make([]float32, n)
	for i := range samples {
		samples[i] = float32(level * math.Sin(2*math.Pi*frequency*float64(i)/32000))
	}
	return [][]float32{samples}
}

func TestMelDistance(t *testing.T) {
	loud, soft := logMel(sine(1000, 1, 8192)[0], 32000), logMel(sine(1000, 0.1, 8192)[0], 32000)
	top := 0
	for band, db := range loud[3] {
		if db > loud[3][top] {
			top = band
		}
	}
	if step := loud[3][top] - soft[3][top]; math.Abs(step-20) > 0.01 || loud[3][top] < -3 || loud[3][top] > 3 {
		t.Errorf("a full-scale sine: got %.2f dB, and %.2f dB more than a tenth of it; want about 0, and 20", loud[3][top], step)
	}
	if middle := corner(top + 1); math.Abs(middle-1000) > 80 {
		t.Errorf("1000 Hz is loudest in the band around %.0f Hz", middle)
	}
	if d := melDistance(sine(440, 1, 4000), sine(440, 1, 4000), 32000); d != 0 {
		t.Errorf("the same twice: got %g", d)
	}
	silence := [][]float32{make([]float32, 300)} // shorter than a frame
	if d := melDistance(silence, silence, 32000); d != 0 {
		t.Errorf("silence: got %g", d)
	}
	if d := melDistance(sine(440, 0.5, 4000), [][]float32{make([]float32, 4000)}, 32000); !(d > 1 && d < 80) {
		t.Errorf("a tone and silence: got %g dB", d)
	}
	for _, rate := range []int{8000, 32000, 384000} {
		for band, f := range melFilters(rate) {
			if len(f.weights) == 0 || f.first < 0 || f.first+len(f.weights) > melSize/2+1 || slices.Min(f.weights) < 0 {
				t.Errorf("%d Hz, band %d: got %+v", rate, band, f)
			}
		}
	}
}

// corner is the middle of a band in Hz.
func corner(i int) float64 {
	top := 2595 * math.Log10(1+16000.0/700)
	return 700 * (math.Pow(10, top*float64(i)/(melBands+1)/2595) - 1)
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(c.list); got != c.want {
			t.Errorf("%v: got %g, want %g", c.list, got, c.want)
		}
	}
}

func TestCurve(t *testing.T) {
	var steps []time.Duration
	for i := range 100 {
		steps = append(steps, time.Duration(i)*time.Millisecond)
	}
	points := curve(steps, 10)
	if len(points) > 32 || points[0] != (Point{11, 1.5}) || points[len(points)-1].MS != 99-1.5 {
		t.Errorf("got %d points, %v … %v", len(points), points[0], points[len(points)-1])
	}
	if points := curve(steps[:1], 5); !slices.Equal(points, []Point{{5, 0}}) {
		t.Errorf("one step: got %v", points)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis axis
		want []float64
	}{
		{axis{low: 0, high: 10.2}, []float64{0, 2, 4, 6, 8, 10}},
		{axis{low: 0, high: 0.43}, []float64{0, 0.1, 0.2, 0.3, 0.4}},
		{axis{low: 0, high: 1530}, []float64{0, 200, 400, 600, 800, 1000, 1200, 1400}},
		{axis{low: 1e-2, high: 2, log: true}, []float64{0.01, 0.1, 1}},
	} {
		got := c.axis.ticks()
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%+v: got %v, want %v", c.axis, got, c.want)
		}
	}
}

func TestFold(t *testing.T) {
	if got := fold("one two  three é four", 9); got != "one two\nthree é\nfour" {
		t.Errorf("got %q", got)
	}
}

func variant(quantization string, totalMS float64, q *Quality) Variant {
	return Variant{
		Setting: Setting{Quantization: quantization, KVCache: "f16", Threads: 2, Guidance: 3, Variations: 1},
		Request: Request{TotalMS: totalMS, Realtime: 4000 / totalMS}, Steps: []Row{{MS: totalMS / 200, Context: 300}}, Quality: q,
	}
}

func quality(kl, mel float64) *Quality {
	return &Quality{Codebooks: []Divergence{{Top1: 1}, {Top1: 0.9, KL: kl}}, Mean: Divergence{0.95, kl / 2}, MelDB: mel, SeedMelDB: 4}
}

func TestRecommend(t *testing.T) {
	other := variant("f32", 1, quality(0, 0))
	other.Variations = 4
	threads := variant("q8", 700, nil) // quality was measured with another number of threads
	threads.Threads = 1
	for _, c := range []struct {
		name     string
		variants []Variant
		want     string
		says     []string
	}{
		{"fastest", []Variant{variant("f16", 3000, quality(1e-5, 0)), variant("q8", 2000, quality(0.001, 3)), variant("q4", 1000, quality(0.04, 4))},
			"q4", []string{"inaudible", "4.0 × real time", "q8 weights, f16 cache, 2 threads: takes 2.00 times as long."}},
		{"audible divergence", []Variant{variant("q4", 1000, quality(0.06, 1)), variant("q8", 2000, quality(0.001, 3))},
			"q8", []string{"q4 weights, f16 cache, 2 threads: audible, KL 0.06"}},
		{"audible sound", []Variant{variant("q4", 1000, quality(0.01, 5.1)), variant("q8", 2000, quality(0.001, 3))}, "q8", []string{"audible"}},
		{"as fast", []Variant{variant("q4", 1000, quality(0.04, 3)), variant("q8", 1020, quality(0.001, 3))},
			"q8", []string{"q4 weights, f16 cache, 2 threads: as fast, and no nearer."}},
		{"none good", []Variant{variant("q4", 1000, quality(0.4, 3)), variant("q8", 1500, quality(0.2, 3))}, "q8", []string{"No variant"}},
		{"speed only", []Variant{variant("q8", 2000, nil), variant("q4", 1000, nil)}, "q4", []string{"Random weights tell nothing"}},
		{"other settings", []Variant{variant("q8", 2000, quality(0.001, 1)), other}, "q8", nil},
		{"other threads", []Variant{variant("q4", 600, quality(0.4, 3)), variant("q8", 1000, quality(0.001, 1)), threads}, "q8", []string{"1 thread, 5.7 × real time"}},
	} {
		r := recommend(c.variants)
		if r.Quantization != c.want {
			t.Errorf("%s: got %s, want %s", c.name, r.Quantization, c.want)
		}
		for _, text := range c.says {
			if !strings.Contains(r.Reason, text) {
				t.Errorf("%s: got %q, want %q in it", c.name, r.Reason, text)
			}
		}
	}
	if r := recommend(nil); r != (Recommendation{}) {
		t.Errorf("of nothing: got %+v", r)
	}
}
