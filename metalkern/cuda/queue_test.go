package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// stage is a pretended device with kernels on it.
type stage struct {
	*fake
	device  *Device
	queue   *queue
	kernels []*pipeline
	buffers []driver.Buffer
}

func newStage(t testing.TB) *stage {
	t.Helper()
	tailorWhen(t, "no")
	s := &stage{fake: newFake()}
	var err error
	if s.device, err = open(s.fake); err != nil {
		t.Fatal(err)
	}
	l := &library{device: s.device, name: "sample", pipelines: map[boundedKernel]*pipeline{}, program: program{entries: map[string]entry{}}}
	s.device.libraries[l.name] = l
	for i := range 5 {
		name := fmt.Sprintf("kernel%d", i)
		l.program.entries[name] = entry{signature: signature{8 * (i + 1), i}, text: "(\n)\n{\n\tret;\n}\n"}
		s.signatures[name] = l.program.entries[name].signature
		p, err := l.Pipeline(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		s.kernels = append(s.kernels, p.(*pipeline))
	}
	for range 3 {
		b, err := s.device.Buffer(1024)
		if err != nil {
			t.Fatal(err)
		}
		s.buffers = append(s.buffers, b)
	}
	q, err := s.device.Queue()
	if err != nil {
		t.Fatal(err)
	}
	s.queue = q.(*queue)
	return s
}

// finish closes everything and looks for what was left behind.
func (s *stage) finish(t *testing.T) {
	t.Helper()
	if err := s.queue.Close(); err != nil {
		t.Error(err)
	}
	for _, b := range s.buffers {
		b.Free()
		b.Free()
	}
	if err := s.device.Close(); err != nil {
		t.Error(err)
	}
	for h, kind := range s.handles {
		if kind != "function" && kind != "context" && kind != "node" {
			t.Errorf("%s %d was left behind", kind, h)
		}
	}
	if n := s.device.Allocated(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// note is what a test dispatched: phase counts barriers and commits.
type note struct {
	phase int
	ran   ran
}

// random dispatches a kernel with random constants and places.
func (s *stage) random(kernel int) ran {
	p := s.kernels[kernel]
	constants := make([]byte, p.constantBytes)
	constants[rand.IntN(len(constants))] = byte(rand.Uint32())
	r := ran{function: p.function, groups: [3]uint32{1 + rand.Uint32N(2), 1, 1 + rand.Uint32N(200)}, threads: 32, constants: string(constants)}
	r.room = p.room(r.groups)
	var bindings []driver.Binding
	for range p.buffers {
		b := driver.Binding{Buffer: s.buffers[rand.IntN(3)], Offset: 4 * rand.Int64N(256)}
		bindings = append(bindings, b)
		r.bindings += fmt.Sprint(b.Buffer.(*buffer).at+address(b.Offset), " ")
	}
	s.queue.Dispatch(p, driver.Size{X: int(r.groups[0]), Y: 1, Z: int(r.groups[2])}, 32, constants, bindings)
	return r
}

// Whatever comes, the device runs what was dispatched, and nothing crosses a barrier.
func TestQueueRunsWhatWasDispatched(t *testing.T) {
	s := newStage(t)
	scripts := make([][]int, 30) // sequences, more than tapes are kept of; a negative one is a barrier
	for i := range scripts {
		for range rand.IntN(25) {
			scripts[i] = append(scripts[i], rand.IntN(8)-3)
		}
	}
	var want []note
	phase := 0
	for range 500 {
		script := scripts[min(rand.IntN(30), rand.IntN(30))] // some often, some seldom
		for _, kernel := range script {
			if kernel < 0 {
				s.queue.Barrier()
				phase++
				continue
			}
			want = append(want, note{phase, s.random(kernel)})
		}
		phase++
		if _, err := s.queue.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.queue.Wait(s.queue.committed); err != nil {
		t.Fatal(err)
	}
	if len(s.ran) != len(want) {
		t.Fatalf("%d kernels ran, want %d", len(s.ran), len(want))
	}
	for begin := 0; begin < len(want); {
		end := begin
		for end < len(want) && want[end].phase == want[begin].phase {
			end++
		}
		got := slices.Clone(s.ran[begin:end])
		for _, w := range want[begin:end] {
			at := slices.Index(got, w.ran)
			if at < 0 {
				t.Fatalf("between barriers %d: %+v did not run", w.phase, w.ran)
			}
			got = slices.Delete(got, at, at+1)
		}
		begin = end
	}
	if s.graphRuns == 0 || s.launches == 0 || s.settings == 0 {
		t.Errorf("got %d graph runs, %d launches, %d settings: one way was not tried", s.graphRuns, s.launches, s.settings)
	}
	s.finish(t)
}

// steps records the same step n times; only the constants of its third kernel change.
func (s *stage) steps(t *testing.T, n int) {
	for i := range n {
		if f, err := s.step(i); err != nil || f != s.queue.committed {
			t.Fatal(f, err)
		}
	}
}

func (s *stage) step(i int) (driver.Fence, error) {
	constants, other := make([]byte, 24), make([]byte, 16)
	constants[0] = byte(i)
	bindings := []driver.Binding{{Buffer: s.buffers[0]}, {Buffer: s.buffers[1]}}
	one := driver.Size{X: 1, Y: 1, Z: 1}
	for k := range 6 {
		s.queue.Barrier()
		if k == 2 {
			s.queue.Dispatch(s.kernels[2], one, 1, constants, bindings)
		} else {
			s.queue.Dispatch(s.kernels[1], one, 1, other, bindings[:1])
		}
	}
	return s.queue.Commit()
}

// The first step is launched kernel by kernel, the others are a graph in which one node is set anew. All but a step's first
// kernel may start early.
func TestStepsAreReplayed(t *testing.T) {
	s := newStage(t)
	s.steps(t, 10)
	if s.launches != 6 || s.graphRuns != 9 || s.settings != 8 || s.early != 5+5 {
		t.Errorf("got %d launches, %d graphs, %d settings, %d early kernels, want 6, 9, 8, 10", s.launches, s.graphRuns, s.settings, s.early)
	}
	if err := s.queue.Wait(10); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if got := s.ran[6*i+2].constants[0]; int(got) != i {
			t.Errorf("step %d ran with the constants of step %d", i, got)
		}
	}
	s.finish(t)
}

// A sequence of thousands is launched kernel by kernel each time.
func TestLongSequencesAreNoGraph(t *testing.T) {
	s := newStage(t)
	for range 3 {
		for range longest + 1 {
			s.random(1)
		}
		if _, err := s.queue.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if s.launches != 3*(longest+1) || s.graphRuns != 0 {
		t.Errorf("got %d launches, %d graphs, want %d, 0", s.launches, s.graphRuns, 3*(longest+1))
	}
	s.finish(t)
}

// quiet is a driver that does nothing and allocates nothing.
type quiet struct{ *fake }

func (quiet) launch(*launch, stream, bool) error        { return nil }
func (quiet) launchGraph(executable, stream) error      { return nil }
func (quiet) setKernel(executable, node, *launch) error { return nil }
func (quiet) waitEvent(event) error                     { return nil }

func TestStepsAllocateNothing(t *testing.T) {
	s := newStage(t)
	q := quiet{s.fake}
	s.device.api, s.queue.replay.api = q, q
	constants, bindings := make([]byte, 24), []driver.Binding{{Buffer: s.buffers[0]}, {Buffer: s.buffers[1]}}
	one := driver.Size{X: 1, Y: 1, Z: 1}
	step := func() {
		for range 8 {
			constants[0]++
			s.queue.Dispatch(s.kernels[2], one, 1, constants, bindings)
			s.queue.Barrier()
		}
		f, err := s.queue.Commit()
		if err = errors.Join(err, s.queue.Wait(f)); err != nil {
			t.Fatal(err)
		}
	}
	step()
	step()
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("a step allocates %v times", n)
	}
	record := func() { s.queue.Dispatch(s.kernels[2], one, 1, constants, bindings) }
	if n := testing.AllocsPerRun(100, record); n != 0 {
		t.Errorf("recording allocates %v times", n)
	}
}

func TestTransfers(t *testing.T) {
	s := newStage(t)
	big, err := s.device.Buffer(3*halfBytes + 8)
	if err != nil {
		t.Fatal(err)
	}
	s.buffers = append(s.buffers, big)
	got := make([]byte, big.Bytes())
	if err := s.queue.Read(got, driver.Binding{Buffer: big}); err != nil || !bytes.Equal(got, make([]byte, len(got))) {
		t.Errorf("a new buffer is not zero: %v", err)
	}
	want := make([]byte, big.Bytes())
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	source := slices.Clone(want)
	for begin := 0; begin < len(source); { // pieces of all sizes
		n := min(len(source)-begin, 4*(1+rand.IntN(1<<rand.IntN(22))))
		if err := s.queue.Write(driver.Binding{Buffer: big, Offset: int64(begin)}, source[begin:begin+n]); err != nil {
			t.Fatal(err)
		}
		clear(source[begin : begin+n]) // it may be used again at once
		begin += n
	}
	if err := s.queue.Read(got, driver.Binding{Buffer: big}); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was read is not what was written: %v", err)
	}
	s.finish(t)
}

// A transfer comes after the kernels recorded before it.
func TestTransferOrder(t *testing.T) {
	s := newStage(t)
	s.random(1)
	if err := s.queue.Read(make([]byte, 4), driver.Binding{Buffer: s.buffers[0]}); err != nil {
		t.Fatal(err)
	}
	if len(s.ran) != 1 {
		t.Error("a read overtook a kernel")
	}
	s.finish(t)
}

func TestQueueErrors(t *testing.T) {
	one := driver.Size{X: 1, Y: 1, Z: 1}
	lost := &Error{Call: "cuStreamSynchronize", Code: 700, Name: "CUDA_ERROR_ILLEGAL_ADDRESS", Text: "an illegal memory access was encountered"}
	for _, c := range []struct {
		says string
		do   func(s *stage)
	}{
		{"got 4 bytes of constants, want 8", func(s *stage) { s.queue.Dispatch(s.kernels[0], one, 1, make([]byte, 4), nil) }},
		{"got 0 buffers, want 1", func(s *stage) { s.queue.Dispatch(s.kernels[1], one, 1, make([]byte, 16), nil) }},
		{"{0 1 1} threadgroups", func(s *stage) { s.queue.Dispatch(s.kernels[0], driver.Size{Y: 1, Z: 1}, 1, make([]byte, 8), nil) }},
		{"512 threads, want 1 to 256 threads", func(s *stage) { s.queue.Dispatch(s.kernels[0], one, 512, make([]byte, 8), nil) }},
		{"got threadgroups of 4294967328 threads", func(s *stage) { s.queue.Dispatch(s.kernels[0], one, 1<<32+32, make([]byte, 8), nil) }},
		{"got threadgroups of 0 threads", func(s *stage) { s.queue.Dispatch(s.kernels[0], one, 0, make([]byte, 8), nil) }},
		{"buffer 1: cuda: binding: got 4 bytes at offset 1024", func(s *stage) {
			s.queue.Dispatch(s.kernels[1], one, 1, make([]byte, 16), []driver.Binding{{Buffer: s.buffers[0], Offset: 1024}})
		}},
		{"divisible by 4", func(s *stage) {
			s.queue.Dispatch(s.kernels[1], one, 1, make([]byte, 16), []driver.Binding{{Buffer: s.buffers[0], Offset: 2}})
		}},
		{"freed buffer", func(s *stage) {
			s.buffers[0].Free()
			s.queue.Dispatch(s.kernels[1], one, 1, make([]byte, 16), []driver.Binding{{Buffer: s.buffers[0]}})
		}},
		{"write: cuda: binding: got 8 bytes at offset 1020", func(s *stage) { s.queue.Write(driver.Binding{Buffer: s.buffers[0], Offset: 1020}, make([]byte, 8)) }},
		{"got fence 7, want at most 0", func(s *stage) { s.queue.Wait(7) }},
		{"launch of kernel0 over [1 1 1] threadgroups", func(s *stage) {
			s.failing["launch"] = lost
			s.queue.Dispatch(s.kernels[0], one, 1, make([]byte, 8), nil)
			s.queue.Commit()
		}},
		{"CUDA_ERROR_ILLEGAL_ADDRESS (700): an illegal", func(s *stage) {
			s.failing["waitEvent"] = lost
			f, _ := s.queue.Commit()
			s.queue.Wait(f)
		}},
	} {
		s := newStage(t)
		c.do(s)
		_, err := s.queue.Commit()
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
		if again := s.queue.Read(make([]byte, 4), driver.Binding{Buffer: s.buffers[1]}); again != err {
			t.Errorf("a later call says %v, want the first error, %v", again, err)
		}
		clear(s.failing)
		if err := s.queue.Reset(); err != nil {
			t.Errorf("%s: reset: %v", c.says, err)
		}
		s.finish(t)
	}
	s := newStage(t)
	s.failing["synchronize"] = lost
	if err := s.queue.Reset(); err == nil || !strings.Contains(err.Error(), "must be started again") {
		t.Errorf("a lost device: got %v", err)
	}
}

// A graph that cannot be made leaves nothing behind.
func TestGraphFails(t *testing.T) {
	for _, call := range []string{"newGraph", "add"} {
		s := newStage(t)
		s.steps(t, 1)
		s.failing[call] = &Error{Call: call, Code: 2, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"}
		s.random(1)
		s.queue.Reset() // forgets it: what follows is the same step once more
		_, err := s.step(1)
		if err == nil || !strings.Contains(err.Error(), "making a graph of 6 kernels") {
			t.Errorf("%s: got %v", call, err)
		}
		clear(s.failing)
		if err := s.queue.Reset(); err != nil {
			t.Error(err)
		}
		s.steps(t, 2)
		s.finish(t)
	}
}

// A node that could not be set is set the next time.
func TestSettingFails(t *testing.T) {
	s := newStage(t)
	s.steps(t, 3)
	s.failing["setKernel"] = &Error{Call: "cuGraphExecKernelNodeSetParams", Code: 2, Name: "CUDA_ERROR_OUT_OF_MEMORY", Text: "out of memory"}
	if _, err := s.step(7); err == nil || !strings.Contains(err.Error(), "setting kernel2 in a graph") {
		t.Errorf("got %v", err)
	}
	clear(s.failing)
	if err := s.queue.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.step(7); err != nil {
		t.Fatal(err)
	}
	if err := s.queue.Wait(s.queue.committed); err != nil {
		t.Fatal(err)
	}
	if got := s.ran[len(s.ran)-4].constants[0]; got != 7 {
		t.Errorf("the step ran with the constants of step %d", got)
	}
	s.finish(t)
}

// A GPU that is there and cannot be used is not missing.
func TestOpenFailingDevice(t *testing.T) {
	for _, c := range []struct {
		call string
		code int
		kind error
	}{
		{"retainContext", 2, kern.ErrMemory}, {"retainContext", 46, kern.ErrDevice},
	} {
		f := newFake()
		f.failing[c.call] = &Error{Call: c.call, Code: c.code, Name: "CUDA_ERROR"}
		if _, err := open(f); !errors.Is(err, c.kind) || errors.Is(err, kern.ErrUnavailable) {
			t.Errorf("%s, code %d: got %v, want %v", c.call, c.code, err, c.kind)
		}
	}
}

// A device that cannot be opened leaves no context behind.
func TestOpenFails(t *testing.T) {
	f := newFake()
	f.failing["setCurrent"] = &Error{Call: "cuCtxSetCurrent", Code: 201, Name: "CUDA_ERROR_INVALID_CONTEXT", Text: "invalid device context"}
	if _, err := open(f); err == nil || f.released != 1 {
		t.Errorf("got %v and %d contexts released, want an error and one", err, f.released)
	}
}

// Whoever loads a model learns whether the device has no room for it, or has failed.
func TestErrorKinds(t *testing.T) {
	for code, want := range map[int]error{2: kern.ErrMemory, 700: kern.ErrDevice} {
		err := fmt.Errorf("matrix: %w", &Error{Call: "cuMemAlloc_v2", Code: code})
		for _, kind := range []error{kern.ErrMemory, kern.ErrDevice} {
			if errors.Is(err, kind) != (kind == want) {
				t.Errorf("code %d: %v is %v, want %v alone", code, kind, errors.Is(err, kind), want)
			}
		}
	}
}

// The driver keeps the addresses of a compiler's options and log, whatever the stack of the caller does.
func TestCompilerStaysInPlace(t *testing.T) {
	done := make(chan bool)
	go func() {
		c := newCompiler()
		options := uintptr(unsafe.Pointer(&c.options))
		deep(100)
		done <- c.values[0] == pointer(&c.log[0]) && options == uintptr(unsafe.Pointer(&c.options))
		runtime.KeepAlive(c)
	}()
	if !<-done {
		t.Error("a compiler has moved")
	}
}

// deep uses a kilobyte of stack for each level.
//
//go:noinline
func deep(levels int) byte {
	var room [1024]byte
	room[levels] = byte(levels)
	if levels == 0 {
		return room[0]
	}
	return room[levels] + deep(levels-1)
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		says string
		set  func(f *fake)
	}{
		{"supports CUDA 11.4, want 12.0", func(f *fake) { f.version = 11040 }},
		{"shows no GPU", func(f *fake) { f.count = 0 }},
		{"compute capability 7.0, want 8.0", func(f *fake) { f.major = 7 }},
		{"CUDA_ERROR_NO_DEVICE", func(f *fake) {
			f.failing["driverVersion"] = &Error{Call: "cuInit", Code: 100, Name: "CUDA_ERROR_NO_DEVICE", Text: "no CUDA-capable device is detected"}
		}},
	} {
		f := newFake()
		c.set(f)
		if _, err := open(f); !errors.Is(err, kern.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want unavailable and %q", err, c.says)
		}
	}
	_, err := resolve(func(name string) (uintptr, error) {
		if name == "cuLaunchKernelEx" {
			return 0, nil
		}
		return 1, nil
	})
	if err == nil || !strings.Contains(err.Error(), "no cuLaunchKernelEx") {
		t.Errorf("an old driver: got %v", err)
	}
}

// What the processor does for a step of 219 kernels, of which 50 change, without the driver's part.
func BenchmarkStep(b *testing.B) {
	s := newStage(b)
	q := quiet{s.fake}
	s.device.api, s.queue.replay.api = q, q
	constants, bindings := make([]byte, 24), []driver.Binding{{Buffer: s.buffers[0]}, {Buffer: s.buffers[1]}}
	one := driver.Size{X: 1, Y: 1, Z: 1}
	step := func() {
		for i := range 219 {
			constants[0] = 0
			if i%4 == 0 {
				constants[0] = byte(s.queue.committed)
			}
			s.queue.Dispatch(s.kernels[2], one, 1, constants, bindings)
			s.queue.Barrier()
		}
		f, err := s.queue.Commit()
		if err = errors.Join(err, s.queue.Wait(f)); err != nil {
			b.Fatal(err)
		}
	}
	step()
	step()
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
