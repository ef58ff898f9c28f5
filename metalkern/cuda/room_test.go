package cuda

import "testing"

// On 132 cores, with 64 KB for the threadgroups of a step, of which the driver takes 1 KB each.
func TestRoom(t *testing.T) {
	d := &Device{coreBytes: 228 << 10, reservedBytes: 1 << 10, overlap: true}
	d.info.Cores = 132
	for _, c := range []struct {
		file    string
		own     int
		groups  [3]uint32
		room    uint32
		atOnce  int // a core has room for so many; 0: that is not bounded
		because string
	}{
		{"linear", 17 << 10, [3]uint32{128, 1, 1}, 14 << 10, 2, "a core's share is one"},
		{"linear", 0, [3]uint32{1, 1, 1}, 31 << 10, 2, "a core's share is one"},
		{"linear", 0, [3]uint32{11, 4, 3}, 31 << 10, 2, "a core's share is one"},
		{"linear", 0, [3]uint32{133, 1, 1}, 15 << 10, 4, "some cores' is two"},
		{"linear", 100, [3]uint32{256, 1, 1}, 15232, 4, "most cores' is two; whole units"},
		{"linear", 17 << 10, [3]uint32{256, 1, 1}, 0, 0, "the kernel's own is more"},
		{"linear", 0, [3]uint32{1<<31 - 1, 65535, 1}, 0, 0, "there are too many"},
		{"linear", 25 << 10, [3]uint32{128, 1, 1}, 0, 0, "the kernel wants what there is"},
		{"conv", 17 << 10, [3]uint32{128, 1, 1}, 0, 0, "no step has it"},
	} {
		p := &pipeline{of: &library{device: d, name: c.file}, ownBytes: c.own}
		room := p.room(c.groups)
		if room != c.room {
			t.Errorf("%s with %d bytes, groups %v: got %d bytes, want %d: %s", c.file, c.own, c.groups, room, c.room, c.because)
		}
		if each := c.own + d.reservedBytes + int(room); c.atOnce > 0 && stepBytes/each != c.atOnce {
			t.Errorf("%s, groups %v: a core has room for %d, want %d: %s", c.file, c.groups, stepBytes/each, c.atOnce, c.because)
		}
	}
	d.overlap = false
	if room := (&pipeline{of: &library{device: d, name: "linear"}}).room([3]uint32{128, 1, 1}); room != 0 {
		t.Errorf("where no kernel starts early: got %d bytes, want 0", room)
	}
}

// A tailored kernel has a core's memory divided as the one that it stands in for.
func TestTailoredRoom(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	s.settle(t, p)
	general, last := p.(*pipeline), s.ran[len(s.ran)-1]
	if last.function == general.function {
		t.Error("no tailored kernel ran")
	}
	for _, f := range []function{general.function, last.function} {
		if s.carved[f] != 28 {
			t.Errorf("got %d %%, want 28", s.carved[f])
		}
	}
	if last.room == 0 || last.room != general.room(last.groups) {
		t.Errorf("got %d bytes, want %d", last.room, general.room(last.groups))
	}
}

// How a core's memory is divided is the driver's business for kernels that no step has.
func TestOthersAreNotDivided(t *testing.T) {
	s, p := tailors(t, "conv")
	defer s.finish(t)
	if percent, some := s.carved[p.(*pipeline).function]; some {
		t.Errorf("got %d %%", percent)
	}
}

// What a kernel wants to have brought is allowed, and each launch brings it.
func TestBrought(t *testing.T) {
	s := newStage(t)
	defer s.finish(t)
	l := &library{device: s.device, name: "linear_tile", pipelines: map[boundedKernel]*pipeline{}, program: program{entries: map[string]entry{
		"four": {signature: signature{16, 1}, text: fourWords, brought: 61504},
	}}}
	s.device.libraries[l.name] = l
	s.signatures["four"] = signature{16, 1}
	p, err := l.Pipeline("four", 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.mostBrought[p.(*pipeline).function]; got != 61504 {
		t.Errorf("%d bytes are allowed, want 61504", got)
	}
	s.four(t, p, 0, 0)
	if last := s.ran[len(s.ran)-1]; last.room != 61504 {
		t.Errorf("a launch brought %d bytes, want 61504", last.room)
	}
}
