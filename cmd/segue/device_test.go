package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/kern"
)

// gpu is a backend with memory of its own.
type gpu struct {
	kern.Backend
	memory int64
}

func (g gpu) Device() kern.Device { return kern.Device{Backend: "cuda", Memory: g.memory} }

func TestDeviceChoice(t *testing.T) {
	all := slices.Clone(backends)
	defer func() { copy(backends, all) }()
	missing := func(*machineFlags) (kern.Backend, error) {
		return nil, fmt.Errorf("metal: %w: no\n such thing", kern.ErrUnavailable)
	}
	there := func(*machineFlags) (kern.Backend, error) { return gpu{memory: 8e9}, nil }
	broken := func(*machineFlags) (kern.Backend, error) { return nil, errors.New("cuda: it smokes") }
	cpu := func(*machineFlags) (kern.Backend, error) { return cpukern.Open(cpukern.Options{Threads: 1}) }
	type open = func(*machineFlags) (kern.Backend, error)
	for _, c := range []struct {
		metal, cuda  open
		device       string
		want, choice string // the backend, or the error
	}{
		{missing, there, "auto", "cuda", "metal: device unavailable: no such thing; cuda: the first that is there"},
		{missing, missing, "auto", "cpu", "; cpu: the first that is there"},
		{missing, there, "cpu", "cpu", "asked for"},
		{missing, there, "cuda", "cuda", "asked for"},
		{missing, there, "metal", "--device metal: metal: device unavailable", ""},
		{missing, broken, "auto", "cuda: it smokes (--device cpu does without it)", ""},
		{missing, broken, "cuda", "--device cuda: cuda: it smokes", ""},
		{missing, there, "abacus", `got "abacus", want auto, metal, cuda or cpu`, ""},
	} {
		backends[0].open, backends[1].open, backends[2].open = c.metal, c.cuda, cpu
		m := machineFlags{device: c.device}
		backend, choice, err := m.openBackend()
		if err != nil {
			if choice != "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.device, err, c.want)
			}
			continue
		}
		if got := backend.Device().Backend; got != c.want || !strings.Contains(choice, c.choice) {
			t.Errorf("%s: got %s, because %q, want %s, %q", c.device, got, choice, c.want, c.choice)
		}
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		megabytes, device, want int64
	}{{100, 8e9, 100e6}, {maxMemory, 8e9, 9223372036854e6}, {0, 8e9, 6e9}, {0, 0, physicalMemory() / 2}} {
		m := machineFlags{memory: c.megabytes}
		if got := m.budget(gpu{memory: c.device}); got != c.want {
			t.Errorf("--memory %d on a device with %d bytes: got %d, want %d", c.megabytes, c.device, got, c.want)
		}
	}
}

// A doctor who is called away has found no fault.
func TestDoctorStopped(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := signalError{syscall.SIGTERM}
	cancel(stop)
	if err := (&diagnosis{OK: true}).examine(ctx, &machineFlags{device: "cpu", threads: 1}); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

// A report is written without a device too: it says why there is none.
func TestDoctorReport(t *testing.T) {
	all := slices.Clone(backends)
	defer func() { copy(backends, all) }()
	backends[0].open = func(*machineFlags) (kern.Backend, error) {
		return nil, errors.New("metal: MTLDevice: no such selector")
	}
	d, path := &diagnosis{}, filepath.Join(t.TempDir(), "report.txt")
	d.add("device", false, "it smokes")
	if err := d.report(t.Context(), &environment{stderr: io.Discard}, &machineFlags{device: "metal"}, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	for _, want := range []string{"segue devel", "FAIL  device     it smokes", "no device: --device metal: metal: MTLDevice: no such selector"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("got %v, %q, want %q", err, text, want)
		}
	}
	if last := d.Checks[len(d.Checks)-1]; d.OK || last.Name != "report" || last.OK {
		t.Errorf("got %+v", d)
	}
}
