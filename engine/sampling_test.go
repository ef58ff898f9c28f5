package engine

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// What a file says is taken, what it does not say is not, and of other settings nobody cares.
func TestParseGeneration(t *testing.T) {
	for text, want := range map[string]Sampling{
		``:   fallback,
		`{}`: fallback,
		`{"temperature":null,"top_k":null,"top_p":null,"guidance_scale":null}`: fallback,
		`{"temperature":0.9,"top_k":20,"top_p":0.95,"guidance_scale":2.5}`:     {0.9, 20, 0.95, 2.5},
		`{"top_k":7}`:                           {1, 7, 1, 3},
		`{"top_k":0}`:                           {1, 0, 1, 3},
		`{"top_k":5e1}`:                         {1, 50, 1, 3},
		`{"guidance_scale":0,"do_sample":true}`: {1, 250, 1, 1}, // transformers: no guidance
		`{"guidance_scale":0.5,"do_sample":false,"TOP_K":7,"max_length":"x","_name":[{}]}`: {1, 250, 1, 1},
	} {
		var section json.RawMessage // nil where there is no file
		if text != "" {
			section = json.RawMessage(text)
		}
		o, err := parseGeneration(section)
		if got := fallback.with(o); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
}

// A setting that cannot be is named, with all others of its kind.
func TestParseGenerationRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"temperature":0}`:       "temperature: got 0, want 0.000001 to 10; mend it or take it out",
		`{"temperature":-0.5}`:    "temperature: got -0.5, want 0.000001 to 10; mend it or take it out",
		`{"temperature":1e-50}`:   "temperature: got 1e-50, want 0.000001 to 10; mend it or take it out",
		`{"top_k":-1}`:            "top_k: got -1, want 0 to 65536; mend it or take it out",
		`{"top_k":70000}`:         "top_k: got 70000, want 0 to 65536; mend it or take it out",
		`{"top_k":1.5}`:           "top_k: got 1.5, want a whole number; mend it or take it out",
		`{"top_k":1e400}`:         "top_k: got 1e400, want a number, 0 to 65536; mend it or take it out",
		`{"top_k":true}`:          "top_k: got true, want a number, 0 to 65536; mend it or take it out",
		`{"top_p":0}`:             "top_p: got 0, want 0.000001 to 1; mend it or take it out",
		`{"top_p":1.01}`:          "top_p: got 1.01, want 0.000001 to 1; mend it or take it out",
		`{"top_p":[0.9]}`:         "top_p: got an array, want a number, 0.000001 to 1; mend it or take it out",
		`{"guidance_scale":-1}`:   "guidance_scale: got -1, want 0 to 100; mend it or take it out",
		`{"guidance_scale":101}`:  "guidance_scale: got 101, want 0 to 100; mend it or take it out",
		`{"guidance_scale":{}}`:   "guidance_scale: got an object, want a number, 0 to 100; mend it or take it out",
		`{"guidance_scale":"\n"}`: `guidance_scale: got "\n", want a number, 0 to 100; mend it or take it out`,
		`{"top_k":"NaN","temperature":99}`: "temperature: got 99, want 0.000001 to 10; mend it or take it out\n" +
			`top_k: got "NaN", want a number, 0 to 65536; mend it or take it out`,
	} {
		if o, err := parseGeneration([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %+v, %v\nwant %s", text, o, err, want)
		}
	}
	if _, err := parseGeneration([]byte(`[]`)); err == nil {
		t.Error("an array was accepted")
	}
}

// Each setting has a name in checkpoints, and its documentation says what holds where nobody says anything.
func TestSamplingIsDocumented(t *testing.T) {
	options, otherwise := reflect.TypeFor[SamplingOptions](), reflect.ValueOf(fallback)
	for i := range options.NumField() {
		field := options.Field(i)
		value := otherwise.FieldByName(field.Name)
		if want := fmt.Sprintf("; absent: as the model says, else %v", value); !strings.HasSuffix(field.Tag.Get("doc"), want) || field.Tag.Get("checkpoint") == "" {
			t.Errorf("%s: got %q, want a name in checkpoints, and documentation that ends with %q", field.Name, field.Tag, want)
		}
		if got, _ := otherwise.Type().FieldByName(field.Name); strings.TrimSuffix(field.Tag.Get("json"), ",omitempty") != got.Tag.Get("json") {
			t.Errorf("%s: %q in a request, %q in an answer", field.Name, field.Tag.Get("json"), got.Tag.Get("json"))
		}
	}
	job := NewJob()
	job.Temperature, job.TopK, job.TopP, job.Guidance = &fallback.Temperature, &fallback.TopK, &fallback.TopP, &fallback.Guidance
	if err := job.Validate(); err != nil {
		t.Errorf("the fallback is not legal: %v", err)
	}
}

// FuzzParseGeneration: what a file may say is what a request may say.
func FuzzParseGeneration(f *testing.F) {
	for _, text := range []string{`null`, `{"temperature":0.9,"top_k":20,"top_p":0.95,"guidance_scale":2.5,"do_sample":false}`,
		`{"top_k":1e400}`, `{"top_k":65536.0,"guidance_scale":-0}`, `{"top_k":"\u202e","top_p":[]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return // the checkpoint's reader has refused it
		}
		o, err := parseGeneration(text)
		if err != nil {
			return
		}
		job := NewJob()
		job.SamplingOptions = o
		if e := job.Validate(); e != nil {
			t.Fatalf("%s: accepted, but %v", text, e)
		}
		s := fallback.with(o)
		if !(float32(s.Temperature) > 0 && float32(s.TopP) > 0 && float32(s.TopP) <= 1 && s.Guidance >= 1) {
			t.Fatalf("%s: got %+v", text, s)
		}
	})
}
