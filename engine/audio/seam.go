package audio

// Where new audio meets the original: no click, no jump in level.

import "math"

// Seam fades head in over its first fade frames against the end of tail played backwards, at equal power:
//
//	head[i] = head[i]·sin θ + tail[n-1-i]·cos θ,  θ from 0 to π/2
//
// The mirror continues the original without a jump and without its file being touched: tail, which ends at the seam,
// is only read. The fade is as long as both allow. Channels are matched by index.
func Seam(tail, head [][]float32, fade int) {
	for c := range min(len(tail), len(head)) {
		n := min(fade, len(tail[c]), len(head[c]))
		last := len(tail[c]) - 1
		for i := range n {
			sin, cos := math.Sincos(math.Pi / 2 * (float64(i) + 0.5) / float64(n))
			head[c][i] = head[c][i]*float32(sin) + tail[c][last-i]*float32(cos)
		}
	}
}

// Limit keeps head within full scale, or where the mirrored tail of Seam is louder, within that: what fades out of an
// original beyond full scale is the original's.
func Limit(tail, head [][]float32) {
	for c, samples := range head {
		for i, v := range samples {
			full := float32(1)
			if c < len(tail) && i < len(tail[c]) {
				mirrored := tail[c][len(tail[c])-1-i]
				full = max(full, mirrored, -mirrored)
			}
			samples[i] = min(max(v, -full), full)
		}
	}
}

const (
	maxGainDB = 6
	ceilingDB = -0.3
)

// MatchGain is the factor that brings made to the loudness that prompt has measured: at most ±6 dB, none where either has no
// loudness, and never so much that made's peak passes -0.3 dBFS.
func MatchGain(prompt *Meter, made [][]float32, rate int) float64 {
	gain := 1.0
	want, ok := prompt.Loudness()
	if got, ok2 := Loudness(made, rate); ok && ok2 {
		gain = decibels(min(max(want-got, -maxGainDB), maxGainDB))
	}
	return min(gain, decibels(ceilingDB)/peak(made))
}

func decibels(db float64) float64 { return math.Pow(10, db/20) }
