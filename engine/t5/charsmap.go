package t5

// The precompiled character map of SentencePiece (nmt_nfkc): which character sequences are replaced by what. The blob is
//
//	u32 size │ size bytes: a double-array trie of u32 units │ replacements: UTF-8 strings, each ended by NUL
//
// all little-endian. A unit (darts-clone) packs: label in bits 0–7 and 31, "a key ends here" in bit 8, the offset to its
// children in bits 10–30, shifted by 8 more where bit 9 is set. A leaf unit's low 31 bits are where its replacement begins.
//
// Two readers of this map disagree on purpose. SentencePiece replaces the longest key at each position. Hugging Face's
// tokenizers look at whole grapheme clusters, and take the shortest key. Ordinary text comes out the same.

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// maxReplacement bounds how much a hostile map can blow up a text. The longest of NFKC has 33 bytes.
const maxReplacement = 1024

// maxCluster: longer grapheme clusters are looked up character by character, as Hugging Face does.
const maxCluster = 5

type charsmap struct {
	units        []uint32
	replacements string
}

func parseCharsmap(blob []byte) (*charsmap, error) {
	if len(blob) < 4 {
		return nil, fmt.Errorf("t5: charsmap: got %d bytes, want at least 4", len(blob))
	}
	size, rest := binary.LittleEndian.Uint32(blob), blob[4:]
	if size == 0 || size%4 != 0 || uint64(size) > uint64(len(rest)) {
		return nil, fmt.Errorf("t5: charsmap: trie, got %d bytes of %d, want a positive multiple of 4", size, len(rest))
	}
	c := &charsmap{units: make([]uint32, size/4), replacements: string(rest[size:])}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	if !utf8.ValidString(c.replacements) {
		return nil, fmt.Errorf("t5: charsmap: replacements are not valid UTF-8")
	}
	for replacement := range strings.SplitSeq(c.replacements, "\x00") {
		if len(replacement) > maxReplacement {
			return nil, fmt.Errorf("t5: charsmap: replacement, got %d bytes, want at most %d", len(replacement), maxReplacement)
		}
	}
	return c, nil
}

// matches yields length and replacement of every key that text begins with, the shortest first. A walk that leaves the
// trie, as only a broken file makes it do, ends without a match.
func (c *charsmap) matches(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		at := offset(c.units[0])
		for i := 0; i < len(text); i++ {
			at ^= uint32(text[i])
			if text[i] == 0 || int64(at) >= int64(len(c.units)) {
				return
			}
			unit := c.units[at]
			if unit&(1<<31|0xFF) != uint32(text[i]) {
				return
			}
			at ^= offset(unit)
			if unit&(1<<8) == 0 {
				continue
			}
			replacement, ok := c.replacement(at)
			if !ok || !yield(i+1, replacement) {
				return
			}
		}
	}
}

// offset is the distance from a unit to its children, to be combined by exclusive or.
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// replacement is the string that the leaf unit at names.
func (c *charsmap) replacement(at uint32) (string, bool) {
	if int64(at) >= int64(len(c.units)) {
		return "", false
	}
	begin := c.units[at] &^ (1 << 31)
	if int64(begin) >= int64(len(c.replacements)) || !utf8.RuneStart(c.replacements[begin]) {
		return "", false
	}
	replacement, _, _ := strings.Cut(c.replacements[begin:], "\x00")
	return replacement, true
}

// byLongest normalises as SentencePiece does: the longest key at each position.
func (c *charsmap) byLongest(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		_, length := utf8.DecodeRuneInString(text)
		replacement := text[:length]
		for n, r := range c.matches(text) {
			length, replacement = n, r
		}
		out.WriteString(replacement)
		text = text[length:]
	}
	return out.String()
}

// byCluster normalises as Hugging Face's tokenizers do: a short grapheme cluster that begins with a key is replaced
// whole, and the characters of other clusters one by one.
func (c *charsmap) byCluster(text string) string {
	var out strings.Builder
	for state := -1; len(text) > 0; {
		var cluster string
		cluster, text, _, state = uniseg.FirstGraphemeClusterInString(text, state)
		if len(cluster) <= maxCluster {
			if replacement, ok := c.shortest(cluster); ok {
				out.WriteString(replacement)
				continue
			}
		}
		for len(cluster) > 0 {
			_, width := utf8.DecodeRuneInString(cluster)
			replacement, ok := c.shortest(cluster[:width])
			if !ok {
				replacement = cluster[:width]
			}
			out.WriteString(replacement)
			cluster = cluster[width:]
		}
	}
	return out.String()
}

// shortest is the replacement of the shortest key that text begins with.
func (c *charsmap) shortest(text string) (string, bool) {
	for _, replacement := range c.matches(text) {
		return replacement, true
	}
	return "", false
}
