//go:build linux && (amd64 || arm64)

package metalkern

import (
	"slices"
	"testing"
	"time"

	"segue/engine/kern"
	"segue/metalkern/mtltest"
)

var littleEffort = TuneEffort{Bytes: 1, Time: time.Nanosecond}

// TuneLinear measures every kernel of each linear of a small decoder, finds none that gives other bits, and leaves nothing.
func TestTuneLinear(t *testing.T) {
	k := open(t).(*backend)
	for i, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8, kern.Q4, kern.Q4} {
		shape := StepLinears(40)[i]
		shape.Outputs = min(shape.Outputs, 200) // of the heads
		told := 0
		err := k.TuneLinear(shape, p, []int{1, 2, 11}, littleEffort, func(f LinearTuning) bool {
			told++
			if len(f.Wrong) > 0 || f.Bytes < 40*40/2 || f.Chosen.One <= 0 || f.Best.One <= 0 || f.Best.One > f.Chosen.One {
				t.Errorf("%s, %v: got %+v", shape.Name, p, f)
			}
			return f.Rows != 2 || p != kern.Q8
		})
		if err != nil || told != 3 && p != kern.Q8 || told != 2 && p == kern.Q8 {
			t.Errorf("%s, %v: told %d times, %v", shape.Name, p, told, err)
		}
	}
	if n := k.Allocated(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// A kernel that gives other bits is told of, and is never the best.
func TestTuneLinearFindsWrongKernels(t *testing.T) {
	wrong := matvecs[0]
	wrong.names[kern.Q8] = wrong.names[kern.Q4]
	matvecs = append(matvecs, wrong)
	defer func() { matvecs = matvecs[:len(matvecs)-1] }()
	k := open(t).(*backend)
	err := k.TuneLinear(StepLinears(40)[0], kern.Q8, []int{1}, littleEffort, func(f LinearTuning) bool {
		name := wrong.names[kern.Q8].kernel
		others := slices.DeleteFunc(slices.Clone(f.Wrong), func(v string) bool { return v == name })
		if len(f.Wrong) == 0 || len(others) != 0 || f.Best.Kernel == name {
			t.Errorf("got %+v", f)
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}

// What fails on the way is an error, after which nothing is left.
func TestTuneLinearFails(t *testing.T) {
	for _, fault := range []string{"queue", "buffer", "execution"} {
		k := open(t).(*backend)
		mtltest.Fail(fault, 0, 1)
		err := k.TuneLinear(StepLinears(40)[0], kern.F16, []int{1}, littleEffort, func(LinearTuning) bool { return true })
		if err == nil || k.Allocated() != 0 {
			t.Errorf("%s: got %v, %d bytes held", fault, err, k.Allocated())
		}
	}
}
