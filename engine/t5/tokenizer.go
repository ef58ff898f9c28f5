package t5

// Text to token ids, as the T5 tokenizer does it:
//
//	text ─► added tokens cut out ─► normalise ─► words, each begun by "▁" ─► Unigram pieces ─► ids, </s>
//
// One pipeline serves two files with small differences of order: Hugging Face's tokenizer.json and SentencePiece's
// spiece.model. Ids are those of the file; it is for the encoder to check that its table has as many rows.

import (
	"iter"
	"strings"
	"unicode"
)

// space is how pieces spell the beginning of a word.
const space = "▁"

// endOfText is the piece that closes every text.
const endOfText = "</s>"

// Tokenizer turns texts into token ids. It may be used from any goroutine.
type Tokenizer struct {
	literals   literals
	normalize  []func(string) string
	splitWords bool // at white space, which is dropped, before metaspace
	metaspace  metaspace
	model      *unigram
	eos        int32
}

// Encode returns the ids of text, the last one being that of </s>. Time and memory are linear in the text; callers bound
// its length.
func (t *Tokenizer) Encode(text string) []int32 {
	var ids []int32
	rest := strings.ToValidUTF8(text, "\uFFFD")
	for first := true; ; first = false {
		section, id, after, found := t.literals.cut(rest)
		ids = t.section(ids, section, first)
		if !found {
			return append(ids, t.eos)
		}
		ids, rest = append(ids, id), after
	}
}

// section appends the ids of a text without added tokens; first says that it begins the whole text.
func (t *Tokenizer) section(ids []int32, text string, first bool) []int32 {
	for _, normalize := range t.normalize {
		text = normalize(text)
	}
	if !t.splitWords {
		return t.word(ids, text, first)
	}
	for word := range strings.FieldsFuncSeq(text, unicode.IsSpace) {
		ids = t.word(ids, word, first && strings.HasPrefix(text, word))
		first = false
	}
	return ids
}

func (t *Tokenizer) word(ids []int32, text string, first bool) []int32 {
	for part := range t.metaspace.parts(text, first) {
		ids = t.model.encode(ids, part)
	}
	return ids
}

// prepend says which texts get a "▁" in front.
type prepend uint8

const (
	prependAlways prepend = iota
	prependFirst          // only what begins the whole text
	prependNever
)

// metaspace spells spaces as "▁".
type metaspace struct {
	prepend prepend
	split   bool // before every "▁"; otherwise pieces may span words
}

// parts yields what the model sees at a time.
func (m metaspace) parts(text string, first bool) iter.Seq[string] {
	text = strings.ReplaceAll(text, " ", space)
	wanted := m.prepend == prependAlways || m.prepend == prependFirst && first
	if wanted && text != "" && !strings.HasPrefix(text, space) {
		text = space + text
	}
	return func(yield func(string) bool) {
		for text != "" {
			part := text
			if m.split {
				if next := strings.Index(text[1:], space); next >= 0 {
					part = text[:1+next]
				}
			}
			if !yield(part) {
				return
			}
			text = text[len(part):]
		}
	}
}
