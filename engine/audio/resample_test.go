package audio

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func db(ratio float64) float64 { return 20 * math.Log10(ratio) }

// middle is the part of x that no edge reaches.
func middle(x []float32) []float32 { return x[len(x)/4 : len(x)*3/4] }

func highest(x []float32) float64 { return peak([][]float32{x}) }

// TestResampleQuality measures tones: those above the lower Nyquist must vanish, those in the passband must come out
// as the very sine at the new rate, which covers gain, phase, images and position at once.
func TestResampleQuality(t *testing.T) {
	for _, c := range [][2]int{{44100, 32000}, {48000, 32000}, {32000, 44100}, {32000, 48000}, {96000, 32000}, {8000, 32000},
		{384000, 32000}, {32000, 384000}, {44101, 32000}, {32000, 44101}, {47999, 48000},
		{383936, 8192}} { // blended, although it has as many phases as there are rows to blend
		from, to := c[0], c[1]
		t.Run(fmt.Sprintf("%d to %d", from, to), func(t *testing.T) {
			t.Parallel()
			n := max(from, 2*1500*max(1, from/to)) / 4
			nyquist := float64(min(from, to)) / 2
			for _, share := range []float64{0.01, 0.3, 0.8, 0.95} {
				got := Resample(sine(share*nyquist, 1, from, n), from, to)
				for i, v := range sine(share*nyquist, 1, to, len(got)) {
					got[i] -= v
				}
				if level := db(highest(middle(got))); level > -125 { // float32 in and out
					t.Errorf("%.2f Nyquist: error %.1f dB, want below -125", share, level)
				}
			}
			for _, share := range []float64{1, 1.01, 1.03, 1.2, 1.7} {
				if share*nyquist > float64(from)/2 || share == 1 && from < to {
					continue
				}
				x := sine(share*nyquist+1, 1, from, n)
				if level := db(highest(middle(Resample(x, from, to)))); level > -130 {
					t.Errorf("%.2f Nyquist: alias %.1f dB, want below -130", share, level)
				}
			}
		})
	}
}

func TestResampleLengths(t *testing.T) {
	for _, c := range [][2]int{{44100, 32000}, {32000, 44100}, {44101, 32000}, {8000, 384000}, {384000, 8000}, {32000, 32000}, {11025, 48000}} {
		for _, n := range []int{0, 1, 2, 3, 7, 441, 1000, 1001} {
			want := (n*c[1] + c[0] - 1) / c[0]
			got := Resample(slices.Repeat([]float32{0.75}, n), c[0], c[1])
			if len(got) != want {
				t.Errorf("%v × %d: got %d samples, want %d", c, n, len(got), want)
			}
			for i, v := range got { // a constant stays, edges included
				if math.Abs(float64(v)-0.75) > 1e-6 {
					t.Errorf("%v × %d: sample %d is %v", c, n, i, v)
					break
				}
			}
		}
	}
}

func TestResampleSame(t *testing.T) {
	x := noise(100, 1)
	y := Resample(x, 48000, 48000)
	if !slices.Equal(x, y) || &x[0] == &y[0] {
		t.Error("equal rates must give a copy")
	}
}

func BenchmarkResample(b *testing.B) {
	for _, c := range [][2]int{{44100, 32000}, {48000, 32000}, {32000, 44100}, {32000, 48000}, {96000, 32000}, {44101, 32000}} {
		b.Run(fmt.Sprintf("%d-%d", c[0], c[1]), func(b *testing.B) {
			x := noise(10*c[0], 0.5)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				Resample(x, c[0], c[1])
			}
		})
	}
}

// TestResampler: pieces of any size give what the whole gives, bit for bit.
func TestResampler(t *testing.T) {
	for _, rates := range [][2]int{{48000, 44100}, {44100, 48000}, {8000, 44100}, {96000, 8000}, {11025, 8001}} {
		from, to := rates[0], rates[1]
		for _, frames := range []int{1, from / 3, from * 2, from*5 + 7} {
			x := make([]float32, 2*frames)
			for i := range x {
				x[i] = float32(triangular(uint64(i)))
			}
			got := make([][]float32, 2)
			next := func(planar [][]float32) error {
				for c := range got {
					got[c] = append(got[c], planar[c]...)
				}
				return nil
			}
			r := NewResampler(from, to, 2)
			for rest := x; len(rest) > 0; {
				n := min(len(rest), 2*12345)
				if err := r.Write(rest[:n], next); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := r.Flush(next); err != nil {
				t.Fatal(err)
			}
			for c, channel := range Deinterleave(x, 2) {
				if !slices.Equal(got[c], Resample(channel, from, to)) {
					t.Errorf("%d to %d, %d frames, channel %d: pieces differ from the whole", from, to, frames, c)
				}
			}
		}
	}
}
