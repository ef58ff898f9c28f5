package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/metalkern"
)

// The doctor packs a weight, finds it in its file, and gets the same from it.
func TestDoctorPacked(t *testing.T) {
	k, err := cpukern.Open(cpukern.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var out strings.Builder
	if wrong := writePacked(t.Context(), &out, k, 64); wrong != 0 {
		t.Errorf("got %d wrong", wrong)
	}
	if want := regexp.MustCompile(`^packed weights of .*: made in .* taken from a file in .* in place: true \(.*\)\n$`); !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
	if n := k.Allocated(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
	out.Reset()
	if wrong := writePacked(t.Context(), &out, forgetful{k.(kern.Packer)}, 64); wrong != 1 || !strings.Contains(out.String(), "was not used") {
		t.Errorf("a backend that takes nothing: got %d wrong, %q", wrong, out.String())
	}
	if wrong := writePacked(t.Context(), &out, gpu{}, 64) + writeTuning(t.Context(), &out, k, 0, publishedModels(), tunedEffort); wrong != 0 {
		t.Errorf("backends without: got %d wrong", wrong)
	}
}

// forgetful is a backend that packs anew what a shelf has.
type forgetful struct{ kern.Packer }

func (f forgetful) Shelve(s kern.Shelf) kern.Shelved { return f.Packer.Shelve(putOnly{s}) }

type putOnly struct{ kern.Shelf }

func (putOnly) Take(string, int) []byte { return nil }

// scripted is a backend whose linears are measured already.
type scripted struct {
	kern.Backend
	found metalkern.LinearTuning
	err   error
}

func (s scripted) TuneLinear(_ metalkern.LinearShape, _ kern.Precision, rows []int, _ metalkern.TuneEffort, tell func(metalkern.LinearTuning) bool) error {
	for _, n := range rows {
		if s.found.Rows = n; !tell(s.found) {
			break
		}
	}
	return s.err
}

// A line says what was chosen, what is best, and what it gains; what is wrong counts.
func TestDoctorTuning(t *testing.T) {
	s := scripted{found: metalkern.LinearTuning{
		Bytes: 500_000, Chosen: metalkern.LinearVariant{Kernel: "chosen", One: 2 * time.Microsecond},
		Best: metalkern.LinearVariant{Kernel: "best", One: 1600 * time.Nanosecond},
	}}
	models := []tunedModel{{"tiny", metalkern.StepLinears(32)[:1]}}
	var out strings.Builder
	wrong := writeTuning(t.Context(), &out, s, 1e12, models, tunedEffort)
	want := "tiny/qkv/q4/16             2.00     25 %   chosen                             1.60    25 %   best\n"
	if wrong != 0 || !strings.HasSuffix(out.String(), want) || strings.Count(out.String(), "tiny/") != 4*len(tunedRows) {
		t.Errorf("got %d wrong and\n%swant its end\n%s", wrong, out.String(), want)
	}
	out.Reset()
	s.found.Wrong, s.err = []string{"bad"}, errors.New("it smokes")
	wrong = writeTuning(t.Context(), &out, s, 0, models, tunedEffort)
	if wrong != 4*(len(tunedRows)+1) || !strings.Contains(out.String(), "bad: gives other bits than chosen") || !strings.Contains(out.String(), "tiny/qkv/f32: it smokes") {
		t.Errorf("got %d wrong and\n%s", wrong, out.String())
	}
}
