package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"segue/engine"
	"segue/engine/bench"
)

const aboutDoctor = `Checks what segue needs on this machine and says what it found: the device, memory, where models and caches are, and a
self-test that makes one second of sound with the bundled model. Exits 1 if any of this fails, but not for a model that cannot be used.

With --report every op is also compared with its formula on the device and timed at the shapes of the published models, a GPU's
linears with every kernel that there is for them, which takes minutes, and all that is found goes to a file. For the first on a new kind of GPU: segue doctor --device metal --report metal.txt
`

// diagnosis is what the doctor found, one entry a line.
type diagnosis struct {
	Checks []finding `json:"checks"`
	OK     bool      `json:"ok"`
}

type finding struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func (d *diagnosis) add(name string, ok bool, format string, args ...any) {
	d.note(name, ok, format, args...)
	d.OK = d.OK && ok
}

// note adds what the machine is none the worse for.
func (d *diagnosis) note(name string, ok bool, format string, args ...any) {
	d.Checks = append(d.Checks, finding{name, ok, fmt.Sprintf(format, args...)})
}

func runDoctor(ctx context.Context, env *environment, args []string) error {
	set := newFlags("doctor", "doctor [flags]", aboutDoctor)
	var machine machineFlags
	machine.register(set)
	asJSON := set.Bool("json", false, "print as JSON")
	report := set.String("report", "", "`FILE` for every op's errors and times on this device")
	if err := parseOnly(set, args); err != nil {
		return err
	}
	if *report != "" {
		if err := bench.CheckFile(*report); err != nil { // before minutes of work
			return fmt.Errorf("--report: %w", err)
		}
	}
	d := &diagnosis{OK: true}
	d.add("version", true, "segue %s %s/%s %s", version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if err := d.examine(ctx, &machine); err != nil {
		return err
	}
	if *report != "" {
		if err := d.report(ctx, env, &machine, *report); err != nil {
			return err
		}
	}
	var err error
	if *asJSON {
		err = printJSON(env.stdout, d)
	} else {
		err = d.print(env.stdout)
	}
	if err == nil && !d.OK {
		return exitError(1)
	}
	return err
}

func (d *diagnosis) print(w io.Writer) error {
	var b strings.Builder
	for _, f := range d.Checks {
		mark := "ok  "
		if !f.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %-10s %s\n", mark, f.Name, f.Detail)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// examine opens the engine and tries it out. What fails is a finding; an error is that it was not asked rightly, or was stopped.
func (d *diagnosis) examine(ctx context.Context, machine *machineFlags) error {
	e, err := machine.openEngine()
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return err
	case err != nil:
		d.add("device", false, "%v", err)
		return nil
	}
	defer e.Close()
	status := e.Status()
	d.add("device", true, "%s: %s", status.Device, status.DeviceDetail)
	d.add("choice", true, "%s", status.DeviceChoice)
	models := machine.models
	if models == "" {
		models = defaultModels()
	}
	d.folder("models", models)
	d.folder("hub cache", hubConfig().Dir)
	d.folder("packed", packedDir())
	list, err := e.Models(ctx)
	if err != nil {
		d.add("list", false, "%v", err)
	}
	for _, m := range list {
		if m.Source == "catalog" {
			continue // not here, which is fine
		}
		d.note("model", m.Problem == "", "%s (%s, %s) %s", m.Name, m.Source, megabytes(m.Bytes), m.Problem)
	}
	d.selfTest(ctx, e)
	d.add("memory", true, "%s held by the process, %s by models and caches", megabytes(e.Status().MemoryBytes), megabytes(e.Status().DeviceBytes))
	return context.Cause(ctx)
}

func (d *diagnosis) folder(name, dir string) {
	if _, err := os.Stat(dir); err != nil {
		d.add(name, true, "%s: not there, which is fine", dir)
		return
	}
	d.add(name, true, "%s", dir)
}

// selfTest makes one second of sound with the bundled model, twice, and expects the same bytes.
func (d *diagnosis) selfTest(ctx context.Context, e *engine.Engine) {
	dir, err := os.MkdirTemp("", "segue-doctor-")
	if err != nil {
		d.add("self-test", false, "%v", err)
		return
	}
	defer os.RemoveAll(dir)
	job := engine.NewJob()
	job.Seconds, job.Seed = 1, 1
	var takes [2][]byte
	start := time.Now()
	for i := range takes {
		job.OutputPath = filepath.Join(dir, fmt.Sprintf("take%d.wav", i))
		if _, err := e.Run(ctx, job, func(engine.Progress) {}); err != nil {
			d.add("self-test", false, "%v", err)
			return
		}
		if takes[i], err = os.ReadFile(job.OutputPath); err != nil {
			d.add("self-test", false, "%v", err)
			return
		}
	}
	same := string(takes[0]) == string(takes[1])
	d.add("self-test", same, "one second of sound, twice, in %.2f s; same bytes: %v", time.Since(start).Seconds(), same)
}
