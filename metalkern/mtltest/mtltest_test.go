//go:build linux && (amd64 || arm64)

package mtltest

import (
	"encoding/binary"
	"math"
	"testing"

	"segue/metalkern/driver"
)

func text(s string) func(string) (string, error) {
	return func(string) (string, error) { return s, nil }
}

// floats are the bytes of numbers, as the driver copies them.
func floats(n int, f func(i int) float32) []byte {
	b := make([]byte, 0, 4*n)
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f(i)))
	}
	return b
}

func float(b []byte, i int) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])) }

// A rig is a device of one text of kernels, with an input buffer and an output.
type rig struct {
	t       testing.TB
	kernels driver.Library
	queue   driver.Queue
	x, y    driver.Buffer
}

func newRig(t testing.TB, kernels string, x, y int64) *rig {
	t.Helper()
	d := Open(t, text(kernels))
	r := &rig{t: t}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.kernels, err = d.Library("test")
	must(err)
	r.queue, err = d.Queue()
	must(err)
	r.x, err = d.Buffer(x)
	must(err)
	t.Cleanup(r.x.Free)
	r.y, err = d.Buffer(y)
	must(err)
	t.Cleanup(r.y.Free)
	return r
}

func (r *rig) dispatch(kernel string, groups, threads int, constants ...uint32) {
	r.t.Helper()
	p, err := r.kernels.Pipeline(kernel, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	var bytes []byte
	for _, c := range constants {
		bytes = binary.LittleEndian.AppendUint32(bytes, c)
	}
	r.queue.Dispatch(p, driver.Size{X: groups, Y: 1, Z: 1}, threads, bytes, []driver.Binding{{Buffer: r.x}, {Buffer: r.y}})
}

func (r *rig) write(b []byte) {
	r.t.Helper()
	if err := r.queue.Write(driver.Binding{Buffer: r.x}, b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) read() ([]byte, error) {
	got := make([]byte, r.y.Bytes())
	return got, r.queue.Read(got, driver.Binding{Buffer: r.y})
}
