package bench

// How different two takes sound, roughly: the mean difference of their mel spectra in decibels.
//
//	samples ─ Hann, FFT ─► power ─ triangles on the mel scale ─► bands ─► dB, above a floor ─► mean |difference|

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
	"gonum.org/v1/gonum/dsp/window"
)

const (
	melBands = 64
	melSize  = 1024 // samples of a frame; half of it is the hop
	melFloor = -80  // dB of full scale; what is below is silence
)

// melDistance compares planar audio of one length and rate, channel by channel, frame by frame.
func melDistance(a, b [][]float32, rate int) float64 {
	sum, n := 0.0, 0
	for channel := range a {
		x, y := logMel(a[channel], rate), logMel(b[channel], rate)
		for i := range min(len(x), len(y)) {
			for band := range melBands {
				sum += math.Abs(x[i][band] - y[i][band])
				n++
			}
		}
	}
	return sum / float64(max(n, 1))
}

// logMel returns the bands of each frame in dB. Audio shorter than a frame is padded.
func logMel(samples []float32, rate int) (frames [][melBands]float64) {
	fft := fourier.NewFFT(melSize)
	hann := make([]float64, melSize)
	for i := range hann {
		hann[i] = 1
	}
	hann = window.Hann(hann)
	filters := melFilters(rate)
	frame, bins := make([]float64, melSize), make([]complex128, melSize/2+1)
	for at := 0; at == 0 || at+melSize <= len(samples); at += melSize / 2 {
		clear(frame)
		for i := range min(melSize, len(samples)-at) {
			frame[i] = float64(samples[at+i]) * hann[i]
		}
		bins = fft.Coefficients(bins, frame)
		var mel [melBands]float64
		for band, filter := range filters {
			power := 0.0
			for i, weight := range filter.weights {
				bin := bins[filter.first+i] / (melSize / 4) // a full-scale sine has power 1
				power += weight * (real(bin)*real(bin) + imag(bin)*imag(bin))
			}
			mel[band] = max(10*math.Log10(power+1e-12), melFloor)
		}
		frames = append(frames, mel)
	}
	return frames
}

// melFilter weighs bins from first on.
type melFilter struct {
	first   int
	weights []float64
}

// melFilters are triangles whose corners are evenly spaced on the mel scale, 2595·log10(1+f/700), up to half the rate. A triangle
// narrower than a bin keeps the bin nearest to its middle.
func melFilters(rate int) []melFilter {
	top := 2595 * math.Log10(1+float64(rate)/2/700)
	corner := func(i int) float64 { // in bins
		mel := top * float64(i) / (melBands + 1)
		return 700 * (math.Pow(10, mel/2595) - 1) * melSize / float64(rate)
	}
	filters := make([]melFilter, melBands)
	for band := range filters {
		low, middle, high := corner(band), corner(band+1), corner(band+2)
		f := &filters[band]
		f.first = int(math.Ceil(low))
		for bin := f.first; float64(bin) < high && bin <= melSize/2; bin++ {
			x := float64(bin)
			f.weights = append(f.weights, min((x-low)/(middle-low), (high-x)/(high-middle)))
		}
		if len(f.weights) == 0 {
			f.first, f.weights = int(math.Round(middle)), []float64{1}
		}
	}
	return filters
}
