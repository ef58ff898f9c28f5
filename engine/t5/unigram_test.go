package t5

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// segment tries every segmentation of text, by recursion from its end: the definition that encode must meet. Of equal
// ones it takes that with the longest last piece.
func segment(u *unigram, pieces []piece, text []rune) (best float64, ids []int32) {
	if len(text) == 0 {
		return 0, nil
	}
	best = math.Inf(-1)
	for length := len(text); length > 0; length-- {
		begin, last := text[:len(text)-length], string(text[len(text)-length:])
		id, score := slices.IndexFunc(pieces, func(p piece) bool { return !p.hidden && p.text == last }), 0.0
		switch {
		case id >= 0:
			score = pieces[id].score
		case length == 1:
			id, score = int(u.unknown), u.unknownScore
		default:
			continue
		}
		before, head := segment(u, pieces, begin)
		if score+before > best {
			best, ids = score+before, append(slices.Clone(head), int32(id))
		}
	}
	return best, ids
}

func TestUnigramIsBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("abéz")
	word := func(n int) string {
		r := make([]rune, 1+rng.IntN(n))
		for i := range r {
			r[i] = alphabet[rng.IntN(len(alphabet))]
		}
		return string(r)
	}
	for range 300 {
		pieces := []piece{{text: "<unk>", hidden: true}}
		for seen := map[string]bool{}; len(pieces) < 8; {
			if w := word(3); !seen[w] {
				seen[w] = true
				pieces = append(pieces, piece{text: w, score: -10 * rng.Float64()})
			}
		}
		u, err := newUnigram(pieces, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := word(9)
		_, want := segment(u, pieces, []rune(text))
		want = slices.CompactFunc(want, func(a, b int32) bool { return a == 0 && b == 0 })
		if got := u.encode(nil, text); !slices.Equal(got, want) {
			t.Errorf("%q of %v: got %v, want %v", text, pieces, got, want)
		}
	}
}

func TestUnigramFusesUnknowns(t *testing.T) {
	u, err := newUnigram([]piece{{text: "<unk>", hidden: true}, {text: "a", score: -1}, {text: "aa", score: -2}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{
		"": nil, "xyz": {0}, "xaz": {0, 1, 0}, "aa": {2}, // a tie: the first path stays
		"<unk>": {0}, "日本a": {0, 1},
	} {
		if got := u.encode(nil, text); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	if got := u.encode([]int32{0}, "x"); !slices.Equal(got, []int32{0, 0}) {
		t.Errorf("unknowns of two words: got %v, want them apart", got)
	}
}

func TestDictionaryPrefixes(t *testing.T) {
	d := newDictionary(map[string]int32{"a": 1, "ab": 2, "abcd": 3, "b": 4, "é": 5, "ac": 6})
	for text, want := range map[string][]int32{
		"": nil, "abc": {1, 1, 2, 2}, "abcde": {1, 1, 2, 2, 4, 3}, "é": {2, 5}, "\xc3": nil, "z": nil, "b": {1, 4},
	} {
		var got []int32
		for length, id := range d.prefixes(text) {
			got = append(got, int32(length), id)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got lengths and ids %v, want %v", text, got, want)
		}
	}
}

func TestLiteralsCut(t *testing.T) {
	l := newLiterals(map[string]literal{"<x>": {id: 7, trimBefore: true}, "<x>>": {id: 8, trimAfter: true}})
	for _, c := range []struct {
		text, before string
		id           int32
		after        string
		found        bool
	}{
		{"", "", 0, "", false},
		{"a <x", "a <x", 0, "", false},
		{" a <x> b<x>", " a", 7, " b<x>", true},
		{"é <x>> b ", "é ", 8, "b ", true},
	} {
		before, id, after, found := l.cut(c.text)
		if before != c.before || id != c.id || after != c.after || found != c.found {
			t.Errorf("%q: got %q %d %q %t", c.text, before, id, after, found)
		}
	}
}
