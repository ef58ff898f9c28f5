package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"segue/engine"
)

func tableRow(t testing.TB, name string) *method {
	t.Helper()
	for _, m := range methods() {
		if m.name == name {
			return &m
		}
	}
	t.Fatalf("no method %s", name)
	return nil
}

func decodeJob(t testing.TB, name, text string) (JobParams, error) {
	m := tableRow(t, name)
	params := m.fresh()
	raw := json.RawMessage(text)
	err := m.decode(&raw, params)
	return *params.(*JobParams), err
}

func TestParamsAccepted(t *testing.T) {
	tests := []struct {
		text string
		want func(*JobParams)
	}{
		{`{}`, func(*JobParams) {}},
		{`{"seconds":null,"progressToken":null,"bars":null,"nonsense":null}`, func(*JobParams) {}},
		{`{"seconds":2.5,"topK":50}`, func(p *JobParams) { p.Seconds, p.TopK = 2.5, new(50) }},
		{`{"topK":2.0,"variations":1e1}`, func(p *JobParams) { p.TopK, p.Variations = new(2), 10 }},
		{`{"topK":null,"temperature":null,"topP":null,"guidance":null}`, func(*JobParams) {}}, // the model's to say
		{`{"topK":250,"temperature":1,"topP":1,"guidance":3}`, func(p *JobParams) { p.TopK, p.Temperature, p.TopP, p.Guidance = new(250), new(1.0), new(1.0), new(3.0) }},
		{`{"topK":0,"guidance":0,"crossfadeMs":0,"channels":0}`, func(p *JobParams) { p.TopK, p.Guidance, p.CrossfadeMS = new(0), new(0.0), 0 }},
		{`{"seed":9007199254740991}`, func(p *JobParams) { p.Seed = 1<<53 - 1 }},
		{`{"seed":-1}`, func(*JobParams) {}},
		{`{"sampleRate":"source"}`, func(*JobParams) {}},
		{`{"sampleRate":48000}`, func(p *JobParams) { p.SampleRate = 48000 }},
		{`{"bits":16}`, func(p *JobParams) { p.Bits = "16" }},
		{`{"bits":"24"}`, func(p *JobParams) { p.Bits = "24" }},
		{`{"bits":"32f"}`, func(p *JobParams) { p.Bits = "32f" }},
		{`{"greedy":true,"text":"a \u00e9 <b>"}`, func(p *JobParams) { p.Greedy, p.Text = true, "a é <b>" }},
		{`{"progressToken":"a\/b"}`, func(p *JobParams) { p.ProgressToken = `"a/b"` }},
		{`{"progressToken":1.50}`, func(p *JobParams) { p.ProgressToken = "1.50" }},
		{`{"progress":true,"timeoutSeconds":1}`, func(p *JobParams) { p.Progress, p.TimeoutSeconds = true, 1 }},
	}
	for _, test := range tests {
		want := JobParams{Job: engine.NewJob()}
		test.want(&want)
		got, err := decodeJob(t, "generate", test.text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", test.text, got, err, want)
		}
	}
}

func TestParamsRefused(t *testing.T) {
	tests := []struct{ text, detail string }{
		{`{"PATH":"a"}`, `PATH: unknown parameter, did you mean path?`},
		{`{"prompt_seconds":1}`, `prompt_seconds: unknown parameter, did you mean promptSeconds?`},
		{`{"wat":1}`, `wat: unknown parameter`},
		{`{"secnds":1}`, `secnds: unknown parameter, did you mean seconds?`},
		{`{"temprature":1}`, `temprature: unknown parameter, did you mean temperature?`},
		{`{"Job":{}}`, `Job: unknown parameter`},
		{`{"seconds":"10"}`, `seconds: got "10", want a number`},
		{`{"seconds":1e400}`, `seconds: got 1e400, want a smaller number`},
		{`{"seconds":0}`, `seconds: got 0, want a number more than 0`},
		{`{"seconds":[1]}`, `seconds: got an array, want a number`},
		{`{"temperature":-1,"topP":0,"guidance":-1}`, `temperature: got -1, want 0.000001 to 10; topP: got 0, want 0.000001 to 1; guidance: got -1, want 0 to 100`},
		{`{"temperature":"1","topP":[]}`, `temperature: got "1", want a number; topP: got an array, want a number`},
		{`{"topK":1.5}`, `topK: got 1.5, want a whole number`},
		{`{"topK":1e30}`, `topK: got 1e30, want a smaller number`},
		{`{"topK":70000}`, `topK: got 70000, want 0 to 65536`},
		{`{"seed":9007199254740993}`, `seed: got 9007199254740993, want -1 to 9007199254740991`},
		{`{"seed":9223372036854775808}`, `seed: got 9223372036854775808, want a smaller number`},
		{`{"text":5}`, `text: got 5, want a string`},
		{`{"text":{}}`, `text: got an object, want a string`},
		{`{"greedy":1}`, `greedy: got 1, want true or false`},
		{`{"greedy":"true"}`, `greedy: got "true", want true or false`},
		{`{"sampleRate":"44100"}`, `sampleRate: got "44100", want a rate in Hz or source`},
		{`{"sampleRate":1}`, `sampleRate: got 1, want source or 8000 to 384000`},
		{`{"bits":32}`, `bits: got "32", want 16, 24 or 32f`},
		{`{"bits":true}`, `bits: got true, want a string`},
		{`{"include":"both"}`, `include: got "both", want continuation or full`},
		{`{"progressToken":{}}`, `progressToken: got an object, want a string or a number`},
		{`{"timeoutSeconds":-1}`, `timeoutSeconds: got -1, want 0 to 604800`},
		{`{"bars":4}`, `bars: not supported by this version; use seconds`},
		{`[1,2]`, `params: got an array, want an object with named members`},
		{`{"topK":-1,"zzz":0,"seconds":"x"}`, `seconds: got "x", want a number; zzz: unknown parameter; topK: got -1, want 0 to 65536`},
	}
	for _, test := range tests {
		if _, err := decodeJob(t, "generate", test.text); err == nil || err.Error() != test.detail {
			t.Errorf("%s:\n got %v\nwant %s", test.text, err, test.detail)
		}
	}
}

// A message full of unknown parameters is answered in few words, and soon.
func TestManyUnknownParams(t *testing.T) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, `,"%0100d":1`, i)
	}
	_, err := decodeJob(t, "generate", "{"+text.String()[1:]+"}")
	if err == nil {
		t.Fatal("got no error")
	}
	answer := wireError(err)
	if n := len(answer.Message) + len(*answer.Data); n > 16<<10 || !strings.Contains(answer.Message, "and 99984 more unknown parameters") {
		t.Errorf("got %d bytes: %.400s", n, answer.Message)
	}
}

func TestParamsOfContinueAndGenerateDifferInPath(t *testing.T) {
	for text, want := range map[string]string{
		`continue {}`:              "path: got none; continue needs it",
		`continue {"path":""}`:     "path: got none; continue needs it",
		`continue {"path":null}`:   "path: got none; continue needs it",
		`generate {"path":"a"}`:    "path: not a parameter of generate",
		`audio/probe {}`:           "path: got none; audio/probe needs it",
		`models/load {"bars":1}`:   "bars: unknown parameter",
		`ping {"loud":true}`:       "loud: unknown parameter",
		`initialize {"rootUri":1}`: "",
	} {
		name, params, _ := strings.Cut(text, " ")
		m, raw := tableRow(t, name), json.RawMessage(params)
		got := ""
		if err := m.decode(&raw, m.fresh()); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestErrorsOfParamsAreListed(t *testing.T) {
	_, err := decodeJob(t, "continue", `{"topK":-1,"bars":2}`)
	failure := wireError(err)
	var data ErrorData
	if json.Unmarshal(*failure.Data, &data) != nil || failure.Code != -32602 {
		t.Fatalf("got %v", failure)
	}
	want := []FieldError{
		{"bars", "bars: not supported by this version; use seconds"},
		{"path", "path: got none; continue needs it"},
		{"topK", "topK: got -1, want 0 to 65536"},
	}
	if !reflect.DeepEqual(data.Errors, want) || data.Field != "bars" || data.Retryable {
		t.Errorf("got %+v", data)
	}
}

func TestEveryKindHasACode(t *testing.T) {
	seen := map[int64]errorKind{}
	for _, c := range errorCodes {
		if got := wireError(engine.Errorf(c.kind, "", "x")); got.Code != c.code {
			t.Errorf("%s: got %d, want %d", c.kind, got.Code, c.code)
		}
		if other, taken := seen[c.code]; taken && c.code > -32000 {
			t.Errorf("%d: both %s and %s", c.code, other, c.kind)
		}
		seen[c.code] = c.kind
	}
	if got := wireError(errors.New("x")); got.Code != -32603 {
		t.Errorf("a plain error: got %d, want -32603", got.Code)
	}
	if got := wireError(engine.Errorf("new.kind", "", "x")); got.Code != -32603 {
		t.Errorf("an unknown kind: got %d, want -32603", got.Code)
	}
}

func FuzzParams(f *testing.F) {
	for _, text := range []string{`{}`, `{"path":"a","seconds":1e1,"bits":24,"sampleRate":"source"}`, `{"topK":1e400}`, `{"topK":0,"temperature":0.5,"guidance":0}`, `{"a, b":1}`,
		`{"progressToken":"x","timeoutSeconds":0.1}`, `{"error decoding 'x': ":1}`, `[[]]`, `{"":0}`} {
		f.Add(text)
	}
	// Property: what is accepted is legal and finite, and encodes to parameters that are accepted and equal.
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeJob(t, "continue", text)
		if err != nil {
			if failure := wireError(err); failure.Code != -32602 {
				t.Fatalf("got %v, want -32602", failure)
			}
			return
		}
		if e := got.Validate(); e != nil || math.IsInf(got.Seconds+got.TimeoutSeconds, 0) || got.Guidance != nil && math.IsInf(*got.Guidance, 0) {
			t.Fatalf("%s: accepted, but %v", text, e)
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		// A zero that omitempty drops would come back as the default; only then may the two differ.
		if second, err := decodeJob(t, "continue", string(again)); err != nil || second.Path != got.Path || second.Seconds != got.Seconds || second.Bits != got.Bits || second.SampleRate != got.SampleRate || second.ProgressToken != got.ProgressToken || !reflect.DeepEqual(second.SamplingOptions, got.SamplingOptions) {
			t.Fatalf("%s: got %+v, then %+v, %v", text, got, second, err)
		}
	})
}
