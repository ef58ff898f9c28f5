package t5

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"
)

// buildCharsmap makes the blob for a few replacements: a double array whose nodes are simply put one block of 256 units
// after another, so that no two blocks ever meet.
func buildCharsmap(replacements map[string]string) []byte {
	var text []byte
	leaves := map[string]uint32{}
	for key, replacement := range replacements {
		leaves[key] = uint32(len(text))
		text = append(append(text, replacement...), 0)
	}
	units := make([]uint32, 256)
	var fill func(prefix string, unit uint32)
	fill = func(prefix string, unit uint32) {
		base := uint32(len(units))
		units = append(units, make([]uint32, 256)...)
		units[unit] |= (base ^ unit) << 10
		if begin, ok := leaves[prefix]; ok {
			units[unit] |= 1 << 8
			units[base] = begin | 1<<31
		}
		for key := range leaves {
			if len(key) > len(prefix) && strings.HasPrefix(key, prefix) {
				child := base ^ uint32(key[len(prefix)])
				if units[child] == 0 {
					units[child] = uint32(key[len(prefix)])
					fill(key[:len(prefix)+1], child)
				}
			}
		}
	}
	fill("", 0)
	blob := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, unit := range units {
		blob = binary.LittleEndian.AppendUint32(blob, unit)
	}
	return append(blob, text...)
}

func smallCharsmap() []byte {
	return buildCharsmap(map[string]string{"ﬁ": "fi", "\t": " ", "e\u0301": "é", "a": "b", "ab": "longer"})
}

func smallCharsmapBase64() string { return base64.StdEncoding.EncodeToString(smallCharsmap()) }

func TestCharsmap(t *testing.T) {
	c, err := parseCharsmap(smallCharsmap())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, cluster, longest string }{
		{"", "", ""},
		{"ﬁx\t", "fix ", "fix "},
		{"e\u0301e", "ée", "ée"},
		{"ab", "bb", "longer"},      // two clusters, or the longest key
		{"a\u0301", "b", "b\u0301"}, // a short cluster is replaced whole
		{"a\u0301\u0301\u0301", "b\u0301\u0301\u0301", "b\u0301\u0301\u0301"}, // a long one is not
		{"\x00a", "\x00b", "\x00b"},
		{"日", "日", "日"},
	} {
		if got := c.byCluster(test.text); got != test.cluster {
			t.Errorf("by cluster %+q: got %+q, want %+q", test.text, got, test.cluster)
		}
		if got := c.byLongest(test.text); got != test.longest {
			t.Errorf("by longest %+q: got %+q, want %+q", test.text, got, test.longest)
		}
	}
}

func TestCharsmapRefuses(t *testing.T) {
	good := smallCharsmap()
	size := binary.LittleEndian.Uint32(good)
	for name, blob := range map[string][]byte{
		"empty":            {},
		"no trie":          {0, 0, 0, 0},
		"odd trie":         {3, 0, 0, 0, 1, 2, 3},
		"trie cut short":   good[:size],
		"huge trie":        append([]byte{0xFC, 0xFF, 0xFF, 0xFF}, good[4:]...),
		"not UTF-8":        append(bytes.Clone(good), 0xFF),
		"huge replacement": append(bytes.Clone(good), bytes.Repeat([]byte("x"), maxReplacement+1)...),
	} {
		if _, err := parseCharsmap(blob); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestCharsmapBroken walks tries whose links lead nowhere: nothing is replaced, nothing panics.
func TestCharsmapBroken(t *testing.T) {
	outside, leaf := smallCharsmap(), smallCharsmap()
	root := binary.LittleEndian.Uint32(outside[4:])
	binary.LittleEndian.PutUint32(outside[4:], root|0x7FFFFE00) // children far outside the array
	for at := 4; at+4 <= int(4+binary.LittleEndian.Uint32(leaf)); at += 4 {
		if unit := binary.LittleEndian.Uint32(leaf[at:]); unit>>31 == 1 {
			binary.LittleEndian.PutUint32(leaf[at:], unit|0xFFFFFF) // replacements far behind the strings
		}
	}
	for name, blob := range map[string][]byte{"outside": outside, "leaf": leaf} {
		c, err := parseCharsmap(blob)
		if err != nil {
			t.Fatal(err)
		}
		if text := "ﬁ ab e\u0301"; c.byCluster(text) != text || c.byLongest(text) != text {
			t.Errorf("%s: got %q and %q, want %q", name, c.byCluster(text), c.byLongest(text), text)
		}
	}
}
