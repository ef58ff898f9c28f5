package engine

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"testing"
)

func TestValidateAcceptsDefaultsAndBounds(t *testing.T) {
	legal := map[string]func(*Job){
		"defaults":      func(*Job) {},
		"largest seed":  func(j *Job) { j.Seed = 1<<53 - 1 },
		"seed drawn":    func(j *Job) { j.Seed = -1 },
		"16 variations": func(j *Job) { j.Variations = 16 },
		"top-k off":     func(j *Job) { j.TopK = new(0) },
		"a split hair":  func(j *Job) { j.Seconds = math.SmallestNonzeroFloat64 },
		"rate source":   func(j *Job) { j.SampleRate = 0 },
		"lowest rate":   func(j *Job) { j.SampleRate = MinRate },
		"float samples": func(j *Job) { j.Bits = "32f" },
		"no fade":       func(j *Job) { j.CrossfadeMS = 0 },
	}
	for name, change := range legal {
		t.Run(name, func(t *testing.T) {
			job := NewJob()
			change(&job)
			if err := job.Validate(); err != nil {
				t.Errorf("got %q, want no error", err.Detail)
			}
		})
	}
}

func TestValidateNamesFieldValueAndRange(t *testing.T) {
	tests := []struct {
		change func(*Job)
		field  string
		detail string
	}{
		{func(j *Job) { j.Seed = -2 }, "seed", "seed: got -2, want -1 to 9007199254740991"},
		{func(j *Job) { j.Seed = 1 << 53 }, "seed", "seed: got 9007199254740992, want -1 to 9007199254740991"},
		{func(j *Job) { j.Variations = 0 }, "variations", "variations: got 0, want 1 to 16"},
		{func(j *Job) { j.Seconds = 0 }, "seconds", "seconds: got 0, want a number more than 0"},
		{func(j *Job) { j.Seconds = math.Inf(1) }, "seconds", "seconds: got +Inf, want a number more than 0"},
		{func(j *Job) { j.PromptSeconds = math.NaN() }, "promptSeconds", "promptSeconds: got NaN, want a number more than 0"},
		{func(j *Job) { j.TopP = new(1.5) }, "topP", "topP: got 1.5, want 0.000001 to 1"},
		{func(j *Job) { j.SampleRate = 44 }, "sampleRate", "sampleRate: got 44, want source or 8000 to 384000"},
		{func(j *Job) { j.Include = "both" }, "include", `include: got "both", want continuation or full`},
		{func(j *Job) { j.Bits = "32" }, "bits", `bits: got "32", want 16, 24 or 32f`},
		{func(j *Job) { j.PromptFrom = "" }, "promptFrom", `promptFrom: got "", want end or start`},
	}
	for _, test := range tests {
		job := NewJob()
		test.change(&job)
		err := job.Validate()
		if err == nil {
			t.Errorf("%s: got no error", test.detail)
			continue
		}
		if err.Kind != BadParam || err.Field != test.field || err.Detail != test.detail {
			t.Errorf("got %s %s %q, want %s %s %q", err.Kind, err.Field, err.Detail, BadParam, test.field, test.detail)
		}
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	job := NewJob()
	job.TopK, job.Level = new(-1), "loud"
	err := job.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	many, ok := errors.Unwrap(err).(interface{ Unwrap() []error })
	if !ok || len(many.Unwrap()) != 2 {
		t.Fatalf("got %v, want two problems", err)
	}
	if want := `topK: got -1, want 0 to 65536; level: got "loud", want match or none`; err.Detail != want {
		t.Errorf("got %q, want %q", err.Detail, want)
	}
}

func TestJobTagsAreReadable(t *testing.T) {
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Job]()) {
		if field.Anonymous {
			continue
		}
		if field.Tag.Get("json") == "" || field.Tag.Get("doc") == "" {
			t.Errorf("%s: no name or no documentation", field.Name)
		}
		for _, key := range []string{"min", "max", "above"} {
			if text, ok := field.Tag.Lookup(key); ok {
				if _, err := strconv.ParseFloat(text, 64); err != nil {
					t.Errorf("%s: %s: got %q, want a number", field.Name, key, text)
				}
			}
		}
	}
}

// Where there is one choice, it is named alone.
func TestValidateOneChoice(t *testing.T) {
	type version struct {
		Protocol string `json:"protocol" enum:"1"`
	}
	if err := ValidateTags(version{"2"}, version{}); err == nil || err.Detail != `protocol: got "2", want 1` {
		t.Errorf("got %v", err)
	}
}
