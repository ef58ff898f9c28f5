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
