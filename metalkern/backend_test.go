package metalkern

import (
	"testing"
	"time"

	"segue/metalkern/driver"
)

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
