package main

// The parts of the doctor's report that are about weights: whether and how fast they are read from a mapped file, and which
// kernel of a linear is best here.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"segue/engine/kern"
	"segue/metalkern"
	"segue/weights"
	"segue/weights/packed"
)

// tuner is a backend that has several kernels for a linear.
type tuner interface {
	TuneLinear(shape metalkern.LinearShape, p kern.Precision, rows []int, effort metalkern.TuneEffort, tell func(metalkern.LinearTuning) (more bool)) error
}

// A tunedModel is one whose linears are measured.
type tunedModel struct {
	name   string
	shapes []metalkern.LinearShape
}

func publishedModels() []tunedModel {
	return []tunedModel{
		{"small", metalkern.StepLinears(1024)}, {"medium", metalkern.StepLinears(1536)}, {"large", metalkern.StepLinears(2048)},
	}
}

var (
	tunedRows   = []int{1, 2, 8, 16} // without guidance, with it; four and eight variations with it
	tunedEffort = metalkern.TuneEffort{Bytes: 128 << 20, Runs: 64, Time: 5 * time.Millisecond}
)

// writeTuning tells of each linear what the kernel takes that segue chooses, and what the best does. The choice stays as it
// is: it is made once for all devices, from reports such as this.
func writeTuning(ctx context.Context, w io.Writer, backend kern.Backend, limit float64, models []tunedModel, effort metalkern.TuneEffort) (wrong int) {
	t, ok := backend.(tuner)
	if !ok {
		return 0
	}
	fmt.Fprintf(w, "\n%-20s %10s %8s   %-28s %10s %7s   %s\n", "linear", "µs", "of read", "kernel/threads chosen", "best µs", "gain", "best")
	for _, model := range models {
		for _, shape := range model.shapes {
			for p := kern.F32; p <= kern.Q4 && ctx.Err() == nil; p++ {
				err := t.TuneLinear(shape, p, tunedRows, effort, func(f metalkern.LinearTuning) bool {
					name := fmt.Sprintf("%s/%s/%s/%d", model.name, shape.Name, p, f.Rows)
					wrong += writeLinear(w, name, f, limit)
					return ctx.Err() == nil
				})
				if err != nil {
					wrong++
					fmt.Fprintf(w, "%s/%s/%s: %v\n", model.name, shape.Name, p, err)
				}
			}
		}
	}
	return wrong
}

func writeLinear(w io.Writer, name string, f metalkern.LinearTuning, limit float64) (wrong int) {
	share := "-"
	if limit > 0 {
		share = fmt.Sprintf("%.0f %%", 100*float64(f.Bytes)/f.Chosen.One.Seconds()/limit)
	}
	gain := f.Chosen.One.Seconds()/f.Best.One.Seconds() - 1
	fmt.Fprintf(w, "%-20s %10.2f %8s   %-28v %10.2f %5.0f %%   %v\n",
		name, microseconds(f.Chosen.One), share, f.Chosen, microseconds(f.Best.One), 100*gain, f.Best)
	for _, kernel := range f.Wrong {
		fmt.Fprintf(w, "  %s: gives other bits than %v\n", kernel, f.Chosen)
	}
	return min(len(f.Wrong), 1)
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// packedSide is the side of a square weight, in halves, that no cache holds.
const packedSide = 8192

// writePacked packs a weight of side by side, keeps it in a file, and takes it from there: whether it is the same, and how fast
// an op reads it in place.
func writePacked(ctx context.Context, w io.Writer, backend kern.Backend, side int) (wrong int) {
	packer, ok := backend.(kern.Packer)
	if !ok {
		return 0
	}
	err := tryPacked(ctx, w, packer, side)
	if err != nil {
		fmt.Fprintf(w, "packed weights: %v\n", err)
		return 1
	}
	return 0
}

func tryPacked(ctx context.Context, w io.Writer, packer kern.Packer, side int) error {
	dir, err := os.MkdirTemp("", "segue-doctor-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cache := packed.NewCache(dir, slog.New(slog.DiscardHandler))
	key := packed.Key{Layout: packer.Layout(), Part: "doctor", Precision: kern.F16.String()}
	values := normal(side * side)
	first, err := takePacked(ctx, packer, cache.Shelf(key, "", true), values, side)
	if err != nil {
		return err
	}
	again, err := takePacked(ctx, packer, cache.Shelf(key, "", true), values, side)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "packed weights of %s: made in %.3f s and read at %.1f GB/s, taken from a file in %.3f s and read at %.1f GB/s, in place: %v (%s)\n",
		megabytes(first.bytes), first.made.Seconds(), first.speed()/1e9, again.made.Seconds(), again.speed()/1e9,
		packer.InPlace(), packer.Device().Detail)
	switch {
	case !again.taken:
		return errors.New("the file that was written was not used")
	case !slices.Equal(first.result, again.result):
		return errors.New("a weight from a file gives another result")
	}
	return nil
}

func normal(n int) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(random.NormFloat64())
	}
	return values
}

// packedTake is what was found of a weight.
type packedTake struct {
	taken    bool // from the shelf, not packed
	bytes    int64
	made     time.Duration
	multiply time.Duration
	result   []float32
}

func (p packedTake) speed() float64 { return float64(p.bytes) / p.multiply.Seconds() }

// takePacked makes a weight with a shelf, multiplies one row with it, saves it if it was packed, and closes the shelf.
func takePacked(ctx context.Context, packer kern.Packer, shelf *packed.Shelf, values []float32, side int) (p packedTake, err error) {
	defer func() { err = errors.Join(err, shelf.Close()) }()
	start := time.Now()
	m, err := packer.Shelve(shelf).Matrix(kern.F16, weights.FromFloats("weight", values, side, side))
	if err != nil {
		return p, err
	}
	defer m.Free()
	p.made, p.bytes, p.taken = time.Since(start), m.Bytes(), !shelf.Unsaved()
	if p.multiply, p.result, err = multiply(packer, m, values[:side]); err != nil {
		return p, err
	}
	return p, shelf.Save(ctx)
}

// multiply is the fastest of some products of one row with a weight.
func multiply(backend kern.Backend, m kern.Matrix, row []float32) (fastest time.Duration, result []float32, err error) {
	s, err := backend.Stream()
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	x, err := backend.Vector(weights.FromFloats("row", row, len(row)))
	if err != nil {
		return 0, nil, err
	}
	defer x.Free()
	dst, err := backend.Floats(m.Rows())
	if err != nil {
		return 0, nil, err
	}
	defer dst.Free()
	result = make([]float32, m.Rows())
	const batch, turns = 8, 5
	for range turns {
		start := time.Now()
		for range batch {
			s.Linear(kern.Linear{Dst: kern.All(dst), X: kern.All(x), W: m, Rows: 1})
		}
		if err := s.Download(result, kern.All(dst)); err != nil {
			return 0, nil, err
		}
		if one := time.Since(start) / batch; fastest == 0 || one < fastest {
			fastest = one
		}
	}
	return fastest, result, nil
}
