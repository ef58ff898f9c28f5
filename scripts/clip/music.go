package main

// The score and its instruments. A voice is a function of the seconds since the note began; a track places voices on
// a grid of sixteenth notes and pans them. Voices keep no state but phase and a seeded noise source, so the order of
// the tracks does not matter to what each of them sounds like.

import (
	"math"
	"math/rand/v2"
)

const (
	rate   = 44100
	bars   = 4
	perBar = 16                       // steps: sixteenth notes
	step   = 0.125                    // seconds: a sixteenth at 120 bpm
	length = bars * perBar * rate / 8 // frames
	level  = 0.5                      // of the mix: leaves a few dB of headroom
)

// harmony holds one chord per bar as MIDI notes: the bass first, then the voicing.
var harmony = [bars][4]int{
	{45, 60, 64, 69}, // A minor
	{41, 60, 65, 69}, // F major
	{48, 60, 64, 67}, // C major
	{43, 59, 62, 67}, // G major
}

// line is the plucked melody, one bar of sixteenths per chord; 0 is a rest.
var line = [bars][perBar]int{
	{76, 0, 0, 72, 0, 0, 69, 0, 72, 0, 76, 0, 81, 0, 0, 0},
	{77, 0, 0, 72, 0, 0, 69, 0, 72, 0, 77, 0, 81, 0, 79, 0},
	{79, 0, 0, 76, 0, 0, 72, 0, 76, 0, 79, 0, 84, 0, 0, 0},
	{79, 0, 0, 74, 0, 0, 71, 0, 74, 0, 79, 0, 83, 0, 81, 79},
}

// voice is one note: its sample at t seconds after the start.
type voice func(t float64) float64

// mixer is the stereo sum, interleaved.
type mixer []float64

// play adds seconds of v from the given step on; pan runs from -1 (left) to 1 (right) at constant power. A note that
// reaches the end goes on at the beginning, as it will when the clip loops.
func (m mixer) play(v voice, at int, seconds, gain, pan float64) {
	start := int(float64(at) * step * rate)
	angle := (pan + 1) * math.Pi / 4
	left, right := gain*math.Cos(angle), gain*math.Sin(angle)
	for i := range int(seconds * rate) {
		x := v(float64(i) / rate)
		frame := (start + i) % length
		m[2*frame] += left * x
		m[2*frame+1] += right * x
	}
}

// render returns the clip, interleaved, full scale 1.
func render() []float64 {
	m := make(mixer, 2*length)
	m.drums()
	for bar := range bars {
		m.bass(bar)
		m.chords(bar)
		m.pluck(bar)
	}
	for i := range m {
		m[i] = math.Tanh(level * m[i])
	}
	return m
}

// drums: four on the floor, snare on two and four, hats between, an open hat and a fill at the end.
func (m mixer) drums() {
	noise := rand.New(rand.NewPCG(120, 4))
	for at := range bars * perBar {
		beat := at % perBar
		if beat%4 == 0 {
			m.play(kick, at, 0.3, 0.9, 0)
		}
		if beat == 4 || beat == 12 || at >= bars*perBar-2 {
			m.play(snare(noise), at, 0.22, 0.45, 0.05)
		}
		decay := 60.0
		if beat%4 == 2 {
			decay = 18
		}
		m.play(hat(noise, decay), at, 0.12, 0.16, 0.3)
	}
}

// bass: the chord's root on the off-beats' eighths, an octave up before each beat.
func (m mixer) bass(bar int) {
	for eighth := range perBar / 2 {
		note := harmony[bar][0] - 12
		if eighth%2 == 1 {
			note += 12
		}
		m.play(bassNote(hertz(note)), bar*perBar+2*eighth, 0.24, 0.5, 0)
	}
}

// chords: three detuned voices, spread, held for the bar and breathing with the kick.
func (m mixer) chords(bar int) {
	for i, note := range harmony[bar][1:] {
		m.play(pad(hertz(note)), bar*perBar, perBar*step+0.1, 0.14, float64(i-1)*0.7)
	}
}

// pluck: the melody with one echo on the other side.
func (m mixer) pluck(bar int) {
	for i, note := range line[bar] {
		if note == 0 {
			continue
		}
		v, at := plucked(hertz(note)), bar*perBar+i
		m.play(v, at, 0.5, 0.22, -0.35)
		m.play(v, at+3, 0.5, 0.08, 0.6)
	}
}

func hertz(midi int) float64 { return 440 * math.Pow(2, float64(midi-69)/12) }

// kick is a sine that falls from 150 to 45 Hz; its phase is the integral of 45 + 105·exp(-30t).
func kick(t float64) float64 {
	phase := 45*t + 105/30.0*(1-math.Exp(-30*t))
	return math.Sin(2*math.Pi*phase) * math.Exp(-9*t)
}

// snare is noise over a short 185 Hz tone.
func snare(noise *rand.Rand) voice {
	return func(t float64) float64 {
		tone := math.Sin(2*math.Pi*185*t) * math.Exp(-28*t)
		return 0.6*tone + (2*noise.Float64()-1)*math.Exp(-20*t)
	}
}

// hat is noise, differentiated once: its power lies high.
func hat(noise *rand.Rand, decay float64) voice {
	last := 0.0
	return func(t float64) float64 {
		x := 2*noise.Float64() - 1
		y := x - last
		last = x
		return y * math.Exp(-decay*t)
	}
}

// bassNote has five harmonics whose upper ones die first.
func bassNote(f float64) voice {
	return func(t float64) float64 {
		sum := 0.0
		for k := 1.0; k <= 5; k++ {
			sum += math.Sin(2*math.Pi*f*k*t) / k * math.Exp(-4*k*t)
		}
		return sum * ramp(t, 0.24)
	}
}

// pad is a pair of soft saws 0.4 % apart; it ducks on every beat.
func pad(f float64) voice {
	return func(t float64) float64 {
		sum := 0.0
		for k := 1.0; k <= 6; k++ {
			sum += (math.Sin(2*math.Pi*f*0.998*k*t) + math.Sin(2*math.Pi*f*1.002*k*t)) / (k * k)
		}
		duck := 1 - 0.6*math.Exp(-8*math.Mod(t, 4*step))
		return sum * duck * ramp(t, perBar*step+0.1)
	}
}

// plucked is a tone with its third and fifth harmonics, struck and left to ring.
func plucked(f float64) voice {
	return func(t float64) float64 {
		w := 2 * math.Pi * f * t
		return (math.Sin(w) + 0.4*math.Sin(3*w)*math.Exp(-12*t) + 0.2*math.Sin(5*w)*math.Exp(-20*t)) *
			math.Exp(-7*t) * ramp(t, 0.5)
	}
}

// ramp opens in 3 ms and closes over the last 20 ms of a note of the given length, so that nothing clicks.
func ramp(t, seconds float64) float64 {
	return min(1, t/0.003, max(0, (seconds-t)/0.02))
}
