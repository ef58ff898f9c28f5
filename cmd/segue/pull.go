package main

import (
	"context"
	"fmt"

	"segue/engine"
)

const aboutPull = `Brings a model from the Hugging Face hub into its cache, where transformers finds it too, and prints its folder. NAME is a short name
of the catalog (musicgen-small, musicgen-stereo-large, …), or ORG/NAME of any repository that holds MusicGen weights. What is there already is
not fetched again; a cancelled download goes on where it stopped. HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE and HF_ENDPOINT are obeyed.
`

func runPull(ctx context.Context, env *environment, args []string) error {
	set := newFlags("pull", "pull NAME [flags]", aboutPull)
	revision := set.String("revision", "", "`NAME` branch, tag or commit (default main)")
	asJSON := set.Bool("json", false, "print the model as JSON")
	name, err := parseWith(set, "NAME", args)
	if err != nil {
		return err
	}
	machine := machineFlags{device: "cpu", threads: 1} // no model runs
	return machine.withEngine(ctx, func(e *engine.Engine) error {
		bar := newProgressBar(env)
		info, err := e.Pull(ctx, name, *revision, bar.report)
		bar.end()
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(env.stdout, info)
		}
		_, err = fmt.Fprintln(env.stdout, info.Path)
		return err
	})
}
