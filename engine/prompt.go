package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"segue/engine/audio"
	"segue/engine/lm"
)

// condition is a text that the model has read, or a melody that it has heard; the cache owns it.
type condition struct{ *lm.Condition }

func (c *condition) bytes() int64 { return c.Bytes() }

// prompt is what the model has heard and read before the first new code: everything a retry with another seed shares with
// the first try. The cache owns it.
type prompt struct {
	prefix    *lm.Prefix
	codes     []int32     // [Q][frames]
	condition *condition  // nil without text
	audio     [][]float32 // at the model's rate; nil for generate
}

func (p *prompt) bytes() int64 {
	return p.prefix.Bytes()
}

// told is what the model is told beside the prompt.
type told struct {
	text   string
	chroma []float32 // [n, 12] of a melody; nil for none
	guided bool
}

// contentKey tells prompts, and what was told, apart by their content.
type contentKey [sha256.Size]byte

func keyOf(audio [][]float32, t told) contentKey {
	audio = append(audio[:len(audio):len(audio)], t.chroma)
	h := sha256.New()
	buffer := make([]byte, 0, 4*4096)
	add := func(word uint32) {
		if len(buffer) == cap(buffer) {
			h.Write(buffer)
			buffer = buffer[:0]
		}
		buffer = binary.LittleEndian.AppendUint32(buffer, word)
	}
	for _, channel := range audio {
		add(uint32(len(channel)))
		for _, x := range channel {
			add(math.Float32bits(x))
		}
	}
	guided := uint32(0)
	if t.guided {
		guided = 1
	}
	add(guided)
	h.Write(buffer)
	h.Write([]byte(t.text))
	return contentKey(h.Sum(nil))
}

// seePrompt lets the model hear the end of the source and read the text, or finds that it has done so before.
func (r *run) seePrompt(ctx context.Context, l length) (*prompt, error) {
	timing, model := &r.result.Timing, r.model.model
	p := &prompt{}
	if r.source != nil {
		r.progress(StageEncode, 0, 0)
		err := r.timed(&timing.EncodeMS, func() (err error) {
			p.audio, err = r.source.before(l.prompt*model.Codec.Hop(), model.Rate(), model.Channels())
			return err
		})
		if err != nil {
			return nil, err
		}
		peak, some := audio.PeakDB(p.audio...)
		r.silent = !some || peak < silenceDB
		r.result.Prompt = &Prompt{}
	}
	t, err := r.told()
	if err != nil {
		return nil, err
	}
	key := keyOf(p.audio, t)
	if found, ok := r.model.prefixes.get(key); ok {
		if r.result.Prompt != nil {
			r.result.Prompt.Cached = true
		}
		return found, nil
	}
	if err := r.see(ctx, p, l, t); err != nil {
		return nil, err
	}
	r.model.prefixes.put(key, p)
	return p, nil
}

// see encodes, reads and prefills.
func (r *run) see(ctx context.Context, p *prompt, l length, t told) error {
	timing, model, stream := &r.result.Timing, r.model.model, r.engine.stream
	if p.audio != nil {
		err := r.timed(&timing.EncodeMS, func() (err error) {
			p.codes, _, err = model.Encode(ctx, stream, p.audio)
			return err
		})
		if err != nil {
			return err
		}
	}
	err := r.timed(&timing.TextMS, func() (err error) {
		p.condition, err = r.condition(ctx, t)
		return err
	})
	if err != nil {
		return err
	}
	r.progress(StagePrefill, 0, 0)
	return r.timed(&timing.PrefillMS, func() (err error) {
		p.prefix, err = model.LM.Prefill(ctx, stream, p.told(), p.codes, l.prompt, t.guided)
		if errors.Is(err, lm.ErrNumbers) {
			return r.noNumbers("logits")
		}
		return err
	})
}

func (p *prompt) told() *lm.Condition {
	if p.condition == nil {
		return nil
	}
	return p.condition.Condition
}

// told gathers what the job tells the model.
func (r *run) told() (told, error) {
	t := told{text: r.job.Text}
	if r.melody != nil {
		model := r.model.model
		if !model.Melody() {
			return t, Errorf(BadParam, "melodyPath", "melodyPath: the model %s takes no melody; want a melody model, such as musicgen-melody", r.model.info.Name)
		}
		mono, err := r.melody.start(model.Config.Decoder.Window, model.Rate())
		if err != nil {
			return t, err
		}
		t.chroma = audio.Chroma(mono, model.Rate())
	}
	t.guided = (t.text != "" || t.chroma != nil) && r.sampling.Guidance != 1
	return t, nil
}

// condition returns what the job tells as the decoder sees it, nil for nothing.
func (r *run) condition(ctx context.Context, t told) (*condition, error) {
	t.guided = false // the same either way
	key := keyOf(nil, t)
	if found, ok := r.model.conditions.get(key); ok {
		return found, nil
	}
	c, err := r.model.model.Condition(ctx, r.engine.stream, t.text, t.chroma)
	if err != nil || c == nil {
		return nil, err
	}
	entry := &condition{c}
	r.model.conditions.put(key, entry)
	return entry, nil
}
