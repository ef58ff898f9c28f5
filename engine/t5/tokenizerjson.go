package t5

// tokenizer.json: Hugging Face's description of a tokenizer as a chain of named parts. Read are the parts and spellings
// that T5 files have had over the years:
//
//	normalizer      Precompiled, Strip, Replace, a Sequence of them, or null
//	pre_tokenizer   Metaspace (add_prefix_space, or prepend_scheme and split), alone or after WhitespaceSplit
//	model           Unigram
//	post_processor  TemplateProcessing that appends one token
//
// Whatever would change the ids and is not understood is an error.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenizerFile struct {
	AddedTokens []struct {
		ID         int    `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
	} `json:"added_tokens"`
	Normalizer    *normalizerFile   `json:"normalizer"`
	PreTokenizer  *preTokenizerFile `json:"pre_tokenizer"`
	PostProcessor *struct {
		Type   string `json:"type"`
		Single []struct {
			Sequence     *struct{ ID string }
			SpecialToken *struct{ ID string }
		} `json:"single"`
		SpecialTokens map[string]struct {
			IDs []int `json:"ids"`
		} `json:"special_tokens"`
	} `json:"post_processor"`
	Model struct {
		Type         string  `json:"type"`
		UnknownID    *int    `json:"unk_id"`
		Vocab        []piece `json:"vocab"`
		ByteFallback bool    `json:"byte_fallback"`
	} `json:"model"`
}

type normalizerFile struct {
	Type        string                 `json:"type"`
	Normalizers []normalizerFile       `json:"normalizers"`
	Charsmap    []byte                 `json:"precompiled_charsmap"` // base64 in the file
	StripLeft   bool                   `json:"strip_left"`
	StripRight  bool                   `json:"strip_right"`
	Pattern     struct{ Regex string } `json:"pattern"`
	Content     string                 `json:"content"`
}

type preTokenizerFile struct {
	Type           string             `json:"type"`
	PreTokenizers  []preTokenizerFile `json:"pretokenizers"`
	Replacement    string             `json:"replacement"`
	AddPrefixSpace *bool              `json:"add_prefix_space"`
	PrependScheme  string             `json:"prepend_scheme"`
	Split          *bool              `json:"split"`
}

// UnmarshalJSON reads the pair [text, score].
func (p *piece) UnmarshalJSON(b []byte) error {
	if p.readPlain(b) {
		return nil
	}
	pair := []any{&p.text, &p.score}
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("t5: tokenizer.json: piece, got %d values, want text and score", len(pair))
	}
	return nil
}

// readPlain reads the pair where nothing in it is escaped, which is nearly always so, in a tenth of the time: there are
// 32,100 of them in T5's file. It returns false for all else.
func (p *piece) readPlain(b []byte) bool {
	const blanks = " \t\r\n"
	open, rest, ok := bytes.Cut(b, []byte{'"'})
	if !ok || string(bytes.Trim(open, blanks)) != "[" {
		return false
	}
	text, rest, ok := bytes.Cut(rest, []byte{'"'})
	if !ok || bytes.IndexByte(text, '\\') >= 0 || !utf8.Valid(text) {
		return false
	}
	number, comma := bytes.CutPrefix(bytes.TrimLeft(rest, blanks), []byte{','})
	number, end := bytes.CutSuffix(bytes.TrimRight(number, blanks), []byte{']'})
	score, err := strconv.ParseFloat(string(bytes.Trim(number, blanks)), 64)
	if !comma || !end || err != nil {
		return false
	}
	p.text, p.score = string(text), score
	return true
}

// NewTokenizer reads a tokenizer.json.
func NewTokenizer(tokenizerJSON []byte) (*Tokenizer, error) {
	var file tokenizerFile
	if err := json.Unmarshal(tokenizerJSON, &file); err != nil {
		return nil, fmt.Errorf("t5: tokenizer.json: %w", err)
	}
	t := &Tokenizer{}
	if err := file.Normalizer.add(t); err != nil {
		return nil, err
	}
	if err := file.PreTokenizer.apply(t); err != nil {
		return nil, err
	}
	switch {
	case file.Model.Type != "Unigram":
		return nil, fmt.Errorf("t5: tokenizer.json: model, got %q, want Unigram", file.Model.Type)
	case file.Model.ByteFallback:
		return nil, errors.New("t5: tokenizer.json: byte_fallback is unsupported")
	case file.Model.UnknownID == nil:
		return nil, errors.New("t5: tokenizer.json: unk_id is missing")
	}
	var err error
	if t.model, err = newUnigram(file.Model.Vocab, *file.Model.UnknownID); err != nil {
		return nil, err
	}
	if t.literals, err = file.literals(); err != nil {
		return nil, err
	}
	if t.eos, err = file.eos(); err != nil {
		return nil, err
	}
	return t, nil
}

// literals are the added tokens.
func (f *tokenizerFile) literals() (literals, error) {
	tokens := make(map[string]literal, len(f.AddedTokens))
	for _, token := range f.AddedTokens {
		if token.ID < 0 || token.ID >= maxPieces || token.Content == "" || len(token.Content) > maxPieceBytes {
			return literals{}, fmt.Errorf("t5: tokenizer.json: added token %q: got id %d, want a text and an id below %d", token.Content, token.ID, maxPieces)
		}
		if token.SingleWord {
			return literals{}, fmt.Errorf("t5: tokenizer.json: added token %q: single_word is unsupported", token.Content)
		}
		tokens[token.Content] = literal{id: int32(token.ID), trimBefore: token.LStrip, trimAfter: token.RStrip}
	}
	return newLiterals(tokens), nil
}

// eos is the one token that the template appends to a text.
func (f *tokenizerFile) eos() (int32, error) {
	p := f.PostProcessor
	if p == nil || p.Type != "TemplateProcessing" || len(p.Single) != 2 || p.Single[0].Sequence == nil || p.Single[1].SpecialToken == nil {
		return 0, fmt.Errorf("t5: tokenizer.json: post_processor, want TemplateProcessing of a text and %s", endOfText)
	}
	name := p.Single[1].SpecialToken.ID
	ids := p.SpecialTokens[name].IDs
	if len(ids) != 1 || ids[0] < 0 || ids[0] >= maxPieces {
		return 0, fmt.Errorf("t5: tokenizer.json: post_processor: %q, got ids %v, want one", name, ids)
	}
	return int32(ids[0]), nil
}

// runsOfSpaces is the one expression that converters write.
var runsOfSpaces = regexp.MustCompile(" {2,}")

// add appends the normaliser's steps to t.
func (f *normalizerFile) add(t *Tokenizer) error {
	if f == nil {
		return nil
	}
	switch f.Type {
	case "Sequence":
		for i := range f.Normalizers {
			if err := f.Normalizers[i].add(t); err != nil {
				return err
			}
		}
	case "Precompiled":
		if len(f.Charsmap) == 0 {
			return nil
		}
		if len(t.normalize) > 0 { // nor a second map, which could blow up what the first one made
			return errors.New("t5: tokenizer.json: normalizer: Precompiled must come first")
		}
		charsmap, err := parseCharsmap(f.Charsmap)
		if err != nil {
			return err
		}
		t.normalize = append(t.normalize, charsmap.byCluster)
	case "Strip":
		if f.StripLeft {
			t.normalize = append(t.normalize, func(s string) string { return strings.TrimLeftFunc(s, unicode.IsSpace) })
		}
		if f.StripRight {
			t.normalize = append(t.normalize, func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) })
		}
	case "Replace":
		if f.Pattern.Regex != runsOfSpaces.String() || f.Content != space && f.Content != " " {
			return fmt.Errorf("t5: tokenizer.json: normalizer Replace: got %q by %q, want %q by %q", f.Pattern.Regex, f.Content, runsOfSpaces, space)
		}
		t.normalize = append(t.normalize, func(s string) string { return runsOfSpaces.ReplaceAllLiteralString(s, f.Content) })
	default:
		return fmt.Errorf("t5: tokenizer.json: normalizer, got %q, want Precompiled, Strip, Replace or Sequence", f.Type)
	}
	return nil
}

// apply sets how t makes words of a text.
func (f *preTokenizerFile) apply(t *Tokenizer) error {
	if f == nil {
		return errors.New("t5: tokenizer.json: pre_tokenizer is missing, want Metaspace")
	}
	parts := []preTokenizerFile{*f}
	if f.Type == "Sequence" {
		parts = f.PreTokenizers
	}
	if len(parts) == 2 && parts[0].Type == "WhitespaceSplit" {
		t.splitWords, parts = true, parts[1:]
	}
	if len(parts) != 1 || parts[0].Type != "Metaspace" {
		return errors.New("t5: tokenizer.json: pre_tokenizer, want Metaspace, alone or after WhitespaceSplit")
	}
	return parts[0].metaspace(&t.metaspace)
}

// metaspace reads both spellings: add_prefix_space true means prepend_scheme always, false means never.
func (f *preTokenizerFile) metaspace(m *metaspace) error {
	if f.Replacement != space {
		return fmt.Errorf("t5: tokenizer.json: Metaspace: replacement, got %q, want %q", f.Replacement, space)
	}
	scheme := f.PrependScheme
	if f.AddPrefixSpace != nil && !*f.AddPrefixSpace {
		if scheme != "" && scheme != "never" {
			return fmt.Errorf("t5: tokenizer.json: Metaspace: got prepend_scheme %q without add_prefix_space, want never", scheme)
		}
		scheme = "never"
	}
	switch scheme {
	case "", "always":
		m.prepend = prependAlways
	case "first":
		m.prepend = prependFirst
	case "never":
		m.prepend = prependNever
	default:
		return fmt.Errorf("t5: tokenizer.json: Metaspace: prepend_scheme, got %q, want always, first or never", scheme)
	}
	m.split = f.Split == nil || *f.Split
	return nil
}
