package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// What a listener is not expected to hear.
const (
	// maxKL is in nats per code, of the worst codebook. A code carries four to six nats, so that this is a hundredth of what is
	// drawn anyway.
	maxKL = 0.05
	// maxMelRatio is how many times farther from the reference's take a variant's may be than the reference's own take with
	// the next seed. Takes part company at the first code drawn differently; then they are as far apart as two seeds.
	maxMelRatio = 1.25
	// sameSpeed is the share of time within which two variants count as equally fast.
	sameSpeed = 0.03
	// compared is how many of the other variants, the fastest of them, a recommendation speaks of.
	compared = 5
)

// Recommendation names the best variant for this machine.
type Recommendation struct {
	Setting
	Reason string `json:"reason"`
}

// recommend picks the fastest variant, by the time of a request with the first guidance and variations measured, whose loss of
// quality is inaudible; of equally fast ones, the one nearest to the reference.
func recommend(variants []Variant) Recommendation {
	if len(variants) == 0 {
		return Recommendation{}
	}
	all := slices.DeleteFunc(slices.Clone(variants), func(v Variant) bool {
		return v.Guidance != variants[0].Guidance || v.Variations != variants[0].Variations
	})
	fillQuality(all)
	slices.SortStableFunc(all, func(a, b Variant) int { return cmp.Compare(a.Request.TotalMS, b.Request.TotalMS) })
	good := slices.DeleteFunc(slices.Clone(all), func(v Variant) bool { return v.Quality != nil && !v.Quality.inaudible() })
	if len(good) == 0 {
		best := slices.MinFunc(all, func(a, b Variant) int { return cmp.Compare(a.Quality.worstKL(), b.Quality.worstKL()) })
		return Recommendation{best.Setting, fmt.Sprintf("No variant measured is within the thresholds (%s). This one comes nearest: %s.", thresholds(), best.describe())}
	}
	best := good[0]
	for _, v := range good[1:] {
		if v.Request.TotalMS <= good[0].Request.TotalMS*(1+sameSpeed) && v.Quality != nil && v.Quality.worstKL() < best.Quality.worstKL() {
			best = v
		}
	}
	return Recommendation{best.Setting, reason(best, all)}
}

// fillQuality gives variants that differ only in threads the quality measured for one of them.
func fillQuality(all []Variant) {
	for i := range all {
		for _, v := range all {
			if all[i].Quality == nil && v.Quantization == all[i].Quantization && v.KVCache == all[i].KVCache {
				all[i].Quality = v.Quality
			}
		}
	}
}

func (q *Quality) inaudible() bool {
	return q.worstKL() <= maxKL && q.MelDB <= maxMelRatio*q.SeedMelDB
}

func (q *Quality) worstKL() float64 {
	worst := 0.0
	for _, d := range q.Codebooks {
		worst = max(worst, d.KL)
	}
	return worst
}

func thresholds() string {
	return fmt.Sprintf("KL divergence of the worst codebook at most %g nats, log-mel distance at most %g times that of the next seed", maxKL, maxMelRatio)
}

// reason says what speaks for best and what against each of the others.
func reason(best Variant, all []Variant) string {
	var b strings.Builder
	if best.Quality == nil {
		fmt.Fprintf(&b, "The fastest: %s. Random weights tell nothing of quality: measure a model before choosing below 8 bits.", best.describe())
	} else {
		fmt.Fprintf(&b, "The fastest whose loss is inaudible (%s): %s.", thresholds(), best.describe())
	}
	others := slices.DeleteFunc(slices.Clone(all), func(v Variant) bool { return v.Setting == best.Setting })
	for _, v := range others[:min(len(others), compared)] {
		fmt.Fprintf(&b, " %s: ", v.name())
		ratio := v.Request.TotalMS / best.Request.TotalMS
		switch {
		case v.Quality != nil && !v.Quality.inaudible():
			fmt.Fprintf(&b, "audible, %s.", v.Quality.describe())
		case ratio > 1+sameSpeed:
			fmt.Fprintf(&b, "takes %.2f times as long.", ratio)
		default:
			b.WriteString("as fast, and no nearer.")
		}
	}
	if left := len(others) - compared; left > 0 {
		fmt.Fprintf(&b, " The other %d take longer still.", left)
	}
	return b.String()
}

func (s Setting) name() string {
	return fmt.Sprintf("%s weights, %s cache, %s", s.Quantization, s.KVCache, count(s.Threads, "thread"))
}

func (v *Variant) describe() string {
	text := fmt.Sprintf("%s, %.1f × real time", v.name(), v.Request.Realtime)
	if len(v.Steps) > 0 {
		text += fmt.Sprintf(", %.3g ms a step at %d columns", v.Steps[0].MS, v.Steps[0].Context)
	}
	if v.Quality != nil {
		text += ", " + v.Quality.describe()
	}
	return text
}

func (q *Quality) describe() string {
	return fmt.Sprintf("KL %.2g, top-1 %.1f %%, log-mel %.2g dB (next seed %.2g)", q.worstKL(), 100*q.Mean.Top1, q.MelDB, q.SeedMelDB)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
