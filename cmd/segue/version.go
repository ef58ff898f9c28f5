package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is the module's version, or the commit that a clone was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

func runVersion(_ context.Context, env *environment, args []string) error {
	set := newFlags("version", "version", "Prints the version.\n")
	if err := parseOnly(set, args); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.stdout, "segue %s %s/%s %s\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	return err
}
