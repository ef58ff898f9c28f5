// Package driver is what metalkern asks of a GPU: memory, kernels by name, and a queue that runs them. Package metal
// implements it with Apple's framework, package cuda with NVIDIA's driver; the kernels are the same text for both.
//
//	metalkern's stream ── Dispatch, Barrier ──► Queue ── Commit ──► the device
//	                   ◄── Wait, Read ────────
//
// The model is Metal's with a concurrent encoder: dispatches may run in any order and at the
// same time, unless a Barrier stands between them. Everything before a barrier is finished and visible to everything
// after it. Commits of one queue run in order, with a barrier between.
package driver

import "time"

// Device is one GPU. Its methods may be called from any goroutine.
type Device interface {
	Info() Info
	// Buffer returns zeroed memory of at least bytes bytes, which is more than 0.
	Buffer(bytes int64) (Buffer, error)
	// Wrap makes a buffer of the processor's memory, which kernels read where it lies; only where Info.Unified. memory is whole
	// pages, and they stay mapped until the buffer is freed. Nothing may write it.
	Wrap(memory []byte) (Buffer, error)
	// Library compiles or loads the kernels of a file of package kernels, named without its ending. The compiler's words
	// are in the error. Asking twice returns the same library.
	Library(name string) (Library, error)
	Queue() (Queue, error)
	// Allocated is the bytes of device memory now held by buffers.
	Allocated() int64
	Close() error
}

// Info describes a device.
type Info struct {
	Backend string // "metal" or "cuda"
	Name    string // the GPU by its maker's name
	Detail  string // driver, operating system, GPU family: what a bug report needs
	Memory  int64  // bytes that buffers may use in all, 0 if unknown
	Largest int64  // bytes of the largest buffer, 0 if unlimited
	Unified bool   // the processor reads and writes buffers in place
	Cores   int    // multiprocessors, 0 if unknown: what splits of work are chosen by
	// Warpgroups: simdgroups multiply by fours, and the library of tiles has those of linear.go for that instead of the others.
	Warpgroups bool
	// Settling is how long work of a new shape has to be repeated until it is as fast as it will be.
	Settling time.Duration
}

// Buffer is a region of device memory. Freeing twice is harmless; a buffer must not be freed while the device may use it.
type Buffer interface {
	Bytes() int64
	// Contents is the memory itself where Info.Unified and the buffer is not a wrapped one, else nil. The processor may touch
	// it while the device does not use it.
	Contents() []byte
	Free()
}

// Library is the compiled kernels of one file.
type Library interface {
	// Pipeline makes a kernel ready. A device that can trade registers for threads lets its threadgroups have as many as
	// wanted; 0: whatever comes of it.
	Pipeline(kernel string, threads int) (Pipeline, error)
}

// Pipeline is one kernel, ready to run.
type Pipeline interface {
	// MaxThreads is the largest threadgroup that this kernel can run with on this device.
	MaxThreads() int
}

// Size counts threadgroups of a grid. No part may be 0.
type Size struct{ X, Y, Z int }

// Binding is a place in a buffer, in bytes. Kernels may ask for an offset divisible by 4 at least.
type Binding struct {
	Buffer Buffer
	Offset int64
}

// Queue records dispatches and runs them. It belongs to one goroutine at a time.
//
// It remembers the first error; what is recorded after it is dropped, and Commit, Wait and Read return it until Reset.
// No method but the first uses of a larger shape allocates.
type Queue interface {
	// Dispatch records one kernel over groups threadgroups, each a row of threads threads. constants become buffer 0 of the
	// kernel (at most MaxConstants bytes, copied before Dispatch returns); bindings[i] becomes buffer i+1.
	Dispatch(p Pipeline, groups Size, threads int, constants []byte, bindings []Binding)
	// Barrier orders everything recorded before it before everything recorded after it.
	Barrier()
	// Commit sends what was recorded and returns at once. Fences count up from 1.
	Commit() (Fence, error)
	// Wait blocks until the device has finished everything up to f.
	Wait(f Fence) error
	// Write and Read copy between the host and a place in a buffer, after everything recorded before. Both return when
	// src or dst may be used again; both may wait for the device, and belong at the edges of a request, not in its loop.
	Write(to Binding, src []byte) error
	Read(dst []byte, from Binding) error
	// Reset drops what was recorded and not committed, waits for the device, and forgets the error. If the device is lost
	// for good it says so.
	Reset() error
	Close() error
}

// MaxConstants is the largest constants argument of a dispatch, in bytes.
const MaxConstants = 256

// Fence marks a commit of one queue.
type Fence uint64
