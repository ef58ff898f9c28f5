package t5

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"
)

func appendBytes(b []byte, number int, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(number)<<3|2)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func appendVarint(b []byte, number int, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, uint64(number)<<3), value)
}

func appendPiece(b []byte, text string, score float32, kind uint64) []byte {
	p := appendBytes(nil, 1, []byte(text))
	p = binary.LittleEndian.AppendUint32(append(p, 2<<3|5), math.Float32bits(score))
	return appendBytes(b, 1, appendVarint(p, 3, kind))
}

// smallModel is a spiece.model of six pieces and a charsmap, with extra appended.
func smallModel(extra []byte) []byte {
	b := appendPiece(nil, "<pad>", 0, pieceControl)
	b = appendPiece(b, "</s>", 0, pieceControl)
	b = appendPiece(b, "<unk>", 0, pieceUnknown)
	b = appendPiece(b, "▁", -2, pieceNormal)
	b = appendPiece(b, "fi", -3, pieceNormal)
	b = appendPiece(b, "x", -1, pieceUnused)
	b = appendBytes(b, 2, appendVarint(nil, 3, modelUnigram))
	b = appendBytes(b, 3, appendBytes(nil, 2, smallCharsmap()))
	b = append(append(b, 9<<3|1), 1, 2, 3, 4, 5, 6, 7, 8) // an unknown field of eight bytes
	return append(b, extra...)
}

func TestSentencePiece(t *testing.T) {
	tokenizer, err := NewSentencePiece(smallModel(nil))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{
		"":              {1},
		" \t ":          {1},
		"ﬁ\t  fi ":      {3, 4, 3, 4, 1},
		"fixfi":         {3, 4, 2, 4, 1}, // x is unused: unknown
		"fi</s>fi<pad>": {3, 4, 1, 3, 4, 0, 1},
	} {
		if got := tokenizer.Encode(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestSentencePieceRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		model []byte
		want  string
	}{
		{"empty", nil, "no piece </s>"},
		{"no unknown", appendPiece(nil, "</s>", 0, pieceControl), "unknown piece"},
		{"user-defined", smallModel(appendPiece(nil, "q", 0, pieceUserDefined)), "got type 4"},
		{"byte", smallModel(appendPiece(nil, "<0x00>", 0, pieceByte)), "got type 6"},
		{"double", smallModel(appendPiece(nil, "fi", 0, pieceNormal)), "pieces 4 and 6"},
		{"not a number", smallModel(appendPiece(nil, "q", float32(math.NaN()), pieceNormal)), "log probability"},
		{"not UTF-8", smallModel(appendPiece(nil, "\xff", 0, pieceNormal)), "UTF-8"},
		{"BPE", smallModel(appendBytes(nil, 2, appendVarint(nil, 3, 2))), "model type"},
		{"suffix", smallModel(appendBytes(nil, 2, appendVarint(nil, 24, 1))), "suffix"},
		{"byte fallback", smallModel(appendBytes(nil, 2, appendVarint(nil, 35, 1))), "byte_fallback"},
		{"no prefix", smallModel(appendBytes(nil, 3, appendVarint(nil, 3, 0))), "add_dummy_prefix"},
		{"charsmap", smallModel(appendBytes(nil, 3, appendBytes(nil, 2, []byte{1}))), "charsmap"},
		{"group", smallModel([]byte{1<<3 | 3}), "unknown kind 3"},
		{"cut short", smallModel([]byte{1<<3 | 2, 200}), "cut short"},
		{"endless tag", smallModel([]byte(strings.Repeat("\xff", 11))), "tag"},
	} {
		if _, err := NewSentencePiece(c.model); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want one with %q", c.name, err, c.want)
		}
	}
}

// TestSentencePieceCut: no beginning of a file makes it panic.
func TestSentencePieceCut(t *testing.T) {
	whole := smallModel(nil)
	for n := range whole {
		if tokenizer, err := NewSentencePiece(whole[:n]); err == nil {
			checkIDs(t, tokenizer, "fi ﬁ")
		}
	}
}
