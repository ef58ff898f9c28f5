package main

import (
	"context"
	"fmt"
	"text/tabwriter"

	"segue/engine"
)

const aboutPrune = `Removes packed weights from segue's cache: of models that have gone or changed, of other versions of segue, damaged ones, and those
that no start has used for long. Models themselves are never touched; what is removed and needed again is packed again.
`

func runPrune(ctx context.Context, env *environment, args []string) error {
	set := newFlags("models prune", "models prune [flags]", aboutPrune)
	o := engine.NewPruneOptions()
	set.Float64Var(&o.UnusedDays, "unused-days", o.UnusedDays, "`N` what was not used for so many days goes too; 0: all")
	set.BoolVar(&o.DryRun, "dry-run", false, "only tell what would go")
	asJSON := set.Bool("json", false, "print as JSON")
	machine := machineFlags{threads: 1}
	machine.registerDevice(set)
	if err := parseOnly(set, args); err != nil {
		return err
	}
	return machine.withEngine(ctx, func(e *engine.Engine) error {
		result, err := e.Prune(ctx, o)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(env.stdout, result)
		}
		return printPruned(env, result)
	})
}

func printPruned(env *environment, r engine.PruneResult) error {
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, f := range r.Removed {
		fmt.Fprintf(table, "%s\t%s\t%s\n", megabytes(f.Bytes), f.Path, f.Reason)
	}
	for _, f := range r.Kept {
		if f.Reason != "" {
			fmt.Fprintf(table, "%s\t%s\t%s\n", megabytes(f.Bytes), f.Path, f.Reason)
		}
	}
	fmt.Fprintf(table, "%s %d files, %s; kept %d files, %s\n", verb, len(r.Removed), megabytes(r.RemovedBytes), len(r.Kept), megabytes(r.KeptBytes))
	return table.Flush()
}
