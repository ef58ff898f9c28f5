package engine

import "testing"

// What is heard and told one way is not taken for the same told another.
func TestKeysDiffer(t *testing.T) {
	seen := map[contentKey]int{}
	for i, c := range []struct {
		audio [][]float32
		told  told
	}{
		{nil, told{}}, {nil, told{guided: true}}, {nil, told{text: "\x01"}}, {nil, told{text: "\x01\x00\x00\x00"}},
		{nil, told{text: "foo", guided: true}}, {nil, told{text: "\x01foo"}}, {nil, told{text: "foo"}},
		{nil, told{chroma: []float32{0}}}, {[][]float32{{0}}, told{}}, {[][]float32{{0}, {}}, told{}}, {[][]float32{{}, {0}}, told{}},
		{[][]float32{make([]float32, 5000), {1}}, told{}}, {[][]float32{make([]float32, 5000), {2}}, told{}},
	} {
		key := keyOf(c.audio, c.told)
		if j, ok := seen[key]; ok {
			t.Errorf("%d has the key of %d", i, j)
		}
		seen[key] = i
	}
}
