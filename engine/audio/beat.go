package audio

// Tempo: onsets show as rises in the spectrum, and a beat as an onset envelope that resembles itself one beat later.
//
//	samples ─ FFT every 10 ms ─► log magnitudes ─ rises summed ─► envelope ─ autocorrelation ─► lag of a beat

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/dsp/window"
)

const (
	slowest, fastest = 60.0, 200.0 // beats per minute
	// preferred decides between a tempo and its double where both fit: 65 to 130 is heard rather than its octaves.
	preferred = 130.0
	// clearness is the least autocorrelation, of at most 1, that counts as a beat. Noise stays below 0.2.
	clearness = 0.3
	minBeats  = 4 // in the audio, at the lag in question
)

// Tempo estimates beats per minute, 60 to 200; not ok without a clear beat.
func Tempo(mono []float32, rate int) (bpm float64, ok bool) {
	hop := rate / 100
	envelope := onsetEnvelope(mono, rate, hop)
	perMinute := 60 * float64(rate) / float64(hop) // envelope frames
	r := autocorrelation(envelope, int(math.Ceil(8*perMinute/slowest))+2)
	lag := beatLag(r, len(envelope), perMinute)
	if lag == 0 || r[lag] < clearness {
		return 0, false
	}
	return perMinute / refine(r, lag), true
}

// onsetEnvelope is the spectral flux per hop, smoothed and with its mean removed.
func onsetEnvelope(mono []float32, rate, hop int) []float64 {
	size := 256
	for size < rate/25 { // 40 ms or a little more
		size *= 2
	}
	if len(mono) < size {
		return nil
	}
	fft := fourier.NewFFT(size)
	weights := window.Hann(ones(size))
	frame := make([]float64, size)
	bins := make([]complex128, size/2+1)
	before, now := make([]float64, len(bins)), make([]float64, len(bins))
	flux := make([]float64, 0, (len(mono)-size)/hop+1)
	for at := 0; at+size <= len(mono); at += hop {
		for i := range frame {
			frame[i] = float64(mono[at+i]) * weights[i]
		}
		rise := 0.0
		for i, bin := range fft.Coefficients(bins, frame) {
			now[i] = math.Log1p(100 * math.Hypot(real(bin), imag(bin)) / float64(size))
			rise += max(0, now[i]-before[i])
		}
		if at > 0 { // the first frame has nothing to rise from
			flux = append(flux, rise)
		}
		before, now = now, before
	}
	return center(smooth(flux))
}

func ones(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// smooth spreads each onset over five hops, so that beats between two hops still meet.
func smooth(x []float64) []float64 {
	weights := [5]float64{1. / 16, 4. / 16, 6. / 16, 4. / 16, 1. / 16}
	out := make([]float64, len(x))
	for i := range x {
		for j, w := range weights {
			if k := i + j - 2; k >= 0 && k < len(x) {
				out[i] += w * x[k]
			}
		}
	}
	return out
}

func center(x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	for i := range x {
		x[i] -= sum / float64(len(x))
	}
	return x
}

// autocorrelation returns lags 0 … maxLag, or half of x if that is less, as shares of lag 0, each normalised by the
// number of its terms.
func autocorrelation(x []float64, maxLag int) []float64 {
	if len(x) == 0 {
		return nil
	}
	r := make([]float64, min(maxLag, len(x)/2)+1)
	for lag := range r {
		for i, v := range x[lag:] {
			r[lag] += v * x[i]
		}
		r[lag] /= float64(len(x) - lag)
	}
	// A steady tone has rounding noise for an envelope; that must not be scaled up to a beat.
	const quiet = 1e-4
	if r[0] < quiet {
		return nil
	}
	for lag := len(r) - 1; lag >= 0; lag-- {
		r[lag] /= r[0]
	}
	return r
}

// beatLag picks the peak of r that is most beat-like, 0 if there is none.
func beatLag(r []float64, length int, perMinute float64) int {
	best, bestScore := 0, 0.0
	longest := min(int(math.Ceil(perMinute/slowest)), len(r)-2, length/minBeats)
	for lag := int(perMinute / fastest); lag <= longest; lag++ {
		if r[lag] < r[lag-1] || r[lag] < r[lag+1] {
			continue
		}
		octaves := math.Log2(perMinute / float64(lag) / preferred)
		if score := r[lag] * math.Exp(-octaves*octaves/2); score > bestScore {
			best, bestScore = lag, score
		}
	}
	return best
}

// refine follows a peak to its multiples, where the same error of a hop is a smaller share, and interpolates there.
func refine(r []float64, lag int) float64 {
	period := parabola(r, lag)
	for _, beats := range []float64{2, 4, 8} {
		at := int(math.Round(beats * period))
		if at+2 >= len(r) {
			break
		}
		for _, near := range []int{at - 1, at + 1} {
			if r[near] > r[at] {
				at = near
			}
		}
		if r[at] < r[lag]/2 || r[at] < r[at-1] || r[at] < r[at+1] {
			break
		}
		period = parabola(r, at) / beats
	}
	return period
}

// parabola returns the place of the top of the parabola through three points.
func parabola(r []float64, at int) float64 {
	curve := r[at-1] - 2*r[at] + r[at+1]
	if curve >= 0 {
		return float64(at)
	}
	return float64(at) + (r[at-1]-r[at+1])/2/curve
}
