package audio

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMix(t *testing.T) {
	l, r, c := []float32{1, 2}, []float32{3, 4}, []float32{5, 6}
	for _, test := range []struct{ in, want [][]float32 }{
		{[][]float32{l}, [][]float32{l}},
		{[][]float32{l, r}, [][]float32{{2, 3}}},
		{[][]float32{l, r, c}, [][]float32{{3, 4}}},
		{[][]float32{l}, [][]float32{l, l, l}},
		{[][]float32{l, r}, [][]float32{l, r, l, r, l}},
		{[][]float32{l, r, c}, [][]float32{l, r}},
	} {
		got := Mix(test.in, len(test.want))
		if !slices.EqualFunc(got, test.want, slices.Equal) {
			t.Errorf("%v to %d: got %v, want %v", test.in, len(test.want), got, test.want)
		}
	}
	got := Mix([][]float32{l}, 2)
	got[1][0] = 9
	if l[0] != 1 || got[0][0] != 1 {
		t.Error("channels share memory")
	}
	x := []float32{1, 2, 3, 4, 5, 6}
	if planar := Deinterleave(x, 3); !slices.Equal(planar[2], []float32{3, 6}) || !slices.Equal(Interleave(planar), x) {
		t.Errorf("deinterleaved: %v", planar)
	}
}

// TestLoudness has the cases of EBU Tech 3341 that steady tones allow, at several rates.
func TestLoudness(t *testing.T) {
	fs := func(db float64) float64 { return math.Pow(10, db/20) }
	for _, rate := range []int{8000, 32000, 44100, 48000, 96000, 44101} {
		tone := func(db float64, seconds int) []float32 { return sine(997, fs(db), rate, seconds*rate) }
		stereo := func(x []float32) [][]float32 { return [][]float32{x, x} }
		cases := []struct {
			name string
			x    [][]float32
			want float64
		}{
			{"-23 dBFS stereo", stereo(tone(-23, 5)), -23},
			{"-33 dBFS stereo", stereo(tone(-33, 5)), -33},
			{"mono is 3 LU lower", [][]float32{tone(-23, 5)}, -26.01},
			{"relative gate", stereo(slices.Concat(tone(-36, 10), tone(-23, 60), tone(-36, 10))), -23},
			{"absolute gate", stereo(slices.Concat(make([]float32, 20*rate), tone(-23, 20))), -23.05},
			{"5.1 without LFE", [][]float32{tone(-28, 5), tone(-28, 5), tone(-24, 5), tone(0, 5), tone(-30, 5), tone(-30, 5)}, -23},
		}
		for _, c := range cases {
			got, ok := Loudness(c.x, rate)
			if !ok || math.Abs(got-c.want) > 0.1 {
				t.Errorf("%d Hz, %s: got %.2f %v, want %.2f", rate, c.name, got, ok, c.want)
			}
		}
		for name, x := range map[string][]float32{"silence": make([]float32, rate), "399 ms": tone(-10, 1)[:rate*399/1000], "below the gate": tone(-75, 2), "nothing": nil} {
			if got, ok := Loudness(stereo(x), rate); ok {
				t.Errorf("%d Hz, %s: got %.2f, want none", rate, name, got)
			}
		}
	}
	if _, ok := Loudness(nil, 48000); ok {
		t.Error("no channels have a loudness")
	}
}

func TestPeakDB(t *testing.T) {
	if got, ok := PeakDB([]float32{0, 0.1}, []float32{-0.5}); !ok || math.Abs(got+6.0206) > 1e-3 {
		t.Errorf("got %v %v, want -6.02", got, ok)
	}
	if _, ok := PeakDB([]float32{0, 0}, nil); ok {
		t.Error("silence has a peak")
	}
}

func TestSeam(t *testing.T) {
	tail := [][]float32{{9, 9, 1, 1, 1, 1}}
	head := [][]float32{{0, 0, 0, 0, 5}}
	Seam(tail, head, 4)
	if head[0][4] != 5 || !slices.Equal(tail[0], []float32{9, 9, 1, 1, 1, 1}) {
		t.Errorf("touched what it must not: %v %v", tail, head)
	}
	for i, v := range head[0][:4] {
		if want := math.Cos(math.Pi / 8 * (float64(i) + 0.5)); math.Abs(float64(v)-want) > 1e-6 {
			t.Errorf("frame %d: got %v, want %v", i, v, want)
		}
	}
	// Two uncorrelated noises keep their power through the fade, and the mirror starts where the tail ends.
	a, b := noise(50000, 1), noise(100000, 1)[50000:]
	power := func(x []float32) (sum float64) {
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		return sum / float64(len(x))
	}
	before := power(b)
	Seam([][]float32{a}, [][]float32{b}, len(b))
	if after := power(b); math.Abs(after/before-1) > 0.03 || math.Abs(float64(b[0]-a[len(a)-1])) > 1e-3 {
		t.Errorf("power %.3f before, %.3f after; first %v, want %v", before, after, b[0], a[len(a)-1])
	}
	for _, shape := range [][3]int{{0, 5, 3}, {5, 0, 3}, {1, 1, 1000}, {2, 5, 3}, {5, 2, 3}, {5, 5, 0}} {
		Seam([][]float32{make([]float32, shape[0])}, [][]float32{make([]float32, shape[1])}, shape[2])
	}
	Seam(nil, [][]float32{{1}}, 1)
	Seam([][]float32{{1}}, [][]float32{{0}, {0}}, 1)
}

func TestMatchGain(t *testing.T) {
	const rate = 32000
	tone := func(amplitude float64) [][]float32 { return [][]float32{sine(500, amplitude, rate, rate)} }
	heard := func(prompt [][]float32) *Meter {
		m := NewMeter(rate, 1)
		m.Add(prompt)
		return m
	}
	for _, c := range []struct{ prompt, made, want float64 }{
		{0.2, 0.15, 0.2 / 0.15},
		{0.2, 0.3, 0.2 / 0.3},
		{0.5, 0.01, math.Pow(10, 6./20)},
		{0.01, 0.5, math.Pow(10, -6./20)},
		{1, 0.9, math.Pow(10, -0.3/20) / 0.9}, // the ceiling
		{0, 0.5, 1},
		{0.5, 0, 1},
	} {
		if got := MatchGain(heard(tone(c.prompt)), tone(c.made), rate); math.Abs(got/c.want-1) > 1e-3 {
			t.Errorf("%v to %v: got %.4f, want %.4f", c.made, c.prompt, got, c.want)
		}
	}
	short := [][]float32{make([]float32, 100)}
	if got := MatchGain(heard(short), tone(0.5), rate); got != 1 {
		t.Errorf("short prompt: got %v, want 1", got)
	}
	// The ceiling holds where there is no loudness to match too: nothing else would keep the file from clipping.
	for name, prompt := range map[string][][]float32{"no prompt": nil, "short prompt": short, "silent prompt": tone(0)} {
		if got := MatchGain(heard(prompt), tone(2), rate) * 2; math.Abs(got-math.Pow(10, -0.3/20)) > 1e-3 {
			t.Errorf("%s: got a peak of %v, want the ceiling", name, got)
		}
	}
}

// clicks are decaying bursts of noise at a tempo; every loud-th one is louder.
func clicks(bpm float64, rate, seconds, loud int) []float32 {
	x := noise(seconds*rate, 0.001)
	random := rand.New(rand.NewPCG(5, 6))
	for beat := 0; ; beat++ {
		at := int(float64(beat) * 60 / bpm * float64(rate))
		if at >= len(x) {
			return x
		}
		level := 0.4
		if beat%loud == 0 {
			level = 0.8
		}
		for i := range min(rate/20, len(x)-at) {
			x[at+i] += float32(level * math.Exp(-float64(i)/float64(rate)*100) * random.NormFloat64())
		}
	}
}

func TestTempo(t *testing.T) {
	for _, rate := range []int{8000, 44100} {
		for _, bpm := range []float64{75.5, 90, 120, 128, 140, 174} {
			for _, loud := range []int{1, 4} {
				got, ok := Tempo(clicks(bpm, rate, 12, loud), rate)
				if !ok || math.Abs(got-bpm) > 0.5 {
					t.Errorf("%d Hz, %v bpm, accent every %d: got %.2f %v", rate, bpm, loud, got, ok)
				}
			}
		}
		for name, x := range map[string][]float32{
			"noise": noise(12*rate, 0.5), "tone": sine(220, 0.5, rate, 12*rate), "silence": make([]float32, 12*rate),
			"one second": clicks(120, rate, 1, 1), "nothing": nil, "one click": clicks(5, rate, 11, 1),
		} {
			if got, ok := Tempo(x, rate); ok {
				t.Errorf("%d Hz, %s: got %.2f, want none", rate, name, got)
			}
		}
	}
}

func TestLimit(t *testing.T) {
	tail := [][]float32{{0.5, -1.5, 1.25}}
	head := [][]float32{{2, -2, 2, -2, 0.5}, {3, -3, 1, 0, -1}}
	Limit(tail, head)
	if want := [][]float32{{1.25, -1.5, 1, -1, 0.5}, {1, -1, 1, 0, -1}}; !slices.EqualFunc(head, want, slices.Equal) {
		t.Errorf("got %v, want %v", head, want)
	}
	Limit(nil, head)
	if want := []float32{1, -1, 1, -1, 0.5}; !slices.Equal(head[0], want) {
		t.Errorf("without a tail: got %v, want %v", head[0], want)
	}
}

// A Meter tells of pieces, of whatever lengths, exactly what is told of the whole.
func TestMeter(t *testing.T) {
	const rate, channels = 8000, 6
	planar := Deinterleave(noise(channels*20001, 0.9), channels)
	meter := NewMeter(rate, channels)
	for at, n := 0, 1; at < 20001; n = n*3%1601 + 1 {
		end := min(at+n, 20001)
		piece := make([][]float32, channels)
		for c := range piece {
			piece[c] = planar[c][at:end]
		}
		meter.Add(piece)
		at = end
	}
	peak, _ := meter.PeakDB()
	loudness, _ := meter.Loudness()
	wantPeak, _ := PeakDB(planar...)
	wantLoudness, _ := Loudness(planar, rate)
	if peak != wantPeak || loudness != wantLoudness {
		t.Errorf("got %v dBFS and %v LUFS, want %v and %v", peak, loudness, wantPeak, wantLoudness)
	}
}

// Silence after sound costs no more than any other: what the filters remember fades to nothing, not to denormals.
func TestMeterSettles(t *testing.T) {
	const rate = 48000
	meter := NewMeter(rate, 1)
	meter.Add([][]float32{noise(rate, 0.5)})
	meter.Add([][]float32{make([]float32, 20*rate)})
	c := meter.channels[0]
	if got := [4]float64{c.shelf.s1, c.shelf.s2, c.highpass.s1, c.highpass.s2}; got != [4]float64{} {
		t.Errorf("20 s after the sound the filters hold %g, want zeros", got)
	}
}
