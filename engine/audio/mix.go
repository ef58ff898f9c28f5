package audio

// Channels: interleaved to planar and back, and from one count to another.

// Deinterleave splits frames into one slice per channel; samples beyond the last whole frame are dropped.
func Deinterleave(x []float32, channels int) [][]float32 {
	frames := len(x) / channels
	all := make([]float32, channels*frames)
	planar := make([][]float32, channels)
	for c := range planar {
		planar[c] = all[c*frames : (c+1)*frames : (c+1)*frames]
		for i := range planar[c] {
			planar[c][i] = x[i*channels+c]
		}
	}
	return planar
}

// Interleave joins channels of equal length into frames.
func Interleave(planar [][]float32) []float32 {
	if len(planar) == 0 {
		return nil
	}
	channels := len(planar)
	x := make([]float32, channels*len(planar[0]))
	for c, samples := range planar {
		for i, v := range samples {
			x[i*channels+c] = v
		}
	}
	return x
}

// Mix changes the number of channels as audiocraft does: to one by the mean, else channel c is input c, and inputs
// begin anew where they run out (mono to all, left and right alternating). The inputs are not modified, but the
// result shares those that it keeps.
func Mix(planar [][]float32, channels int) [][]float32 {
	switch {
	case len(planar) == channels || len(planar) == 0:
		return planar
	case channels == 1:
		return [][]float32{mean(planar)}
	}
	out := make([][]float32, channels)
	for c := range out {
		out[c] = planar[c%len(planar)]
		if c >= len(planar) { // a copy, so that no two channels share memory
			out[c] = append([]float32(nil), out[c]...)
		}
	}
	return out
}

func mean(planar [][]float32) []float32 {
	out := make([]float32, len(planar[0]))
	scale := 1 / float32(len(planar))
	for _, samples := range planar {
		for i, v := range samples {
			out[i] += v * scale
		}
	}
	return out
}
