package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"segue/engine"
)

func runContinue(ctx context.Context, env *environment, args []string) error {
	job := engine.NewJob()
	return runJob(ctx, env, args, &job, true)
}

func runGenerate(ctx context.Context, env *environment, args []string) error {
	job := engine.NewJob()
	return runJob(ctx, env, args, &job, false)
}

const aboutContinue = `Continues an audio file and prints the path of the new one. The file itself is never changed.

  segue continue loop.wav                           ten more seconds, beside loop.wav
  segue continue loop.wav --include full            the loop, then what follows it
  segue continue loop.wav --variations 4 --text "dusty lofi drums"
`

const aboutGenerate = `Makes music from nothing, or from a description, and prints the path of the file.

  segue generate --text "dark techno, 132 bpm" --seconds 12
`

// runJob does one job for a person: flags in, a progress bar on the terminal, paths or JSON out.
func runJob(ctx context.Context, env *environment, args []string, job *engine.Job, hasInput bool) error {
	name, usage, about := "generate", "generate [flags]", aboutGenerate
	skip := []string{"path", "promptSeconds", "promptFrom", "include", "crossfadeMs", "level"}
	if hasInput {
		name, usage, about, skip = "continue", "continue FILE [flags]", aboutContinue, []string{"path"}
	}
	set := newFlags(name, usage, about)
	jobFlags(set, job, skip...)
	var machine machineFlags
	machine.register(set)
	asJSON := set.Bool("json", false, "print the whole result as JSON")
	var err error
	if hasInput {
		job.Path, err = parseWith(set, "FILE", args)
	} else {
		err = parseOnly(set, args)
	}
	if err != nil {
		return err
	}
	if job.Path == "-" || job.OutputPath == "-" {
		return usageError{name + ": got -, want a file's path: segue reads music from its end, and writes files whole"}
	}
	if err := job.Validate(); err != nil { // before a model is loaded
		return usageError{err.Error()}
	}
	return machine.withEngine(ctx, func(e *engine.Engine) error {
		bar := newProgressBar(env)
		result, err := e.Run(ctx, *job, bar.report)
		bar.end()
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.stdout, result)
		}
		return printResult(env, result)
	})
}

// printResult prints what a script wants to stdout, and to stderr what a person wants to know beside it.
func printResult(env *environment, r engine.Result) error {
	for _, warning := range r.Warnings {
		fmt.Fprintf(env.stderr, "%s\n", asFlags(warning))
	}
	for _, o := range r.Outputs {
		fmt.Fprintf(env.stderr, "seed %d\n", o.Seed)
		if _, err := fmt.Fprintln(env.stdout, o.Path); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
