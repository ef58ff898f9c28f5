package t5

// spiece.model: SentencePiece's ModelProto, a protobuf of which these fields decide the result:
//
//	1 pieces           repeated { 1 piece string, 2 score float, 3 type enum }
//	2 trainer_spec     { 3 model_type enum, 24 treat_whitespace_as_suffix bool, 35 byte_fallback bool }
//	3 normalizer_spec  { 2 precompiled_charsmap bytes, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces bool }
//
// The rest is skipped. A file that asks for anything but the Unigram model with T5's spaces is refused.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Kinds of pieces in the file.
const (
	pieceNormal = iota + 1
	pieceUnknown
	pieceControl
	pieceUserDefined
	pieceUnused
	pieceByte
)

// modelUnigram is trainer_spec.model_type of the one kind of model that T5 uses.
const modelUnigram = 1

// NewSentencePiece reads a spiece.model. Its control and unknown pieces are also found written out in a text, as the
// reference's tokenizer for this file does; the extra ids that T5 adds after the file's pieces are not.
func NewSentencePiece(model []byte) (*Tokenizer, error) {
	file := sentencePiece{modelType: modelUnigram, unknown: -1, eos: -1, literals: map[string]literal{}}
	if err := fields(model, file.field); err != nil {
		return nil, err
	}
	if file.eos < 0 {
		return nil, fmt.Errorf("t5: spiece.model: no piece %s", endOfText)
	}
	if file.modelType != modelUnigram {
		return nil, fmt.Errorf("t5: spiece.model: model type, got %d, want %d (unigram)", file.modelType, modelUnigram)
	}
	unigram, err := newUnigram(file.pieces, file.unknown)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{literals: newLiterals(file.literals), model: unigram, eos: file.eos}
	if len(file.charsmap) > 0 {
		charsmap, err := parseCharsmap(file.charsmap)
		if err != nil {
			return nil, err
		}
		t.normalize = append(t.normalize, charsmap.byLongest)
	}
	t.normalize = append(t.normalize, singleSpaces)
	return t, nil
}

// singleSpaces removes the spaces around words but one between them. SentencePiece knows no other white space here: the
// charsmap has made spaces of the rest.
func singleSpaces(text string) string {
	return strings.Join(slices.Collect(strings.FieldsFuncSeq(text, func(r rune) bool { return r == ' ' })), " ")
}

// sentencePiece gathers what the file says.
type sentencePiece struct {
	pieces    []piece
	literals  map[string]literal
	unknown   int
	eos       int32
	modelType uint64
	charsmap  []byte
}

func (f *sentencePiece) field(number int, value uint64, data []byte) error {
	switch number {
	case 1:
		return f.piece(data)
	case 2:
		return fields(data, f.trainer)
	case 3:
		return fields(data, f.normalizer)
	}
	return nil
}

func (f *sentencePiece) piece(data []byte) error {
	p, kind, id := piece{}, uint64(pieceNormal), len(f.pieces)
	if id >= maxPieces {
		return fmt.Errorf("t5: spiece.model: vocabulary, want at most %d pieces", maxPieces)
	}
	err := fields(data, func(number int, value uint64, data []byte) error {
		switch number {
		case 1:
			p.text = string(data)
		case 2:
			p.score = float64(math.Float32frombits(uint32(value)))
		case 3:
			kind = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch kind {
	case pieceNormal:
	case pieceUnused:
		p.hidden = true
	case pieceUnknown, pieceControl:
		p.hidden = true
		if p.text != "" {
			f.literals[p.text] = literal{id: int32(id)}
		}
	default:
		return fmt.Errorf("t5: spiece.model: piece %d %q, got type %d, want a normal, unknown, control or unused piece", id, p.text, kind)
	}
	if kind == pieceUnknown {
		f.unknown = id
	}
	if p.text == endOfText {
		f.eos = int32(id)
	}
	f.pieces = append(f.pieces, p)
	return nil
}

func (f *sentencePiece) trainer(number int, value uint64, _ []byte) error {
	switch {
	case number == 3:
		f.modelType = value
	case number == 24 && value != 0:
		return errors.New("t5: spiece.model: treat_whitespace_as_suffix is unsupported")
	case number == 35 && value != 0:
		return errors.New("t5: spiece.model: byte_fallback is unsupported")
	}
	return nil
}

func (f *sentencePiece) normalizer(number int, value uint64, data []byte) error {
	switch {
	case number == 2:
		f.charsmap = data
	case number >= 3 && number <= 5 && value == 0:
		return errors.New("t5: spiece.model: a normalizer without add_dummy_prefix, remove_extra_whitespaces and escape_whitespaces is unsupported")
	}
	return nil
}

// fields calls visit for every field of a protobuf message: value holds a varint or fixed number, data a string, bytes or
// nested message. The other one is zero.
func fields(message []byte, visit func(number int, value uint64, data []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag>>3 > math.MaxInt32 {
			return errors.New("t5: spiece.model: broken field tag")
		}
		value, data, size := payload(message[n:], tag&7)
		if size < 0 {
			return fmt.Errorf("t5: spiece.model: field %d is cut short or of unknown kind %d", tag>>3, tag&7)
		}
		if err := visit(int(tag>>3), value, data); err != nil {
			return err
		}
		message = message[n+size:]
	}
	return nil
}

// payload reads a field's value of one wire kind; size counts the bytes used, -1 if there are too few.
func payload(b []byte, kind uint64) (value uint64, data []byte, size int) {
	switch {
	case kind == 0:
		if v, n := binary.Uvarint(b); n > 0 {
			return v, nil, n
		}
	case kind == 1 && len(b) >= 8:
		return binary.LittleEndian.Uint64(b), nil, 8
	case kind == 2:
		if v, n := binary.Uvarint(b); n > 0 && v <= uint64(len(b)-n) {
			return 0, b[n : n+int(v)], n + int(v)
		}
	case kind == 5 && len(b) >= 4:
		return uint64(binary.LittleEndian.Uint32(b)), nil, 4
	}
	return 0, nil, -1
}
