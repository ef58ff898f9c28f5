package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"segue/engine"
)

const aboutProbe = `Tells what an audio file is: format, length, peak, loudness, tempo. Needs no model.
`

func runProbe(ctx context.Context, env *environment, args []string) error {
	set := newFlags("probe", "probe FILE [flags]", aboutProbe)
	asJSON := set.Bool("json", false, "print as JSON")
	file, err := parseWith(set, "FILE", args)
	if err != nil {
		return err
	}
	machine := machineFlags{device: "cpu", threads: 1} // no model runs
	return machine.withEngine(ctx, func(e *engine.Engine) error {
		info, err := e.Probe(ctx, file)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env.stdout, info)
		}
		return printProbe(env.stdout, info)
	})
}

func printProbe(w io.Writer, p engine.AudioInfo) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s, %s, %d Hz, %d channels\n  %.3f s, %d frames\n", p.Path, p.Format, p.Encoding, p.SampleRate, p.Channels, p.Seconds, p.Frames)
	measure := func(name, unit string, v *float64) {
		if v == nil {
			fmt.Fprintf(&b, "  %s: none found\n", name)
		} else {
			fmt.Fprintf(&b, "  %s: %g %s\n", name, *v, unit)
		}
	}
	measure("peak", "dBFS", p.PeakDB)
	measure("loudness", "LUFS", p.Loudness)
	measure("tempo", "bpm", p.Tempo)
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "  note: %s\n", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
