//go:build linux && (amd64 || arm64)

package metalkern

import (
	"encoding/binary"
	"testing"

	"segue/metalkern/driver"
	"segue/metalkern/kernels"
	"segue/metalkern/mtltest"
)

// TestProbeReadsAll: the probe that measures memory reads every byte of it, whatever the threads, and no byte more.
func TestProbeReadsAll(t *testing.T) {
	d := mtltest.Open(t, kernels.Source)
	library, err := d.Library("probe")
	if err != nil {
		t.Fatal(err)
	}
	probe, err := library.Pipeline("probe_read", 0)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.Queue()
	if err != nil {
		t.Fatal(err)
	}
	const vectors = 1003
	memory, err := d.Buffer(16 * vectors)
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Free()
	found, err := d.Buffer(4)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Free()
	sees := func(at int) bool {
		t.Helper()
		content := make([]byte, 16*vectors)
		if at >= 0 {
			content[at] = 4
		}
		result := make([]byte, 4)
		for _, w := range []struct {
			to   driver.Buffer
			from []byte
		}{{memory, content}, {found, result}} {
			if err := q.Write(driver.Binding{Buffer: w.to}, w.from); err != nil {
				t.Fatal(err)
			}
		}
		q.Dispatch(probe, driver.Size{X: 3, Y: 1, Z: 1}, 64, binary.LittleEndian.AppendUint32(nil, vectors),
			[]driver.Binding{{Buffer: memory}, {Buffer: found}})
		if err := q.Read(result, driver.Binding{Buffer: found}); err != nil {
			t.Fatal(err)
		}
		return result[0] != 0
	}
	if sees(-1) {
		t.Error("zeros: got something")
	}
	for _, at := range []int{0, 16*191 + 15, 16 * 192, 16*768 + 7, 16*vectors - 1} {
		if !sees(at) {
			t.Errorf("a bit in byte %d: not seen", at)
		}
	}
}
