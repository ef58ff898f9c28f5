package engine

// How codes are drawn. Three have a say, the first that speaks wins: the request, then the model's makers in the
// checkpoint's generation settings, then what the published models are run with.
//
//	request ─┐
//	model ───┼─► Sampling, once the model is there
//	fallback ┘
//
// Whether to draw at all (greedy) is the request's alone. A checkpoint's do_sample is not looked at: transformers takes
// false where a file says nothing, so false does not say that anybody wanted it, and greedy music goes in circles.

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"

	"segue/weights"
)

// SamplingOptions are the part of a Job that says how codes are drawn; nil is absent. The tag checkpoint is the name in a
// checkpoint's generation settings, for which the same ranges hold.
type SamplingOptions struct {
	Temperature *float64 `json:"temperature,omitempty" checkpoint:"temperature" doc:"randomness: 1 as trained, lower is safer; absent: as the model says, else 1" min:"0.000001" max:"10"`
	TopK        *int     `json:"topK,omitempty" checkpoint:"top_k" doc:"draw from the k most likely codes; 0: all; absent: as the model says, else 250" min:"0" max:"65536"`
	TopP        *float64 `json:"topP,omitempty" checkpoint:"top_p" doc:"draw from the most likely codes that together reach this probability; 1: all; absent: as the model says, else 1" min:"0.000001" max:"1"`
	Guidance    *float64 `json:"guidance,omitempty" checkpoint:"guidance_scale" doc:"how strongly to follow the text; 1: no guidance work; absent: as the model says, else 3" min:"0" max:"100"`
}

// Sampling is how codes are drawn: the settings of a job, or of a model where a job names none. Guidance works only where
// there is a text or a melody.
type Sampling struct {
	Temperature float64 `json:"temperature"`
	TopK        int     `json:"topK"` // 0: all
	TopP        float64 `json:"topP"` // 1: all
	Guidance    float64 `json:"guidance"`
}

// fallback is what the published models are run with.
var fallback = Sampling{Temperature: 1, TopK: 250, TopP: 1, Guidance: 3}

// with is s but for what o names.
func (s Sampling) with(o SamplingOptions) Sampling {
	return Sampling{
		Temperature: or(o.Temperature, s.Temperature), TopK: or(o.TopK, s.TopK),
		TopP: or(o.TopP, s.TopP), Guidance: or(o.Guidance, s.Guidance),
	}
}

func or[T any](named *T, otherwise T) T {
	if named == nil {
		return otherwise
	}
	return *named
}

// samplingOf is what a job that names nothing gets from a checkpoint.
func samplingOf(c *weights.Checkpoint) (Sampling, error) {
	o, err := parseGeneration(c.Section("generation"))
	if err != nil {
		file := "generation_config.json"
		if c.Layout == weights.Audiocraft {
			file = "generation settings"
		}
		return Sampling{}, fmt.Errorf("%s: %w", file, err)
	}
	return fallback.with(o), nil
}

// parseGeneration reads a checkpoint's generation settings, nil for none. It names every one that is out of its range.
func parseGeneration(section json.RawMessage) (SamplingOptions, error) {
	var o SamplingOptions
	var said map[string]json.RawMessage
	if section != nil {
		if err := json.Unmarshal(section, &said); err != nil {
			return o, fmt.Errorf("got no JSON object: %w", err)
		}
	}
	var problems []error
	v := reflect.ValueOf(&o).Elem()
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		name := tag.Get("checkpoint")
		text := said[name]
		if text == nil || string(text) == "null" {
			continue
		}
		got := reflect.New(v.Field(i).Type().Elem())
		if want := setNumber(got.Elem(), tag, text); want != "" {
			problems = append(problems, fmt.Errorf("%s: got %s, want %s; mend it or take it out", name, shown(text), want))
			continue
		}
		v.Field(i).Set(got)
	}
	if o.Guidance != nil {
		*o.Guidance = max(*o.Guidance, 1) // what reads these files guides above 1 only: less is a way to write none
	}
	return o, errors.Join(problems...)
}

// setNumber puts a JSON number into v, an int or a float64, or returns what its tags allow.
func setNumber(v reflect.Value, tag reflect.StructTag, text json.RawMessage) (want string) {
	var x float64
	if json.Unmarshal(text, &x) != nil {
		return "a number, " + span(tag.Get("min"), tag.Get("max"), "")
	}
	if want := outside(tag, x); want != "" {
		return want
	}
	if v.CanFloat() {
		v.SetFloat(x)
		return ""
	}
	if x != math.Trunc(x) {
		return "a whole number"
	}
	v.SetInt(int64(x))
	return ""
}

// shown is a JSON value as an error may show it.
func shown(text json.RawMessage) string {
	var s string
	switch {
	case json.Unmarshal(text, &s) == nil:
		return fmt.Sprintf("%.40q", s)
	case text[0] == '[':
		return "an array"
	case text[0] == '{':
		return "an object"
	}
	return fmt.Sprintf("%.40s", text)
}
