package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"segue/engine"
)

const aboutModels = `Lists the models that can be used by name, in the order in which names are looked up: the bundled one, the folders in
the models folder, the MusicGen models in the Hugging Face cache. A path to a folder works too.

segue models prune removes what segue has kept of models that are gone, changed or long unused; --help tells more.
`

func runModels(ctx context.Context, env *environment, args []string) error {
	if len(args) > 0 && args[0] == "prune" {
		return runPrune(ctx, env, args[1:])
	}
	set := newFlags(env, "models", "models [flags]", aboutModels)
	var machine machineFlags
	machine.register(set)
	asJSON := set.Bool("json", false, "print the list as JSON")
	if err := parseOnly(set, args); err != nil {
		return err
	}
	if machine.device == "auto" {
		machine.device = "cpu" // no model runs
	}
	return machine.withEngine(ctx, func(e *engine.Engine) error {
		list, err := e.Models(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.stdout, list)
		}
		return printModels(env, list)
	})
}

func printModels(env *environment, list []engine.ModelInfo) error {
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFROM\tSIZE\tPACKED\tCHANNELS\tWINDOW\tABOUT")
	for _, m := range list {
		about := m.Description
		if m.Problem != "" {
			about = "cannot be used: " + m.Problem
		}
		packed := "-"
		if m.PackedBytes > 0 {
			packed = megabytes(m.PackedBytes)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%.0f s\t%s\n", m.Name, m.Source, megabytes(m.Bytes), packed, m.Channels, m.MaxSeconds, about)
	}
	return table.Flush()
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
