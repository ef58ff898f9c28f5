package audio

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Chroma of a melody, as MusicGen's melody models were trained on: which of twelve pitch classes is strongest, eight times a
// second. The filter bank is librosa's (tuning 0, C first, octaves weighted around the fifth with a width of two).

const (
	chromaBins   = 12
	chromaWindow = 16384
	chromaHop    = 4096
)

// Chroma returns [frames, 12], each row one-hot: frames = len(mono)/4096 + 1 of audio at rate, which for the published models
// is 32 kHz. Ties go to the lower pitch class, silence to C. Shorter audio than one window is centred in zeros.
func Chroma(mono []float32, rate int) []float32 {
	if pad := chromaWindow - len(mono); pad > 0 {
		padded := make([]float32, chromaWindow)
		copy(padded[pad/2:], mono)
		mono = padded
	}
	var (
		bank     = chromaBank(rate)
		window   = hann(chromaWindow)
		fft      = fourier.NewFFT(chromaWindow)
		frames   = len(mono)/chromaHop + 1
		segment  = make([]float64, chromaWindow)
		spectrum = make([]complex128, chromaWindow/2+1)
		out      = make([]float32, frames*chromaBins)
	)
	for f := range frames {
		for i := range segment {
			segment[i] = window[i] * float64(mono[reflected(f*chromaHop+i-chromaWindow/2, len(mono))])
		}
		fft.Coefficients(spectrum, segment)
		out[f*chromaBins+strongest(bank, spectrum)] = 1
	}
	return out
}

// reflected maps an index outside [0, n) into it, mirroring without repeating the edge.
func reflected(i, n int) int {
	if i < 0 {
		i = -i
	}
	if i >= n {
		i = 2*(n-1) - i
	}
	return i
}

// hann is the periodic window of n samples.
func hann(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
	}
	return w
}

// strongest is the pitch class with the most power. The reference divides by the window's power and by the largest class,
// which changes no order.
func strongest(bank [chromaBins][]float64, spectrum []complex128) int {
	best, most := 0, 0.0
	for class, weights := range bank {
		sum := 0.0
		for j, c := range spectrum {
			sum += weights[j] * (real(c)*real(c) + imag(c)*imag(c))
		}
		if sum > most {
			best, most = class, sum
		}
	}
	return best
}

// chromaBank weighs each frequency of the spectrum for each pitch class: a Gaussian bump around the class, normalised for
// each frequency, times a Gaussian around the fifth octave.
func chromaBank(rate int) (bank [chromaBins][]float64) {
	const n = chromaWindow
	pitch := make([]float64, n) // in semitones above A0
	for j := 1; j < n; j++ {
		pitch[j] = chromaBins * math.Log2(float64(j)*float64(rate)/n/27.5)
	}
	pitch[0] = pitch[1] - 1.5*chromaBins
	for class := range bank {
		bank[class] = make([]float64, n/2+1)
	}
	for j := range n/2 + 1 {
		width := 1.0
		if j+1 < n {
			width = max(pitch[j+1]-pitch[j], 1)
		}
		var weights [chromaBins]float64
		norm := 0.0
		for class := range weights {
			distance := math.Mod(pitch[j]-float64(class)+chromaBins/2+10*chromaBins, chromaBins)
			if distance < 0 {
				distance += chromaBins
			}
			distance -= chromaBins / 2
			weights[class] = math.Exp(-0.5 * (2 * distance / width) * (2 * distance / width))
			norm += weights[class] * weights[class]
		}
		octave := (pitch[j]/chromaBins - 5) / 2
		loudness := math.Exp(-0.5*octave*octave) / math.Sqrt(norm)
		for class := range weights {
			bank[(class+chromaBins-3)%chromaBins][j] = weights[class] * loudness // from A to C
		}
	}
	return bank
}
