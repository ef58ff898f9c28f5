package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"segue/engine"
)

const aboutModels = `Lists the models that can be used by name, in the order in which names are looked up: the bundled one, the folders in
the models folder, the MusicGen models in the Hugging Face cache. A path to a folder works too. What the catalog has beside
these, segue pull brings by its short name.

segue models prune removes what segue has kept of models that are gone, changed or long unused; --help tells more.
`

func runModels(ctx context.Context, env *environment, args []string) error {
	switch {
	case len(args) > 0 && args[0] == "prune":
		return runPrune(ctx, env, args[1:])
	case len(args) > 0 && !strings.HasPrefix(args[0], "-"):
		return usageError{fmt.Sprintf("models: got %q, want prune, or flags", args[0])}
	}
	set := newFlags("models", "models [flags]", aboutModels)
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
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, m.Source, orDash(megabytes(m.Bytes), m.Bytes > 0),
			orDash(megabytes(m.PackedBytes), m.PackedBytes > 0), orDash(fmt.Sprint(m.Channels), m.Channels > 0), orDash(fmt.Sprintf("%.0f s", m.MaxSeconds), m.MaxSeconds > 0), about)
	}
	return table.Flush()
}

// orDash is a cell of a table; a dash stands for what is not known.
func orDash(cell string, known bool) string {
	if !known {
		return "-"
	}
	return cell
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
