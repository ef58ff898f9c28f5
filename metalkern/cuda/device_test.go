package cuda

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// realDevice is this machine's GPU. Without one the test is skipped, unless SEGUE_REQUIRE names cuda.
func realDevice(t *testing.T) driver.Device {
	t.Helper()
	d, err := Open()
	if errors.Is(err, kern.ErrUnavailable) && !strings.Contains(os.Getenv("SEGUE_REQUIRE"), "cuda") {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%+v", d.Info())
	return d
}

// On the device itself: zeroed memory, transfers, and steps that are a graph from the second on give what they should, with
// constants, grids and places that change and kernels beside each other.
func TestDevice(t *testing.T) {
	d := realDevice(t)
	const words, parts = 1 << 16, 12
	library, err := d.Library("copy")
	if err != nil {
		t.Fatal(err)
	}
	p, err := library.Pipeline("copy_words", 0)
	if err != nil {
		t.Fatal(err)
	}
	var buffers [4]driver.Buffer
	for i := range buffers {
		if buffers[i], err = d.Buffer(4 * words); err != nil {
			t.Fatal(err)
		}
		defer buffers[i].Free()
	}
	made, err := d.Queue()
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	q := made.(*queue)
	got := make([]byte, 4*words)
	if err := q.Read(got, driver.Binding{Buffer: buffers[0]}); err != nil || !slices.Equal(got, make([]byte, len(got))) {
		t.Fatalf("a new buffer is not zero: %v", err)
	}
	source := make([]byte, 4*words)
	for i := range source {
		source[i] = byte(rand.Uint32())
	}
	if err := q.Write(driver.Binding{Buffer: buffers[0]}, source); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 4*words)
	for step := range 20 {
		// First parts of 0 to places in 1, beside each other; then, each after a barrier, all of 1 to 2, to 3, to 2, to 3, …
		for part := range parts {
			n := 1 + rand.IntN(words/parts)
			from, to := rand.IntN(words-n), part*(words/parts)
			q.Dispatch(p, driver.Size{X: 1 + rand.IntN(4), Y: 1, Z: 1}, 64, binary.LittleEndian.AppendUint32(nil, uint32(n)),
				[]driver.Binding{{Buffer: buffers[0], Offset: 4 * int64(from)}, {Buffer: buffers[1], Offset: 4 * int64(to)}})
			copy(want[4*to:], source[4*from:4*(from+n)])
		}
		for from, turn := 1, 0; turn < 8; turn++ {
			to := 2 + turn%2
			q.Barrier()
			q.Dispatch(p, driver.Size{X: 16 + 100*(turn%2), Y: 1, Z: 1}, 256, binary.LittleEndian.AppendUint32(nil, words),
				[]driver.Binding{{Buffer: buffers[from]}, {Buffer: buffers[to]}})
			from = to
		}
		f, err := q.Commit()
		if err = errors.Join(err, q.Wait(f)); err != nil {
			t.Fatal(err)
		}
		if err := q.Read(got, driver.Binding{Buffer: buffers[3]}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("step %d: wrong bytes: %v", step, err)
		}
	}
	if q.replay.tapes[0].executable == 0 {
		t.Error("the steps were no graph")
	}
}

// The device's own errors come with their names.
func TestDeviceErrors(t *testing.T) {
	d := realDevice(t)
	_, err := d.Buffer(1 << 50)
	var failed *Error
	if !errors.As(err, &failed) || failed.Name != "CUDA_ERROR_OUT_OF_MEMORY" || failed.Text == "" {
		t.Errorf("got %v", err)
	}
	if err := d.(*Device).enter(); err != nil {
		t.Fatal(err)
	}
	defer leave()
	if _, err := d.(*Device).api.loadModule(".version 8.0\n.target sm_80\nnonsense\n"); !errors.As(err, &failed) || failed.Log == "" {
		t.Errorf("got %v, want the compiler's words", err)
	}
}
