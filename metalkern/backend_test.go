package metalkern

import (
	"testing"
	"time"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// counting is a device that counts what its buffers hold.
type counting struct {
	blank
	held int64
}

type countedMemory struct {
	driver.Buffer
	device *counting
}

func (d *counting) Buffer(n int64) (driver.Buffer, error) {
	d.held += n
	return &countedMemory{blankBuffer(n), d}, nil
}

func (m *countedMemory) Free() { m.device.held -= m.Bytes() }

// What is freed while a job decodes counts until the device lets go of it, which is a few steps later and not when the job ends.
func TestFreedWhileDecoding(t *testing.T) {
	const idle = 64 << 20
	device := &counting{}
	made, err := New(device)
	if err != nil {
		t.Fatal(err)
	}
	k := made.(*backend)
	own := device.held
	s, err := k.Stream()
	if err != nil {
		t.Fatal(err)
	}
	floats := func(n int) kern.Buffer {
		t.Helper()
		b, err := k.Floats(n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	x, y, model := floats(64), floats(64), floats(idle/4)
	var last kern.Fence
	step := func() { // the newest is never waited for
		t.Helper()
		s.Copy(kern.All(y), kern.All(x))
		f, err := s.Submit()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Wait(last); err != nil {
			t.Fatal(err)
		}
		last = f
	}
	want := func(what string, waiting int64) {
		t.Helper()
		if freed, _ := k.Freed(); freed != waiting || k.Allocated() != device.held-own {
			t.Errorf("%s: %d bytes are freed, %d allocated, want %d, and the %d that the device holds", what, freed, k.Allocated(), waiting, device.held-own)
		}
	}
	step()
	step()
	model.Free()
	want("freed after a step", idle)
	step()
	step()
	want("two steps later", 0)
	s.Copy(kern.All(y), kern.All(x))
	model = floats(idle / 4)
	model.Free()
	want("freed within a step", idle)
	step()
	want("that step is not waited for", idle)
	step()
	want("now it is", 0)
	if k.Allocated() == 0 {
		t.Error("got nothing allocated, want what is not freed")
	}
	kern.Free([]kern.Object{x, y})
	want("freed at the end", 2*4*64)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	want("closed", 0)
}

// telling is a device that has more to say after a while.
type telling struct {
	blank
	detail string
}

func (d *telling) Info() driver.Info {
	return driver.Info{Backend: "telling", Detail: d.detail, Settling: time.Second}
}

// A driver's detail is told as it is now, because status asks for it long after the device was opened.
func TestDetailIsOfNow(t *testing.T) {
	device := &telling{detail: "all is well"}
	k, err := New(device)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := k.Device(); got.Detail != "all is well" || got.Settling != time.Second {
		t.Errorf("got %+v", got)
	}
	device.detail = "kernels are not tailored"
	if got := k.Device().Detail; got != device.detail {
		t.Errorf("got %q, want %q", got, device.detail)
	}
}
