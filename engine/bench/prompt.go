package bench

import (
	"context"
	"math"
	"math/rand/v2"

	"segue/engine/audio"
	"segue/engine/lm"
	"segue/engine/musicgen"
)

// prompt is what a model continues: audio at its rate, whole frames of it.
type prompt struct {
	audio  [][]float32 // [channels][frames·hop]
	frames int
}

// readPrompt takes the end of the clip, or music that is made up.
func (b *bench) readPrompt(m *musicgen.Model) (*prompt, error) {
	frames := max(1, int(math.Round(b.PromptSeconds*m.FrameRate())))
	if b.Clip == "" {
		one := chords(frames*m.Codec.Hop(), m.Rate())
		return &prompt{audio.Mix([][]float32{one}, m.Channels()), frames}, nil
	}
	planar, rate, err := readEnd(b.Clip, b.PromptSeconds, m.Channels())
	if err != nil {
		return nil, err
	}
	for i := range planar {
		planar[i] = audio.Resample(planar[i], rate, m.Rate())
	}
	if frames = min(frames, len(planar[0])/m.Codec.Hop()); frames == 0 { // shorter than a frame: the codec pads it
		return &prompt{planar, 1}, nil
	}
	for i := range planar {
		planar[i] = planar[i][len(planar[i])-frames*m.Codec.Hop():]
	}
	return &prompt{planar, frames}, nil
}

// readEnd reads the last seconds of a file, in so many channels.
func readEnd(path string, seconds float64, channels int) (planar [][]float32, rate int, err error) {
	reader, err := audio.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer reader.Close()
	info := reader.Info()
	n := min(info.Frames, int64(math.Ceil(seconds*float64(info.Rate))))
	planar, err = reader.ReadMixed(info.Frames-n, n, channels)
	return planar, info.Rate, err
}

// chords is a minor and a major triad in turn, half a second each, plucked, over a bass: music enough to be continued.
func chords(n, rate int) []float32 {
	triads := [2][4]float64{{110, 220, 261.63, 329.63}, {98, 196, 246.94, 293.66}}
	samples := make([]float32, n)
	for i := range samples {
		t := float64(i) / float64(rate)
		beat := math.Floor(2 * t)
		level := 0.15 * math.Exp(-4*(t-beat/2))
		for _, pitch := range triads[int(beat)%2] {
			samples[i] += float32(level * math.Sin(2*math.Pi*pitch*t))
		}
	}
	return samples
}

// randomCodes are codes [Q][frames] that fill a context where only its length matters.
func randomCodes(c *lm.Config, frames int) []int32 {
	generator := rand.New(rand.NewPCG(1, uint64(frames)))
	codes := make([]int32, c.Codebooks*frames)
	for i := range codes {
		codes[i] = generator.Int32N(int32(c.Entries))
	}
	return codes
}

// condition reads the text. A model without a tokenizer reads as many tokens as a sentence has.
func (s *session) condition(ctx context.Context) (*lm.Condition, error) {
	if s.model.Tokenizer != nil {
		return s.model.Condition(ctx, s.stream, s.Text, nil)
	}
	ids := make([]int32, 16)
	for i := range ids {
		ids[i] = int32(i + 1)
	}
	states, err := s.model.Text.Encode(ctx, s.stream, ids)
	if err != nil {
		return nil, err
	}
	defer states.Free()
	return s.model.LM.Condition(s.stream, states, nil)
}
