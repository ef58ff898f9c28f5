package verify

import (
	"fmt"
	"strconv"

	"segue/engine/lm"
	"segue/weights"
)

// condition makes the decoder's view of a text, and of a melody for the models that take one. The caller frees it.
func (c *checker) condition(ids []int32, chroma []float32) (*lm.Condition, error) {
	states, err := c.model.Text.Encode(c.ctx, c.stream, ids)
	if err != nil {
		return nil, err
	}
	defer states.Free()
	return c.model.LM.Condition(c.stream, states, chroma)
}

// logits: teacher-forced columns, as they are, with each item's text.
func (c *checker) logits() error {
	stored, err := c.golden.tensor("lm.logits", 3)
	if err != nil || stored == nil {
		return err
	}
	tokens, err := c.golden.tensor("lm.tokens", 2)
	if err != nil {
		return err
	}
	items, err := c.items()
	if err != nil {
		return err
	}
	q := c.model.Config.Decoder.Codebooks
	if tokens == nil || tokens.Shape[0] != q*len(items) || stored.Shape[0] != tokens.Shape[0] || stored.Shape[1] < tokens.Shape[1] {
		return fmt.Errorf("golden: lm.tokens: want [%d items · %d codebooks, columns], and lm.logits to match", len(items), q)
	}
	chroma, err := c.chroma()
	if err != nil {
		return err
	}
	values, err := tokens.Ints()
	if err != nil {
		return err
	}
	columns, rows, entries := tokens.Shape[1], stored.Shape[1], stored.Shape[2]
	got := make([]float32, 0, stored.Len())
	for i, ids := range items {
		text, err := c.condition(ids, chroma)
		if err != nil {
			return err
		}
		own, err := c.model.LM.TeacherForced(c.ctx, c.stream, text, values[i*q*columns:(i+1)*q*columns], columns)
		text.Free()
		if err != nil {
			return err
		}
		if len(own) != rows*q*entries {
			return fmt.Errorf("golden: lm.logits: got %d rows, want %d", rows, len(own)/q/entries)
		}
		for k := range q { // [rows][Q][V] → [Q][rows][V]
			for row := range rows {
				got = append(got, own[(row*q+k)*entries:][:entries]...)
			}
		}
	}
	if !c.rounded {
		return c.floats("lm.logits", got, stored.Floats(), logitsTolerance)
	}
	err = c.floats("lm.logits", got, stored.Floats(), roundedTolerance)
	row := &c.rows[len(c.rows)-1]
	row.Note = "the weights are the base's, rounded to float16"
	c.logitError = row.MaxAbs
	return err
}

// clearMargin is how far the two best of logits mixed with guidance must be apart for the choice between them to be clear.
func (c *checker) clearMargin(guidance float32) float64 {
	return max(clearMargin, 2*c.logitError*max(1, 2*float64(guidance)-1)) // each branch may be off by logitError
}

// roundedFrom says whether a checkpoint's decoder is exactly that of its base rounded to float16, as audiocraft's exporter
// leaves it. The golden's logits are then those of the base, and can only be met within that rounding.
func roundedFrom(c *weights.Checkpoint, base string, config lm.Config) (bool, error) {
	if base == "" || c.DType() != weights.F16 {
		return false, nil
	}
	original, err := weights.Open(base, weights.Options{})
	if err != nil {
		return false, err
	}
	defer original.Close()
	if original.DType() != weights.F32 {
		return false, nil
	}
	name := "decoder.model.decoder.layers.%d.fc1.weight"
	binder, originalBinder := c.Bind(), original.Bind()
	for i := range config.Layers {
		got := binder.Tensor(fmt.Sprintf(name, i), config.FFN, config.Width).Floats()
		want := originalBinder.Tensor(fmt.Sprintf(name, i), config.FFN, config.Width).Floats()
		if len(got) != len(want) {
			return false, nil
		}
		for j := range got {
			if got[j] != weights.F16ToF32(weights.F32ToF16(want[j])) {
				return false, nil
			}
		}
	}
	return true, nil
}

// codes reads item i's codes [Q][frames] from name, or from a left and a right tensor that are interleaved.
func (c *checker) codes(i int, names ...string) ([]int32, int, error) {
	own := c.model.Config.Decoder.Codebooks / len(names)
	var out []int32
	frames := 0
	for channel, name := range names {
		t, err := c.golden.tensor(name, 4)
		if err != nil {
			return nil, 0, err
		}
		if t == nil || t.Shape[0] != 1 || t.Shape[2] != own || i >= t.Shape[1] {
			return nil, 0, fmt.Errorf("golden: %s: want codes [1, items, %d, frames]", name, own)
		}
		values, err := t.Ints()
		if err != nil {
			return nil, 0, err
		}
		frames = t.Shape[3]
		if out == nil {
			out = make([]int32, own*len(names)*frames)
		}
		if len(out) != own*len(names)*frames {
			return nil, 0, fmt.Errorf("golden: %s: got %d frames, want as many as %s", name, frames, names[0])
		}
		for q := range own {
			copy(out[(q*len(names)+channel)*frames:][:frames], values[(i*own+q)*frames:])
		}
	}
	return out, frames, nil
}

// perChannel picks the tensor names for the model's channels.
func (c *checker) perChannel(mono string, stereo ...string) []string {
	if c.model.Channels() == 1 {
		return []string{mono}
	}
	return stereo
}

func (c *checker) promptNames() []string {
	return c.perChannel("continue.prompt_codes", "continue.prompt_codes_left", "continue.prompt_codes_right")
}

// prompts: prompt audio of every item → codes.
func (c *checker) prompts() error {
	audio, err := c.golden.tensor("continue.prompt_audio", 3)
	if err != nil || audio == nil {
		return err
	}
	channels, samples := audio.Shape[1], audio.Shape[2]
	var got, want []int32
	for i := range audio.Shape[0] {
		planar := make([][]float32, channels)
		for k := range planar {
			planar[k] = audio.Floats()[(i*channels+k)*samples:][:samples]
		}
		own, _, err := c.model.Encode(c.ctx, c.stream, planar)
		if err != nil {
			return err
		}
		stored, _, err := c.codes(i, c.promptNames()...)
		if err != nil {
			return err
		}
		got, want = append(got, own...), append(want, stored...)
	}
	c.integers("continue.prompt_codes", got, want, nil)
	return nil
}

// greedy: codes of generate.cfgN and continue.cfgN, and the audio of the first item; of melody models generate.cfgN with the
// golden's melody and textonly.cfgN without.
func (c *checker) greedy() error {
	for _, task := range []string{"generate", "continue", "textonly"} {
		for _, suffix := range []string{".codes0", ".codes"} {
			for _, scale := range c.golden.names(task+".cfg", suffix) {
				guidance, err := strconv.ParseFloat(scale, 32)
				if err != nil {
					return fmt.Errorf("golden: %s.cfg%s%s: want a number after cfg", task, scale, suffix)
				}
				name := task + ".cfg" + scale
				codes := []string{name + suffix}
				if suffix == ".codes0" {
					codes = c.perChannel(name+".codes0", name+".codes0", name+".codes1")
				}
				if err := c.greedyTask(greedyTask{task, name, codes, float32(guidance)}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// greedyTask is one set of greedy codes of the golden.
type greedyTask struct {
	task, name string
	codes      []string // tensors of the codes, one, or one for each channel
	guidance   float32
}

// greedyTask decodes every item freely and, so that one near-tie does not hide what comes after it, also along the stored
// codes.
func (c *checker) greedyTask(g greedyTask) error {
	name := g.name
	items, err := c.items()
	if err != nil {
		return err
	}
	var free, forced, want []int32
	var excused []bool // of the free run: at or after a near-tie
	var ties []bool    // of the forced run
	for i, ids := range items {
		e, err := c.greedyItem(g, i, ids)
		if err != nil {
			return err
		}
		free, forced, want = append(free, e.free...), append(forced, e.forced...), append(want, e.want...)
		excused, ties = append(excused, e.excused()...), append(ties, e.tie...)
		if i == 0 {
			if err := c.decodedAudio(name+".audio", e.all, e.frames); err != nil {
				return err
			}
		}
	}
	c.integers(name+".codes", free, want, func(i int) bool { return excused[i] })
	c.integers(name+".codes forced", forced, want, func(i int) bool { return ties[i] })
	return nil
}

// greedyExample is one item's new codes [Q][made]: decoded freely, chosen along the stored ones, and stored.
type greedyExample struct {
	free, forced, want []int32
	tie                []bool // per stored code: the reference's choice was not clear
	all                []int32
	frames, made       int
	delays             []int
}

func (c *checker) greedyItem(g greedyTask, i int, ids []int32) (*greedyExample, error) {
	e := &greedyExample{delays: c.model.Config.Decoder.Delays}
	var err error
	if e.all, e.frames, err = c.codes(i, g.codes...); err != nil {
		return nil, err
	}
	var prompt []int32
	promptFrames := 0
	if g.task == "continue" {
		if prompt, promptFrames, err = c.codes(i, c.promptNames()...); err != nil {
			return nil, err
		}
	}
	e.made = e.frames - promptFrames
	for q := range e.delays {
		e.want = append(e.want, e.all[q*e.frames+promptFrames:(q+1)*e.frames]...)
	}
	var chroma []float32
	if g.task == "generate" {
		if chroma, err = c.chroma(); err != nil {
			return nil, err
		}
	}
	text, err := c.condition(ids, chroma)
	if err != nil {
		return nil, err
	}
	defer text.Free()
	prefix, err := c.model.LM.Prefill(c.ctx, c.stream, text, prompt, promptFrames, g.guidance != 1)
	if err != nil {
		return nil, err
	}
	defer prefix.Free()
	how := lm.Sampling{Guidance: g.guidance, Temperature: 1, TopP: 1, Greedy: true}
	takes, err := c.model.LM.Generate(c.ctx, c.stream, prefix, []uint64{0}, e.frames, how, func(int, int) {})
	if err != nil {
		return nil, err
	}
	e.free = takes[0]
	return e, c.force(e, text, promptFrames, g.guidance)
}

// force feeds the stored codes and notes the likeliest code of every new cell, and whether it was clear.
func (c *checker) force(e *greedyExample, text *lm.Condition, promptFrames int, guidance float32) error {
	decoder := c.model.Config.Decoder
	columns := decoder.Columns(e.frames)
	logits, err := c.model.LM.Guided(c.ctx, c.stream, text, decoder.Delayed(e.all, e.frames, columns), columns, guidance)
	if err != nil {
		return err
	}
	clear := c.clearMargin(guidance)
	for q, delay := range e.delays {
		for t := promptFrames; t < e.frames; t++ {
			row := logits[((t+delay)*decoder.Codebooks+q)*decoder.Entries:][:decoder.Entries] // column t+delay+1 follows column t+delay
			best, margin := likeliest(row)
			e.forced = append(e.forced, int32(best))
			e.tie = append(e.tie, float64(margin) <= clear)
		}
	}
	return nil
}

// likeliest returns the index of the largest value and how far it is ahead of the next.
func likeliest(row []float32) (best int, margin float32) {
	second := float32(0)
	for i, v := range row {
		switch {
		case i == 0:
		case v > row[best]:
			best, second = i, row[best]
		case i == 1 || v > second:
			second = v
		}
	}
	return best, row[best] - second
}

// excused marks, in the free run, the columns after the first that holds a code chosen differently at a near-tie: from there
// on the model was fed something else. A difference before any near-tie is never excused.
func (e *greedyExample) excused() []bool {
	first := -1 // column of the first difference
	tied := false
	for i := range e.want {
		if e.free[i] == e.want[i] {
			continue
		}
		column := i%e.made + e.delays[i/e.made]
		if first < 0 || column < first {
			first, tied = column, e.tie[i]
		} else if column == first {
			tied = tied && e.tie[i]
		}
	}
	out := make([]bool, len(e.want))
	for i := range out {
		column := i%e.made + e.delays[i/e.made]
		out[i] = tied && (column > first || column == first && e.tie[i])
	}
	return out
}

// decodedAudio: stored codes of the first item → audio.
func (c *checker) decodedAudio(name string, codes []int32, frames int) error {
	stored, err := c.golden.tensor(name, 3)
	if err != nil || stored == nil {
		return err
	}
	planar, err := c.model.Decode(c.ctx, c.stream, codes, frames, 0, func(float64) {})
	if err != nil {
		return err
	}
	var got []float32
	for _, channel := range planar {
		got = append(got, channel...)
	}
	if len(got) != stored.Len() {
		return fmt.Errorf("golden: %s: got shape %v, want 1 item of %d channels and %d samples", name, stored.Shape, len(planar), len(planar[0]))
	}
	return c.floats(name, got, stored.Floats(), audioTolerance)
}
