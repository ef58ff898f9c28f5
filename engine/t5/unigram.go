package t5

// The Unigram model: a vocabulary of pieces with log probabilities, and the segmentation of a text into pieces whose
// scores have the largest sum (Viterbi). Bytes are walked left to right; a path is replaced only by a strictly better
// one, so ties fall the way they do in the reference. The cost is the text's length times that of the longest piece.

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxPieces       = 1 << 20
	maxPieceBytes   = 1024
	unknownDiscount = 10 // an unknown character scores this much below the worst piece
)

// A piece is one row of the vocabulary; its index is its id.
type piece struct {
	text   string
	score  float64
	hidden bool // control pieces have an id but never match text
}

// dictionary finds the words that a text begins with.
type dictionary struct {
	words []string // sorted by bytes, distinct, none empty
	ids   []int32  // of each word
}

func newDictionary(words map[string]int32) dictionary {
	d := dictionary{words: make([]string, 0, len(words)), ids: make([]int32, len(words))}
	for word := range words {
		d.words = append(d.words, word)
	}
	slices.Sort(d.words)
	for i, word := range d.words {
		d.ids[i] = words[word]
	}
	return d
}

// prefixes yields length and id of every word that text begins with, the shortest first.
func (d dictionary) prefixes(text string) iter.Seq2[int, int32] {
	return func(yield func(int, int32) bool) {
		// words[low:high] are those that share text[:n] and are longer than it.
		low, high := 0, len(d.words)
		for n := 0; n < len(text) && low < high; n++ {
			shared, c := d.words[low:high], text[n]
			from := sort.Search(len(shared), func(i int) bool { return shared[i][n] >= c })
			to := sort.Search(len(shared), func(i int) bool { return shared[i][n] > c })
			low, high = low+from, low+to
			if low < high && len(d.words[low]) == n+1 {
				if !yield(n+1, d.ids[low]) {
					return
				}
				low++
			}
		}
	}
}

// unigram segments text into pieces.
type unigram struct {
	pieces       dictionary
	scores       []float64 // by id
	unknown      int32     // id of what no piece covers
	unknownScore float64
}

func newUnigram(pieces []piece, unknown int) (*unigram, error) {
	if len(pieces) > maxPieces {
		return nil, fmt.Errorf("t5: tokenizer: vocabulary, got %d pieces, want at most %d", len(pieces), maxPieces)
	}
	if unknown < 0 || unknown >= len(pieces) {
		return nil, fmt.Errorf("t5: tokenizer: unknown piece, got id %d, want one of %d pieces", unknown, len(pieces))
	}
	words, scores, worst := make(map[string]int32, len(pieces)), make([]float64, len(pieces)), math.Inf(1)
	for id, p := range pieces {
		if err := p.check(id); err != nil {
			return nil, err
		}
		scores[id] = p.score
		if p.hidden {
			continue
		}
		if other, double := words[p.text]; double {
			return nil, fmt.Errorf("t5: tokenizer: pieces %d and %d are both %q", other, id, p.text)
		}
		words[p.text] = int32(id)
		worst = min(worst, p.score)
	}
	return &unigram{
		pieces: newDictionary(words), scores: scores,
		unknown: int32(unknown), unknownScore: worst - unknownDiscount,
	}, nil
}

func (p piece) check(id int) error {
	switch {
	case p.text == "" || len(p.text) > maxPieceBytes:
		return fmt.Errorf("t5: tokenizer: piece %d, got %d bytes, want 1 to %d", id, len(p.text), maxPieceBytes)
	case !utf8.ValidString(p.text):
		return fmt.Errorf("t5: tokenizer: piece %d, got %q, want valid UTF-8", id, p.text)
	case math.IsNaN(p.score) || math.Abs(p.score) > 1e9:
		return fmt.Errorf("t5: tokenizer: piece %d %q, got score %g, want a log probability", id, p.text, p.score)
	}
	return nil
}

// node is the best path that ends at one byte of the text: its score, and where and with which piece its last step
// began. start is -1 where no path ends.
type node struct {
	score float64
	start int
	id    int32
}

// encode appends to ids those of text's best segmentation. Neighbouring unknown characters become one id.
func (u *unigram) encode(ids []int32, text string) []int32 {
	best := make([]node, len(text)+1)
	for i := 1; i < len(best); i++ {
		best[i].start = -1
	}
	reach := func(start, end int, id int32, score float64) {
		score += best[start].score
		if best[end].start < 0 || score > best[end].score {
			best[end] = node{score, start, id}
		}
	}
	for start := 0; start < len(text); {
		_, width := utf8.DecodeRuneInString(text[start:])
		covered := false // by a piece of exactly this character
		for length, id := range u.pieces.prefixes(text[start:]) {
			reach(start, start+length, id, u.scores[id])
			covered = covered || length == width
		}
		if !covered {
			reach(start, start+width, u.unknown, u.unknownScore)
		}
		start += width
	}
	first := len(ids)
	for end := len(text); end > 0; end = best[end].start {
		if id := best[end].id; id != u.unknown || len(ids) == first || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids[first:])
	return ids
}

// literal is an added token: it is found in the text as it stands, before anything is normalised.
type literal struct {
	id                    int32
	trimBefore, trimAfter bool // white space beside it belongs to it
}

// literals finds added tokens; the dictionary's ids are indices into tokens.
type literals struct {
	dictionary
	tokens []literal
}

func newLiterals(tokens map[string]literal) literals {
	l, words := literals{}, make(map[string]int32, len(tokens))
	for word, token := range tokens {
		words[word] = int32(len(l.tokens))
		l.tokens = append(l.tokens, token)
	}
	l.dictionary = newDictionary(words)
	return l
}

// cut splits text around its first literal; where several begin at one place the longest counts.
func (l literals) cut(text string) (before string, id int32, after string, found bool) {
	for at := range text {
		length, index := 0, int32(0)
		for length, index = range l.prefixes(text[at:]) {
		}
		if length == 0 {
			continue
		}
		token := l.tokens[index]
		before, after = text[:at], text[at+length:]
		if token.trimBefore {
			before = strings.TrimRightFunc(before, unicode.IsSpace)
		}
		if token.trimAfter {
			after = strings.TrimLeftFunc(after, unicode.IsSpace)
		}
		return before, token.id, after, true
	}
	return text, 0, "", false
}
