// Package metalkern runs the op list of kern on a GPU: Apple's by Metal, NVIDIA's by CUDA. The ops, the kernels and their
// order are written once; what differs between the two lies behind package driver.
//
//	Stream.Linear(args) ── check operands ──► constants, buffers ── hazards ──► driver.Queue ──► the GPU
//
// Ops are recorded and run when they are submitted. The oddity: the driver orders nothing by itself, so the stream keeps
// what was read and written since the last barrier, and puts one in where an op would come too close (hazards.go).
package metalkern

import (
	"fmt"

	"segue/engine/kern"
	"segue/metalkern/cuda"
	"segue/metalkern/driver"
	"segue/metalkern/kernels"
	"segue/metalkern/metal"
)

// Options configure Open.
type Options struct {
	Device string // "metal" or "cuda"
}

// openers find a GPU. They wrap kern.ErrUnavailable where there is none.
var openers = map[string]func() (driver.Device, error){
	"metal": func() (driver.Device, error) { return metal.Open(kernels.Source) },
	"cuda":  cuda.Open,
}

// Open starts a backend on the GPU that o names.
func Open(o Options) (kern.Backend, error) {
	open := openers[o.Device]
	if open == nil {
		return nil, fmt.Errorf("metalkern: device: got %q, want metal or cuda", o.Device)
	}
	device, err := open()
	if err != nil {
		return nil, err
	}
	return New(device)
}
