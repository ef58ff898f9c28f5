package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"segue/engine/verify"
)

const aboutVerify = `Compares a checkpoint, run by segue, with the reference's results on it: token ids, text states, codec embeddings, codes and
audio, logits, greedy codes, sampling filters. DIR holds a checkpoint, golden.safetensors and golden.json (scripts/golden makes such
folders). Exits 1 if any comparison fails.

  segue verify testdata/goldens/mono
  segue verify testdata/goldens/mono-audiocraft --base testdata/goldens/mono --golden testdata/goldens/mono/golden.safetensors
`

func runVerify(ctx context.Context, env *environment, args []string) error {
	set := newFlags("verify", "verify DIR [flags]", aboutVerify)
	machine := machineFlags{}
	machine.registerDevice(set)
	set.IntVar(&machine.threads, "threads", 0, "`N` CPU threads; 0: all cores, less one when there are more than four")
	set.StringVar(&machine.base, "base", "", "`DIR` supplies text encoder, tokenizer and codec to an audiocraft checkpoint")
	goldenPath := set.String("golden", "", "`FILE` reference results (default DIR/golden.safetensors)")
	asJSON := set.Bool("json", false, "print the rows as JSON")
	dir, err := parseWith(set, "DIR", args)
	if err != nil {
		return err
	}
	if *goldenPath == "" {
		*goldenPath = filepath.Join(dir, "golden.safetensors")
	}
	rows, err := machine.verify(ctx, dir, *goldenPath)
	if err != nil {
		return err
	}
	failed := 0
	for _, row := range rows {
		if !row.Pass {
			failed++
		}
	}
	if *asJSON {
		err = printJSON(env.stdout, rows)
	} else {
		err = printRows(env.stdout, rows, failed)
	}
	if err == nil && failed > 0 {
		return exitError(1)
	}
	return err
}

func (m *machineFlags) verify(ctx context.Context, dir, goldenPath string) ([]verify.Row, error) {
	golden, err := verify.OpenGolden(goldenPath)
	if err != nil {
		return nil, err
	}
	defer golden.Close()
	backend, _, err := m.openBackend()
	if err != nil {
		return nil, err
	}
	defer backend.Close()
	return verify.Run(ctx, backend, dir, m.base, golden)
}

func printRows(w io.Writer, rows []verify.Row, failed int) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPARISON\tMAX ABS ERROR\tNMSE\tTOLERANCE\t\t")
	for _, r := range rows {
		verdict := "pass"
		if !r.Pass {
			verdict = "FAIL"
		}
		fmt.Fprintf(table, "%s\t%.3g\t%.3g\t%.3g\t%s\t%s\n", r.Name, r.MaxAbs, r.NMSE, r.Tolerance, verdict, r.Note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d comparisons, %d failed\n", len(rows), failed)
	return err
}
