//go:build linux && (amd64 || arm64)

package mtltest

import (
	"encoding/binary"
	"math"
	"testing"

	"segue/metalkern/driver"
)

const addKernel = `
struct AddArgs { uint n; float scale; };
kernel void add(constant AddArgs& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]],
	uint i [[thread_position_in_grid]])
{
	if (i < a.n) y[i] = x[i] * a.scale + float(i);
}
`

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

func TestRunsAKernel(t *testing.T) {
	d := Open(t, text(addKernel))
	library, err := d.Library("add")
	if err != nil {
		t.Fatal(err)
	}
	add, err := library.Pipeline("add")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	x, err := d.Buffer(4 * n)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Free()
	y, err := d.Buffer(4 * n)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Free()
	q, err := d.Queue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.Write(driver.Binding{Buffer: x}, floats(n, func(i int) float32 { return float32(i) / 7 })); err != nil {
		t.Fatal(err)
	}
	constants := append(binary.LittleEndian.AppendUint32(nil, n), floats(1, func(int) float32 { return 3 })...)
	q.Dispatch(add, driver.Size{X: 8, Y: 1, Z: 1}, driver.Size{X: 128, Y: 1, Z: 1}, constants, []driver.Binding{{Buffer: x}, {Buffer: y}})
	got := make([]byte, 4*n)
	if err := q.Read(got, driver.Binding{Buffer: y}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if want := float32(i)/7*3 + float32(i); math.Abs(float64(float(got, i)-want)) > 1e-3 {
			t.Fatalf("element %d: got %g, want %g", i, float(got, i), want)
		}
	}
}
