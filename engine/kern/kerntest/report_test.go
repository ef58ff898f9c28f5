package kerntest

import (
	"slices"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/kern"
)

// worse is a backend whose norms do nothing and whose copies fail.
type worse struct{ kern.Backend }

type worseStream struct{ kern.Stream }

func (w worse) Stream() (kern.Stream, error) {
	s, err := w.Backend.Stream()
	return worseStream{s}, err
}

func (worseStream) Norm(kern.Norm)         {}
func (s worseStream) Copy(_, _ kern.Slice) { s.Stream.Copy(kern.Slice{}, kern.Slice{}) }

// What is wrong is told, and nothing else is.
func TestExamine(t *testing.T) {
	k, err := cpukern.Open(cpukern.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	all, bad := 0, map[string]bool{}
	examine(worse{k}, slices.Concat(embedRows(), normRows(), copyRows()), func(row string, wrong []string) bool {
		all++
		if len(wrong) > 0 {
			bad[row[:4]] = true
		}
		return true
	})
	var kinds []string
	for kind := range bad {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	if all < 10 || !slices.Equal(kinds, []string{"copy", "norm"}) {
		t.Errorf("%d rows, wrong: %v, want norm and copy", all, kinds)
	}
}

func TestNoted(t *testing.T) {
	for _, c := range []struct {
		want []string
		fn   func(testing.TB)
	}{
		{nil, func(testing.TB) {}},
		{[]string{"1", "2"}, func(t testing.TB) { t.Errorf("%d", 1); t.Fatalf("%d", 2); t.Errorf("not reached") }},
		{[]string{"panic: oh"}, func(testing.TB) { panic("oh") }},
	} {
		if got := noted(c.fn); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
