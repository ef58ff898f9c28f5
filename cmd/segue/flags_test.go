package main

import (
	"flag"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"segue/engine"
)

// A flag's help names every choice there is, and other flags by their own names.
func TestHelpOfJobFlags(t *testing.T) {
	job := engine.NewJob()
	set := flag.NewFlagSet("continue", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	jobFlags(set, &job)
	for _, field := range reflect.VisibleFields(reflect.TypeFor[engine.Job]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		f := set.Lookup(kebab(name))
		if f == nil {
			continue // of an embedded struct
		}
		if field.Type.Kind() == reflect.Pointer && (f.DefValue != "" || !strings.Contains(f.Usage, "absent: as the model says, else ")) {
			t.Errorf("--%s: default %q, help %q; want none, and that the model says", f.Name, f.DefValue, f.Usage)
		}
		if name := regexp.MustCompile(`[a-z][A-Z]`).FindString(f.Usage); name != "" {
			t.Errorf("--%s: the help %q names a parameter of the protocol", f.Name, f.Usage)
		}
		for choice := range strings.SplitSeq(field.Tag.Get("enum"), ",") {
			if !strings.Contains(f.Usage, choice) {
				t.Errorf("--%s: the help %q does not tell of %s", f.Name, f.Usage, choice)
			}
		}
	}
}

// A flag that is not given leaves a setting to the model, one that is given names it, zero too.
func TestFlagsNameSettings(t *testing.T) {
	job := engine.NewJob()
	set := flag.NewFlagSet("continue", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	jobFlags(set, &job)
	if err := set.Parse([]string{"--top-k", "0", "--guidance=2.5", "--guidance", "1"}); err != nil {
		t.Fatal(err)
	}
	want := engine.SamplingOptions{TopK: new(0), Guidance: new(1.0)}
	if !reflect.DeepEqual(job.SamplingOptions, want) {
		t.Errorf("got %+v, want top-k 0, guidance 1 and nothing else", job.SamplingOptions)
	}
	if got := set.Lookup("guidance").Value.String(); got != "1" {
		t.Errorf("--guidance reads back as %q, want 1", got)
	}
	for _, args := range [][]string{{"--top-k", "1.5"}, {"--temperature", "hot"}} {
		if err := set.Parse(args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}
