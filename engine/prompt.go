package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"segue/engine/lm"
	"segue/engine/musicgen"
)

// condition is a text that the model has read; the cache owns it.
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

// promptKey tells prompts apart by their content.
type promptKey [sha256.Size]byte

func keyOf(audio [][]float32, text string, guided bool) promptKey {
	h := sha256.New()
	buffer := make([]byte, 0, 4*4096)
	for _, channel := range audio {
		for _, x := range channel {
			buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(x))
			if len(buffer) == cap(buffer) {
				h.Write(buffer)
				buffer = buffer[:0]
			}
		}
		buffer = append(buffer, 0xff) // between channels
	}
	h.Write(buffer)
	if guided {
		h.Write([]byte{1})
	}
	h.Write([]byte(text))
	return promptKey(h.Sum(nil))
}

// seePrompt lets the model hear the end of the source and read the text, or finds that it has done so before.
func (r *run) seePrompt(ctx context.Context, l length) (*prompt, error) {
	timing, model := &r.result.Timing, r.model.model
	p := &prompt{}
	if r.source != nil {
		r.progress(StageEncode, 0, 0)
		err := r.timed(&timing.EncodeMS, func() (err error) {
			p.audio, err = r.source.read(l.prompt, model.Rate(), model.Codec.Hop(), model.Channels())
			return err
		})
		if err != nil {
			return nil, err
		}
		r.result.Prompt = &Prompt{}
	}
	guided := r.job.Text != "" && r.job.Guidance != 1
	key := keyOf(p.audio, r.job.Text, guided)
	if found, ok := r.model.prefixes.get(key); ok {
		if r.result.Prompt != nil {
			r.result.Prompt.Cached = true
		}
		return found, nil
	}
	if err := r.see(ctx, p, l, guided); err != nil {
		return nil, err
	}
	r.model.prefixes.put(key, p)
	return p, nil
}

// see encodes, reads and prefills.
func (r *run) see(ctx context.Context, p *prompt, l length, guided bool) error {
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
	if r.job.Text != "" {
		err := r.timed(&timing.TextMS, func() (err error) {
			p.condition, err = r.read(ctx, r.job.Text)
			return err
		})
		if err != nil {
			return err
		}
	}
	r.progress(StagePrefill, 0, 0)
	return r.timed(&timing.PrefillMS, func() (err error) {
		p.prefix, err = model.LM.Prefill(ctx, stream, p.text(), p.codes, l.prompt, guided)
		return err
	})
}

func (p *prompt) text() *lm.Condition {
	if p.condition == nil {
		return nil
	}
	return p.condition.Condition
}

// read returns the text as the decoder sees it.
func (r *run) read(ctx context.Context, text string) (*condition, error) {
	if found, ok := r.model.texts.get(text); ok {
		return found, nil
	}
	c, err := r.model.model.Condition(ctx, r.engine.stream, text)
	if errors.Is(err, musicgen.ErrText) {
		return nil, &Error{Kind: BadParam, Field: "text", Detail: err.Error(), Err: err}
	}
	if err != nil {
		return nil, err
	}
	entry := &condition{c}
	r.model.texts.put(text, entry)
	return entry, nil
}
