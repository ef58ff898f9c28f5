//go:build linux && (amd64 || arm64)

package metal_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/metalkern/metal"
	"segue/metalkern/mtltest"
)

// Kernels of these tests: y[i] += by; one that goes wrong as it runs; one that does not compile.
const (
	addText = `
struct AddArgs { uint n; uint by; };
kernel void add(constant AddArgs& a [[buffer(0)]], device uint* y [[buffer(1)]], uint i [[thread_position_in_grid]])
{
	if (i < a.n) y[i] += a.by;
}
kernel void copy(constant AddArgs& a [[buffer(0)]], device const uint* x [[buffer(1)]], device uint* y [[buffer(2)]], uint i [[thread_position_in_grid]])
{
	if (i < a.n) y[i] = x[i];
}
kernel void part(constant AddArgs& a [[buffer(0)]], device uint* y [[buffer(1)]], uint i [[thread_position_in_grid]])
{
	if (i < a.n) threadgroup_barrier(mem_flags::mem_threadgroup);
	y[i] = 1u;
}
`
	brokenText = `
struct Args { uint n; };
kernel void broken(constant Args& a [[buffer(0)]], device uint* y [[buffer(1)]]) { y[0] = a.missing; }
`
)

func source(name string) (string, error) {
	switch name {
	case "add", "again":
		return addText, nil
	case "broken":
		return brokenText, nil
	}
	return "", fmt.Errorf("no kernels %q", name)
}

// bench holds what most tests need.
type bench struct {
	t      *testing.T
	device driver.Device
	add    driver.Pipeline
	queue  driver.Queue
	buffer driver.Buffer
}

const count = 256

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, device: mtltest.Open(t, source)}
	b.add = b.pipeline("add")
	var err error
	if b.buffer, err = b.device.Buffer(4 * count); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.buffer.Free)
	if b.queue, err = b.device.Queue(); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) pipeline(name string) driver.Pipeline {
	b.t.Helper()
	library, err := b.device.Library("add")
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := library.Pipeline(name, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

// threads of a threadgroup.
const threads = 64

var (
	one       = driver.Size{X: 1, Y: 1, Z: 1}
	groups    = driver.Size{X: count / threads, Y: 1, Z: 1}
	constants = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, count), 1)
)

func (b *bench) record() {
	b.queue.Dispatch(b.add, groups, threads, constants, []driver.Binding{{Buffer: b.buffer}})
}

// values reads the buffer, which must hold the same number everywhere.
func (b *bench) value() uint32 {
	b.t.Helper()
	got := make([]byte, 4*count)
	if err := b.queue.Read(got, driver.Binding{Buffer: b.buffer}); err != nil {
		b.t.Fatal(err)
	}
	if !bytes.Equal(got, bytes.Repeat(got[:4], count)) {
		b.t.Fatalf("got different numbers: %v", got)
	}
	return binary.LittleEndian.Uint32(got)
}

func TestInfo(t *testing.T) {
	info := mtltest.Open(t, source).Info()
	if info.Backend != "metal" || info.Name == "" || info.Detail == "" || info.Memory <= 0 || info.Largest <= 0 || !info.Unified {
		t.Errorf("got %+v", info)
	}
}

func TestBuffersAreZeroAndCounted(t *testing.T) {
	b := newBench(t)
	if got := b.value(); got != 0 {
		t.Errorf("a new buffer: got %x, want zeros", got)
	}
	if got := b.device.Allocated(); got != 4*count {
		t.Errorf("allocated: got %d, want %d", got, 4*count)
	}
	b.buffer.Free()
	b.buffer.Free()
	if got := b.device.Allocated(); got != 0 {
		t.Errorf("allocated after Free, twice: got %d, want 0", got)
	}
	for _, n := range []int64{0, -1, 1 << 50} {
		if _, err := b.device.Buffer(n); err == nil {
			t.Errorf("buffer of %d bytes: got no error", n)
		}
	}
}

// pages is memory that only reads are allowed of, as of a mapped file; its words are all wrappedWord.
func pages(t *testing.T) []byte {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(memory); i += 4 {
		binary.LittleEndian.PutUint32(memory[i:], wrappedWord)
	}
	if err := unix.Mprotect(memory, unix.PROT_READ); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(memory); err != nil {
			t.Error(err)
		}
	})
	return memory
}

const wrappedWord = 12345

// A kernel reads the processor's memory where it lies, through a buffer that counts and that nothing writes.
func TestWrap(t *testing.T) {
	memory := pages(t) // unmapped after the device is closed
	b := newBench(t)
	wrapped, err := b.device.Wrap(memory)
	if err != nil {
		t.Fatal(err)
	}
	if wrapped.Bytes() != int64(len(memory)) || b.device.Allocated() != 4*count+int64(len(memory)) || wrapped.Contents() != nil {
		t.Errorf("got %d bytes, %d in all, contents %d bytes", wrapped.Bytes(), b.device.Allocated(), len(wrapped.Contents()))
	}
	b.queue.Dispatch(b.pipeline("copy"), groups, threads, constants, []driver.Binding{{Buffer: wrapped, Offset: 64}, {Buffer: b.buffer}})
	if got := b.value(); got != wrappedWord {
		t.Errorf("a kernel read %d, want %d", got, wrappedWord)
	}
	if err := b.queue.Write(driver.Binding{Buffer: wrapped}, []byte{1}); err == nil || !strings.Contains(err.Error(), "not written") {
		t.Errorf("Write: got %v", err)
	}
	if err := b.queue.Reset(); err != nil {
		t.Fatal(err)
	}
	wrapped.Free()
	wrapped.Free()
	if got := b.device.Allocated(); got != 4*count {
		t.Errorf("allocated after Free: got %d, want %d", got, 4*count)
	}
	for _, bad := range [][]byte{nil, memory[:0], memory[64:], memory[:100], memory[1 : 1+os.Getpagesize()]} {
		if _, err := b.device.Wrap(bad); err == nil || !strings.Contains(err.Error(), "want whole pages") {
			t.Errorf("%d bytes at %p: got %v", len(bad), bad, err)
		}
	}
}

// What the processor writes into a buffer's contents is what kernels read.
func TestContents(t *testing.T) {
	b := newBench(t)
	contents := b.buffer.Contents()
	if len(contents) != 4*count {
		t.Fatalf("got %d bytes, want %d", len(contents), 4*count)
	}
	for i := 0; i < len(contents); i += 4 {
		binary.LittleEndian.PutUint32(contents[i:], 7)
	}
	b.record()
	if got := b.value(); got != 8 {
		t.Errorf("got %d, want 8", got)
	}
}

func TestOrder(t *testing.T) {
	b := newBench(t)
	for range 5 {
		for range 3 {
			b.record()
			b.queue.Barrier()
		}
		if _, err := b.queue.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.value(); got != 15 {
		t.Errorf("got %d, want 15", got)
	}
	if err := b.queue.Write(driver.Binding{Buffer: b.buffer, Offset: 4}, []byte{7}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 8)
	if err := b.queue.Read(got, driver.Binding{Buffer: b.buffer}); err != nil || got[0] != 15 || got[4] != 7 {
		t.Errorf("after Write: got %v, %v", got, err)
	}
}

func TestManyCommitsUnderWay(t *testing.T) {
	b := newBench(t)
	var last driver.Fence
	for i := range 200 {
		b.record()
		f, err := b.queue.Commit()
		if err != nil || f != last+1 {
			t.Fatalf("commit %d: got fence %d, %v, want %d", i, f, err, last+1)
		}
		last = f
		if i >= 3 {
			if err := b.queue.Wait(f - 3); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := b.value(); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	if busy := b.queue.(interface{ Busy() time.Duration }).Busy(); busy <= 0 || busy > time.Minute {
		t.Errorf("busy: got %v, want the time of 200 command buffers", busy)
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	b := newBench(t)
	bindings := []driver.Binding{{Buffer: b.buffer}}
	step := func() {
		for range 50 {
			b.queue.Dispatch(b.add, groups, threads, constants, bindings)
			b.queue.Barrier()
		}
		f, err := b.queue.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.queue.Wait(f); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		step()
	}
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("a step: got %g allocations, want 0", n)
	}
}

func TestLibrariesAndPipelinesAreKept(t *testing.T) {
	b := newBench(t)
	first, _ := b.device.Library("add")
	second, err := b.device.Library("add")
	if err != nil || first != second {
		t.Errorf("library, twice: got %v, %v", second, err)
	}
	if b.pipeline("add") != b.add {
		t.Error("pipeline, twice: got another")
	}
}

func TestErrorsOfLibraries(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct{ file, kernel, want string }{
		{"unknown", "", `no kernels "unknown"`},
		{"broken", "", "missing"},
		{"add", "subtract", "no such function"},
	} {
		kernels, err := b.device.Library(c.file)
		if err == nil {
			_, err = kernels.Pipeline(c.kernel, 0)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want a word of %q", c.file, c.kernel, err, c.want)
		}
	}
	// A library that was refused does not take the others with it.
	b.record()
	if got := b.value(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestFewerThreads(t *testing.T) {
	mtltest.Load(t)
	mtltest.Threads(96)
	defer mtltest.Threads(1024)
	b := newBench(t)
	if got := b.add.MaxThreads(); got != 96 {
		t.Fatalf("MaxThreads: got %d, want 96", got)
	}
	b.record()
	if got := b.value(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	b.queue.Dispatch(b.add, groups, 128, constants, []driver.Binding{{Buffer: b.buffer}})
	if _, err := b.queue.Commit(); err == nil || !strings.Contains(err.Error(), "1 to 96") {
		t.Errorf("128 threads: got %v", err)
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	b := newBench(t)
	other := newBench(t)
	freed, err := b.device.Buffer(4)
	if err != nil {
		t.Fatal(err)
	}
	freed.Free()
	bind := func(buffer driver.Buffer, offset int64) []driver.Binding {
		return []driver.Binding{{Buffer: buffer, Offset: offset}}
	}
	good := bind(b.buffer, 0)
	for _, c := range []struct {
		name      string
		pipeline  driver.Pipeline
		groups    driver.Size
		threads   int
		constants []byte
		bindings  []driver.Binding
		want      string
	}{
		{"no pipeline", nil, one, threads, constants, good, "pipeline"},
		{"pipeline of another device", other.add, one, threads, constants, good, "pipeline of this device"},
		{"no threadgroups", b.add, driver.Size{X: 1, Y: 0, Z: 1}, threads, constants, good, "threadgroups"},
		{"too many threadgroups", b.add, driver.Size{X: 1 << 40, Y: 1, Z: 1}, threads, constants, good, "threadgroups"},
		{"no threads", b.add, one, 0, constants, good, "threads"},
		{"too many threads", b.add, one, 64 * 64, constants, good, "threads"},
		{"threads past 32 bits", b.add, one, 1<<32 + 64, constants, good, "threads"},
		{"no constants", b.add, one, threads, nil, good, "constants"},
		{"too many constants", b.add, one, threads, make([]byte, 260), good, "constants"},
		{"no buffer", b.add, one, threads, constants, bind(nil, 0), "buffer 1"},
		{"buffer of another device", b.add, one, threads, constants, bind(other.buffer, 0), "another device"},
		{"freed buffer", b.add, one, threads, constants, bind(freed, 0), "freed"},
		{"negative offset", b.add, one, threads, constants, bind(b.buffer, -4), "offset -4"},
		{"offset behind the end", b.add, one, threads, constants, bind(b.buffer, 4*count), "offset 1024"},
		{"odd offset", b.add, one, threads, constants, bind(b.buffer, 2), "multiple of 4"},
		{"too many bindings", b.add, one, threads, constants, make([]driver.Binding, 31), "bindings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.queue.Dispatch(c.pipeline, c.groups, c.threads, c.constants, c.bindings)
			b.record() // dropped, as the stream has an error
			_, err := b.queue.Commit()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Commit: got %v, want a word of %q", err, c.want)
			}
			if again := b.queue.Wait(0); again == nil || again.Error() != err.Error() {
				t.Errorf("Wait: got %v, want the first error again", again)
			}
			if err := b.queue.Reset(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if got := b.value(); got != 0 {
		t.Errorf("after nothing but mistakes: got %d, want 0", got)
	}
	if err := b.queue.Wait(1 << 40); err == nil {
		t.Error("a fence of the future: got no error")
	}
	if err := b.queue.Reset(); err != nil {
		t.Fatal(err)
	}
	for _, at := range []driver.Binding{{Buffer: b.buffer, Offset: 4*count - 3}, {Buffer: freed}, {}} {
		if err := b.queue.Read(make([]byte, 4), at); err == nil {
			t.Errorf("Read from %v: got no error", at)
		}
		if err := b.queue.Reset(); err != nil {
			t.Fatal(err)
		}
	}
}

// Every way in which Metal can refuse: an error that says what, nothing leaked, and a queue that works after Reset.
func TestFaultsOfAQueue(t *testing.T) {
	for _, c := range []struct {
		fault, want string
		kind        error
	}{
		{"command buffer", "no command buffer", kern.ErrDevice},
		{"encoder", "no compute encoder", kern.ErrDevice},
		{"execution", "the execution was made to fail", kern.ErrDevice},
		{"execution for good", "the execution was made to fail", kern.ErrDevice},
		{"out of memory", "Insufficient Memory", kern.ErrMemory},
	} {
		t.Run(c.fault, func(t *testing.T) {
			b := newBench(t)
			mtltest.Fail(c.fault, 1, 1)
			var err error
			for range 3 {
				b.record()
				if _, err = b.queue.Commit(); err != nil {
					break
				}
			}
			if err == nil {
				err = b.queue.Read(make([]byte, 4), driver.Binding{Buffer: b.buffer})
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want a word of %q, and %v", err, c.want, c.kind)
			}
			b.record()
			if _, again := b.queue.Commit(); again == nil {
				t.Error("Commit after the failure: got no error")
			}
			b.works()
		})
	}
}

// works looks, after Reset, whether the queue does its work.
func (b *bench) works() {
	b.t.Helper()
	if err := b.queue.Reset(); err != nil {
		b.t.Fatal(err)
	}
	before := b.value()
	b.record()
	if got := b.value(); got != before+1 {
		b.t.Errorf("after Reset: got %d, want %d", got, before+1)
	}
}

// An encoder that is freed without its end would end the process on a Mac, and the error with it.
func TestEncoderOfOtherTypes(t *testing.T) {
	b := newBench(t)
	mtltest.Fail("encoder types", 0, 1)
	b.record()
	err := b.queue.Read(make([]byte, 4), driver.Binding{Buffer: b.buffer})
	if !errors.Is(err, kern.ErrDevice) || !strings.Contains(err.Error(), "memoryBarrierWithScope:: got types") {
		t.Errorf("got %v, want the method of other types, and %v", err, kern.ErrDevice)
	}
	b.works()
}

// A queue that ignores all after an error is replaced; where none is to be had, the next Reset tries again.
func TestNoOtherQueue(t *testing.T) {
	b := newBench(t)
	mtltest.Fail("execution for good", 0, 1)
	mtltest.Fail("queue", 0, 1)
	b.record()
	if err := b.queue.Read(make([]byte, 4), driver.Binding{Buffer: b.buffer}); err == nil {
		t.Fatal("got no error")
	}
	if err := b.queue.Reset(); err == nil || !strings.Contains(err.Error(), "lost: metal: no command queue") {
		t.Errorf("Reset: got %v, want to hear that there is no command queue", err)
	}
	b.works()
}

func TestLostDevice(t *testing.T) {
	b := newBench(t)
	mtltest.Fail("execution", 0, 1000)
	defer mtltest.Fail("execution", 0, 0)
	b.record()
	f, err := b.queue.Commit()
	if err == nil {
		err = b.queue.Wait(f)
	}
	if err == nil {
		t.Fatal("got no error")
	}
	if err := b.queue.Reset(); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("Reset: got %v, want to hear that the device is lost", err)
	}
}

func TestKernelThatGoesWrong(t *testing.T) {
	b := newBench(t)
	part := b.pipeline("part")
	some := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 5), 0)
	b.queue.Dispatch(part, one, threads, some, []driver.Binding{{Buffer: b.buffer}})
	f, err := b.queue.Commit()
	if err == nil {
		err = b.queue.Wait(f)
	}
	if err == nil || !strings.Contains(err.Error(), "part: ") || !strings.Contains(err.Error(), "line 13") {
		t.Errorf("got %v, want the kernel and the line of its barrier", err)
	}
}

func TestFaultsOfADevice(t *testing.T) {
	for _, c := range []struct {
		fault, want string
		kind        error
		provoke     func(d driver.Device) error
	}{
		{"buffer", "no memory", kern.ErrMemory, func(d driver.Device) error {
			b, err := d.Buffer(64)
			if err == nil {
				b.Free()
			}
			return err
		}},
		{"buffer without a copy", "refuses to use memory of the process in place", kern.ErrMemory, func(d driver.Device) error {
			b, err := d.Wrap(pages(t))
			if err == nil {
				b.Free()
			}
			return err
		}},
		{"queue", "no command queue", kern.ErrDevice, func(d driver.Device) error { _, err := d.Queue(); return err }},
		{"library", "error: the library was made to fail", kern.ErrDevice, func(d driver.Device) error { _, err := d.Library("add"); return err }},
		{"function", "no such function", kern.ErrDevice, addPipeline},
		{"pipeline", "the pipeline was made to fail", kern.ErrDevice, addPipeline},
	} {
		t.Run(c.fault, func(t *testing.T) {
			d := mtltest.Open(t, source)
			mtltest.Fail(c.fault, 0, 1)
			if err := c.provoke(d); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a word of %q, and %v", err, c.want, c.kind)
			}
			if err := c.provoke(d); err != nil {
				t.Errorf("the next time: %v", err)
			}
		})
	}
}

func addPipeline(d driver.Device) error {
	library, err := d.Library("add")
	if err != nil {
		return err
	}
	_, err = library.Pipeline("add", 0)
	return err
}

// An object whose methods are of other types is refused, and released.
func TestOtherTypes(t *testing.T) {
	mtltest.Load(t)
	for _, name := range []string{
		"hasUnifiedMemory", "contents", "commandBufferWithUnretainedReferences", "newFunctionWithName:", "setLanguageVersion:", "threadExecutionWidth",
	} {
		t.Run(name, func(t *testing.T) {
			defer metal.OtherTypes(name)()
			before := mtltest.Live()
			d, err := metal.Open(source)
			if err == nil {
				_, buffer := d.Buffer(64)
				_, queue := d.Queue()
				err = errors.Join(buffer, queue, addPipeline(d))
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
			if !errors.Is(err, kern.ErrDevice) || !strings.Contains(err.Error(), name+": got types") {
				t.Errorf("got %v, want the method of other types, and %v", err, kern.ErrDevice)
			}
			if n := mtltest.Leaked(before); n > 0 {
				t.Errorf("%d objects leaked", n)
			}
		})
	}
}

// Before macOS 15 one method decides about all arithmetic; the second library must not ask again for those that are missing.
func TestBeforeMacOS15(t *testing.T) {
	mtltest.Load(t)
	mtltest.Fail("math mode", 0, 1000)
	defer mtltest.Fail("math mode", 0, 0)
	b := newBench(t)
	if _, err := b.device.Library("again"); err != nil {
		t.Fatal(err)
	}
	b.record()
	if got := b.value(); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestFindsADevice(t *testing.T) {
	mtltest.Load(t)
	t.Run("in the list", func(t *testing.T) {
		mtltest.Fail("default device", 0, 1)
		newBench(t).record()
	})
	t.Run("not at all", func(t *testing.T) {
		before := mtltest.Live()
		mtltest.Fail("default device", 0, 1)
		mtltest.Fail("all devices", 0, 1)
		_, err := metal.Open(source)
		if !errors.Is(err, kern.ErrUnavailable) || !strings.Contains(err.Error(), "MTLCopyAllDevices") {
			t.Errorf("got %v, want unavailable", err)
		}
		if after := mtltest.Live(); after != before {
			t.Errorf("%d objects leaked", after-before)
		}
	})
	t.Run("too old", func(t *testing.T) {
		before := mtltest.Live()
		mtltest.Fail("family", 0, 1)
		if _, err := metal.Open(source); !errors.Is(err, kern.ErrUnavailable) || !strings.Contains(err.Error(), "want Apple silicon") {
			t.Errorf("got %v, want unavailable", err)
		}
		if after := mtltest.Live(); after != before {
			t.Errorf("%d objects leaked", after-before)
		}
	})
	t.Run("of other types", func(t *testing.T) { // it is there, and fails
		defer metal.OtherTypes("maxBufferLength")()
		if _, err := metal.Open(source); !errors.Is(err, kern.ErrDevice) || errors.Is(err, kern.ErrUnavailable) {
			t.Errorf("got %v, want %v", err, kern.ErrDevice)
		}
	})
	t.Run("without the stand-in", func(t *testing.T) {
		t.Setenv(metal.LibraryVariable, "")
		if _, err := metal.Open(source); !errors.Is(err, kern.ErrUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
		t.Setenv(metal.LibraryVariable, "/does/not/exist.so")
		if _, err := metal.Open(source); !errors.Is(err, kern.ErrUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
	})
}

func TestManyGoroutines(t *testing.T) {
	d := mtltest.Open(t, source)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			q, err := d.Queue()
			if err != nil {
				t.Error(err)
				return
			}
			defer q.Close()
			for range 20 {
				buffer, err := d.Buffer(4 * count)
				if err != nil {
					t.Error(err)
					return
				}
				if err := addPipeline(d); err != nil {
					t.Error(err)
				}
				library, _ := d.Library("add")
				add, _ := library.Pipeline("add", 0)
				q.Dispatch(add, groups, threads, constants, []driver.Binding{{Buffer: buffer}})
				got := make([]byte, 4)
				if err := q.Read(got, driver.Binding{Buffer: buffer}); err != nil || got[0] != 1 {
					t.Errorf("got %v, %v", got, err)
				}
				buffer.Free()
			}
		})
	}
	group.Wait()
}

func TestClosed(t *testing.T) {
	d := mtltest.Open(t, source)
	q, err := d.Queue()
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Buffer(4)
	if err != nil {
		t.Fatal(err)
	}
	held, err := d.Buffer(4) // Close frees it; the stand-in would tell
	if err != nil {
		t.Fatal(err)
	}
	b.Free()
	defer held.Free()
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := q.Commit(); err == nil {
		t.Error("Commit: got no error")
	}
	if _, err := d.Buffer(4); err == nil {
		t.Error("Buffer: got no error")
	}
	if _, err := d.Wrap(pages(t)); err == nil {
		t.Error("Wrap: got no error")
	}
	if _, err := d.Library("add"); err == nil {
		t.Error("Library: got no error")
	}
	if _, err := d.Queue(); err == nil {
		t.Error("Queue: got no error")
	}
	if err := q.Reset(); err == nil {
		t.Error("Reset: got no error")
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
