package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/metalkern"
)

// backends are the devices that segue can run on, the preferred first.
var backends = []struct {
	name string
	open func(m *machineFlags) (kern.Backend, error)
}{
	{"metal", openGPU("metal")},
	{"cuda", openGPU("cuda")},
	{"cpu", func(m *machineFlags) (kern.Backend, error) {
		return cpukern.Open(cpukern.Options{Threads: m.threads, ISA: os.Getenv("SEGUE_ISA")})
	}},
}

func openGPU(name string) func(*machineFlags) (kern.Backend, error) {
	return func(*machineFlags) (kern.Backend, error) { return metalkern.Open(metalkern.Options{Device: name}) }
}

func (m *machineFlags) registerDevice(set *flag.FlagSet) {
	set.StringVar(&m.device, "device", "auto", "`NAME` metal, cuda, cpu, or auto: the first of them that this machine has")
}

// openBackend opens the device asked for, or with auto the first that this machine has; choice says why it is that one.
// A device that is there and fails is an error and no reason to take the next.
func (m *machineFlags) openBackend() (backend kern.Backend, choice string, err error) {
	if m.threads < 0 || m.threads > 1024 {
		return nil, "", usageError{fmt.Sprintf("--threads: got %d, want 0 to 1024", m.threads)}
	}
	var skipped []string
	for _, b := range backends {
		if m.device != "auto" && m.device != b.name {
			continue
		}
		backend, err := b.open(m)
		switch {
		case err == nil && m.device != "auto":
			return backend, "asked for", nil
		case err == nil:
			return backend, strings.Join(append(skipped, b.name+": the first that is there"), "; "), nil
		case m.device != "auto":
			return nil, "", fmt.Errorf("--device %s: %w", b.name, err)
		case b.name == "cpu":
			return nil, "", fmt.Errorf("cpu: %w", err)
		case !errors.Is(err, kern.ErrUnavailable):
			return nil, "", fmt.Errorf("%s: %w (--device cpu does without it)", b.name, err)
		}
		skipped = append(skipped, oneLine(err)) // it names the device
	}
	return nil, "", usageError{fmt.Sprintf("--device: got %q, want auto, metal, cuda or cpu", m.device)}
}

// oneLine is an error as part of a sentence.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

const (
	megabyte  = 1_000_000                // bytes
	maxMemory = math.MaxInt64 / megabyte // in MB: more bytes than an int64 holds cannot be asked for
)

// budget is how many bytes models may hold together; 0 for no limit.
func (m *machineFlags) budget(backend kern.Backend) int64 {
	switch device := backend.Device(); {
	case m.memory > 0:
		return m.memory * megabyte
	case device.Memory > 0:
		return device.Memory / 4 * 3
	}
	return physicalMemory() / 2
}
