package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime"

	"segue/engine/bench"
	"segue/engine/kern"
	"segue/engine/kern/kerntest"
)

// report writes what a maintainer without this device needs to know of it: what the doctor found, how fast its memory is
// read, also in mapped files, each op that misses its formula, each op's time, and the best kernel of each linear.
func (d *diagnosis) report(ctx context.Context, env *environment, machine *machineFlags, path string) error {
	return bench.WriteFile(path, func(file io.Writer) error { return d.writeReport(ctx, env, machine, path, bufio.NewWriter(file)) })
}

func (d *diagnosis) writeReport(ctx context.Context, env *environment, machine *machineFlags, path string, w *bufio.Writer) error {
	fmt.Fprintf(w, "segue %s, %s/%s, %s, %d processors\n", version(), runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.NumCPU())
	d.print(w)
	backend, choice, err := machine.openBackend()
	if err != nil {
		fmt.Fprintf(w, "\nno device: %v\n", err) // a report too: it says why
		d.add("report", false, "no device; %s says why", path)
		return w.Flush()
	}
	defer backend.Close()
	fmt.Fprintf(w, "\n%+v (%s)\n", backend.Device(), choice)
	fmt.Fprint(env.stderr, "segue: comparing and timing every op; this takes minutes\n")
	limit := readSpeed(w, backend)
	wrong := writePacked(ctx, w, backend, packedSide)
	wrong += writeErrors(ctx, w, backend)
	if ctx.Err() == nil {
		wrong += writeTimes(ctx, w, backend, limit)
	}
	wrong += writeTuning(ctx, w, backend, limit, publishedModels(), tunedEffort)
	d.add("report", wrong == 0, "%d ops wrong; %s has all", wrong, path)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return w.Flush()
}

// readSpeed is bytes per second of a plain read, 0 where the device cannot tell.
func readSpeed(w io.Writer, backend kern.Backend) (best float64) {
	prober, ok := backend.(kern.Prober)
	if !ok {
		return 0
	}
	read, release, err := prober.ReadProbe()
	if err != nil {
		fmt.Fprintf(w, "plain read: %v\n", err)
		return 0
	}
	defer release()
	for range 5 {
		best = max(best, read())
	}
	fmt.Fprintf(w, "plain read: %.1f GB/s\n", best/1e9)
	return best
}

func writeErrors(ctx context.Context, w io.Writer, backend kern.Backend) (wrong int) {
	rows := 0
	fmt.Fprint(w, "\nops against their formulas:\n")
	kerntest.Examine(backend, func(row string, complaints []string) bool {
		rows++
		if len(complaints) > 0 {
			wrong++
		}
		for _, c := range complaints {
			fmt.Fprintf(w, "  %s: %s\n", row, c)
		}
		return ctx.Err() == nil
	})
	fmt.Fprintf(w, "%d rows, %d wrong\n", rows, wrong)
	return wrong
}

func writeTimes(ctx context.Context, w io.Writer, backend kern.Backend, limit float64) (wrong int) {
	fmt.Fprintf(w, "\n%-28s %10s %10s %8s\n", "op", "µs", "GB/s", "of read")
	kerntest.Time(backend, func(t kerntest.Timing) bool {
		if len(t.Wrong) > 0 {
			wrong++
			fmt.Fprintf(w, "%-28s %v\n", t.Row, t.Wrong)
			return ctx.Err() == nil
		}
		fmt.Fprintf(w, "%-28s %10.1f", t.Row, float64(t.One.Nanoseconds())/1e3)
		if speed := float64(t.Bytes) / t.One.Seconds(); t.Bytes > 0 && limit > 0 {
			fmt.Fprintf(w, " %10.1f %6.0f %%", speed/1e9, 100*speed/limit)
		}
		fmt.Fprintln(w)
		return ctx.Err() == nil
	})
	return wrong
}
