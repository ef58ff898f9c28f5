package engine

// Ranges and choices are written once, in the struct tags: min and max (inclusive), above (exclusive), enum (comma
// separated). A field that holds its default is always legal, so that "" and 0 can stand for "absent". Every problem is
// reported, not just the first: a host's author mends all parameters in one go.

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// The range of Rate, in Hz.
const (
	MinRate = 8000
	MaxRate = 384000
)

// Validate checks every field of the job against its tags. It returns nil, or one Error that holds all problems.
func (j Job) Validate() *Error { return ValidateTags(j, NewJob()) }

// ValidateTags checks the fields of params, a struct, against their tags; defaults is a value of the same type.
func ValidateTags(params, defaults any) *Error {
	value, preset := reflect.ValueOf(params), reflect.ValueOf(defaults)
	var problems []*Error
	for _, field := range reflect.VisibleFields(value.Type()) {
		if field.Anonymous || !field.IsExported() {
			continue
		}
		got := value.FieldByIndex(field.Index)
		if got.Comparable() && got.Equal(preset.FieldByIndex(field.Index)) {
			continue
		}
		if got.Kind() == reflect.Pointer { // not nil, which is the default of all that are optional
			got = got.Elem()
		}
		if want := violated(field.Tag, got); want != "" {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			problems = append(problems, Errorf(BadParam, name, "%s: got %s, want %s", name, quoted(got), want))
		}
	}
	return JoinErrors(problems)
}

// JoinErrors makes one Error of many: nil of none, the Error itself of one. Kind and Field are the first's; Err unwraps
// to all of them.
func JoinErrors(list []*Error) *Error {
	if len(list) == 0 {
		return nil
	}
	if len(list) == 1 {
		return list[0]
	}
	causes, details := make([]error, len(list)), make([]string, len(list))
	for i, e := range list {
		causes[i], details[i] = e, e.Detail
	}
	return &Error{Kind: list[0].Kind, Field: list[0].Field, Path: list[0].Path,
		Detail: strings.Join(details, "; "), Err: errors.Join(causes...)}
}

// violated returns what the tags allow when v is outside of it, and "" when v is legal.
func violated(tag reflect.StructTag, v reflect.Value) string {
	switch {
	case v.Type() == reflect.TypeFor[Rate]():
		if rate := v.Int(); rate < MinRate || rate > MaxRate {
			return "source or " + span(strconv.Itoa(MinRate), strconv.Itoa(MaxRate), "")
		}
	case v.CanInt():
		return outside(tag, float64(v.Int()))
	case v.CanFloat():
		return outside(tag, v.Float())
	case v.Kind() == reflect.String && tag.Get("enum") != "":
		choices := strings.Split(tag.Get("enum"), ",")
		if slices.Contains(choices, v.String()) {
			return ""
		}
		last := len(choices) - 1
		if last == 0 {
			return choices[0]
		}
		return strings.Join(choices[:last], ", ") + " or " + choices[last]
	}
	return ""
}

// outside returns the range of the tags when x is not in it. NaN and the infinities are in no range. Bounds up to 2^53
// are exact in float64, and so is the comparison of an int64 with them.
func outside(tag reflect.StructTag, x float64) string {
	low, high, above := tag.Get("min"), tag.Get("max"), tag.Get("above")
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0),
		low != "" && x < bound(low),
		high != "" && x > bound(high),
		above != "" && x <= bound(above):
		return span(low, high, above)
	}
	return ""
}

func span(low, high, above string) string {
	switch {
	case above != "" && high != "":
		return "more than " + above + ", at most " + high
	case above != "":
		return "a number more than " + above
	case low != "" && high != "":
		return low + " to " + high
	case low != "":
		return low + " or more"
	case high != "":
		return high + " or less"
	}
	return "a finite number"
}

// bound reads a tag; one that is not a number is no bound at all, which the test of the tags refuses.
func bound(s string) float64 {
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return x
}

func quoted(v reflect.Value) string {
	switch {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return strconv.Quote(v.String())
}
