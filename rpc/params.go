package rpc

// Strict parameters. encoding/json would take "PATH" for path and drop what it does not know, so the text is decoded
// into a map with exact numbers and put into the struct by mapstructure, with every conversion spelled out in convert.
// null means absent. All problems are reported in one answer.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/mitchellh/mapstructure"

	"segue/engine"
)

// planned are parameters of jobs that the protocol knows and this version does not, and what to do instead.
var planned = map[string]string{
	"promptBars": "use promptSeconds",
	"bars":       "use seconds",
	"bpm":        "use promptSeconds and seconds",
	"stride":     "leave it out",
	"stream":     "wait for the answer",
}

// decode puts raw into params, a pointer to a struct that holds the defaults.
func (m *method) decode(raw *json.RawMessage, params any) error {
	values, err := object(raw)
	if err != nil {
		return err
	}
	target := reflect.ValueOf(params).Elem()
	defaults := reflect.New(target.Type()).Elem()
	defaults.Set(target)

	problems := m.checkNames(values)
	problems = append(problems, fill(values, params, !m.lenient)...)
	if e := engine.ValidateTags(target.Interface(), defaults.Interface()); e != nil {
		problems = append(problems, flatten(e)...)
	}
	if e := engine.JoinErrors(problems); e != nil {
		return e
	}
	return nil
}

// object decodes a JSON object, with numbers as they were written, and without the members that are null.
func object(raw *json.RawMessage) (map[string]any, error) {
	values := map[string]any{}
	if raw == nil {
		return values, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(*raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, engine.Errorf(engine.BadParam, "", "params: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, engine.Errorf(engine.BadParam, "", "params: more than one value")
	}
	if list, ok := v.([]any); v == nil || ok && len(list) == 0 { // [] is how some hosts write none
		return values, nil
	}
	values, ok := v.(map[string]any)
	if !ok {
		return nil, engine.Errorf(engine.BadParam, "", "params: got %s, want an object with named members", describe(v))
	}
	maps.DeleteFunc(values, func(_ string, v any) bool { return v == nil })
	return values, nil
}

// checkNames takes the names out of values that this method refuses, and reports them and those that are missing.
func (m *method) checkNames(values map[string]any) []*engine.Error {
	var problems []*engine.Error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		instead, later := planned[name]
		switch {
		case later && m.job:
			problems = append(problems, engine.Errorf(engine.Unsupported, name, "%s: not supported by this version; %s", name, instead))
		case name == m.without:
			problems = append(problems, engine.Errorf(engine.BadParam, name, "%s: not a parameter of %s", name, m.name))
		default:
			continue
		}
		delete(values, name)
	}
	if name := m.required; name != "" && (values[name] == nil || values[name] == "") {
		problems = append(problems, engine.Errorf(engine.BadParam, name, "%s: got none; %s needs it", name, m.name))
	}
	return problems
}

// fill moves values into the struct that params points to.
func fill(values map[string]any, params any, strict bool) []*engine.Error {
	decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:      params,
		TagName:     "json",
		ErrorUnused: strict,
		MatchName:   func(key, field string) bool { return key == field },
		DecodeHook:  convert,
	})
	if err == nil {
		err = decoder.Decode(values)
	}
	if err == nil {
		return nil
	}
	failed, ok := err.(*mapstructure.Error)
	if !ok {
		return []*engine.Error{engine.Errorf(engine.BadParam, "", "params: %w", err)}
	}
	var problems []*engine.Error
	for _, text := range failed.Errors {
		problems = append(problems, explain(text, reflect.TypeOf(params).Elem())...)
	}
	return problems
}

// explain makes our errors of mapstructure's texts: it has no other form of them.
func explain(text string, params reflect.Type) []*engine.Error {
	if _, names, ok := strings.Cut(text, "' has invalid keys: "); ok {
		return unknown(strings.Split(names, ", "), params)
	}
	rest, ok := strings.CutPrefix(text, "error decoding '")
	name, detail, cut := strings.Cut(rest, "': ")
	if !ok || !cut {
		return []*engine.Error{engine.Errorf(engine.BadParam, "", "params: %s", text)}
	}
	return []*engine.Error{engine.Errorf(engine.BadParam, name, "%s: %s", name, detail)}
}

// namedUnknowns is how many unknown parameters an answer names: a message of nothing else has a hundred thousand.
const namedUnknowns = 16

func unknown(names []string, params reflect.Type) (problems []*engine.Error) {
	for _, name := range names[:min(len(names), namedUnknowns)] {
		short := fmt.Sprintf("%.60s", name)
		problems = append(problems, engine.Errorf(engine.BadParam, short, "%s: unknown parameter%s", short, similar(name, params)))
	}
	if more := len(names) - namedUnknowns; more > 0 {
		problems = append(problems, engine.Errorf(engine.BadParam, "", "and %d more unknown parameters", more))
	}
	return problems
}

// similar proposes a parameter for an unknown name.
func similar(name string, params reflect.Type) string {
	var known []string
	for _, field := range reflect.VisibleFields(params) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			known = append(known, name)
		}
	}
	if nearest := Nearest(name, known); nearest != "" {
		return ", did you mean " + nearest + "?"
	}
	return ""
}

// Nearest is the known name that somebody may have meant: it differs in case and punctuation only, as prompt_seconds does from
// promptSeconds, or by two letters of at least five. It is "" where there is none.
func Nearest(name string, known []string) (nearest string) {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
	}
	least := 3
	if name = plain(name); len(name) < 5 {
		least = 1
	}
	if len(name) > 60 {
		return ""
	}
	for _, one := range known {
		if apart := levenshtein.ComputeDistance(plain(one), name); apart < least {
			nearest, least = one, apart
		}
	}
	return nearest
}

// flatten returns the single problems of e.
func flatten(e *engine.Error) []*engine.Error {
	if list := parts(e); list != nil {
		return list
	}
	return []*engine.Error{e}
}

// convert is the one hook of mapstructure: it sees each value with the field it is for, and makes the field's type of
// it or says what it wants.
func convert(from, to reflect.Value) (any, error) {
	v := from.Interface()
	number, isNumber := v.(json.Number)
	switch to.Type() {
	case reflect.TypeFor[engine.Rate]():
		if v == "source" {
			return 0, nil
		}
		if !isNumber {
			return nil, wanted(v, "a rate in Hz or source")
		}
	case reflect.TypeFor[engine.Bits]():
		if isNumber {
			return string(number), nil // 16 and 24; what else it may be is the tags' matter
		}
	case reflect.TypeFor[Token]():
		return token(v)
	}
	switch kind := to.Kind(); {
	case to.CanInt() && isNumber:
		return whole(number, to)
	case to.CanInt():
		return nil, wanted(v, "a whole number")
	case to.CanFloat() && isNumber:
		return finite(number)
	case to.CanFloat():
		return nil, wanted(v, "a number")
	case kind == reflect.String && (isNumber || from.Kind() != reflect.String):
		return nil, wanted(v, "a string")
	case kind == reflect.Bool && from.Kind() != reflect.Bool:
		return nil, wanted(v, "true or false")
	case kind == reflect.Struct && from.Kind() != reflect.Map:
		return nil, wanted(v, "an object")
	}
	return v, nil
}

func token(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return string(v), nil
	case string:
		text, err := json.Marshal(v)
		return string(text), err
	}
	return nil, wanted(v, "a string or a number")
}

// whole accepts 2.0 and 1e3, which some hosts write, but nothing with a fraction, and nothing that a float64 has rounded.
func whole(n json.Number, to reflect.Value) (any, error) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil {
		x, _ := strconv.ParseFloat(string(n), 64)
		if x != math.Trunc(x) {
			return nil, wanted(n, "a whole number")
		}
		if math.Abs(x) > 1<<53 {
			return nil, wanted(n, "a smaller number")
		}
		i = int64(x)
	}
	if to.OverflowInt(i) {
		return nil, wanted(n, "a smaller number")
	}
	return i, nil
}

func finite(n json.Number) (any, error) {
	x, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return nil, wanted(n, "a smaller number")
	}
	return x, nil
}

func wanted(v any, want string) error { return fmt.Errorf("got %s, want %s", describe(v), want) }

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.40q", v)
	case json.Number:
		return fmt.Sprintf("%.40s", string(v))
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprint(v)
}
