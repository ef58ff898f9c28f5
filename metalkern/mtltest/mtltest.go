//go:build linux && (amd64 || arm64)

// Package mtltest runs metalkern's kernels and its Metal driver where there is no Metal: a library with the functions of
// Objective-C and Metal that the driver calls, whose GPU is the processor.
//
//	metal driver, unmodified ─► libmetal-standin.so ─► compiler: translate, g++ ─► kernels as a shared object
//	                                     └─► fibers, a threadgroup at a time: cpp/mtl_fiber.h
//
// The stand-in reports what is wrong with the calls, executes in an order that a seed decides, and fails where a test
// asks it to. cpp/ holds it; it is built by g++ when first needed.
package mtltest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/ebitengine/purego"

	"segue/metalkern/driver"
	"segue/metalkern/metal"
)

// RecordVariable names a folder for the dispatches of a test run, which command sanitize runs again.
const RecordVariable = "SEGUE_METAL_RECORD"

// standin is the loaded library: one for a process, as Metal is.
var standin struct {
	once   sync.Once
	err    error
	path   string
	handle uintptr
}

// Open opens the Metal driver over the stand-in, with kernels from source, for one test. When the test ends, the device
// is closed, and what the stand-in reports fails the test: misuse, and objects that were not released.
func Open(t testing.TB, source func(name string) (string, error)) driver.Device {
	t.Helper()
	Load(t)
	Seed(1)
	before := Live()
	d, err := metal.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if n := Leaked(before); n > 0 {
			t.Errorf("mtltest: %d objects were not released", n)
		}
		if text := Reports(); text != "" {
			t.Errorf("mtltest: the stand-in reports:\n%s", text)
		}
	})
	return d
}

// Leaked counts the objects beyond those of before, once the stand-in's GPU has let go of the last command buffer.
func Leaked(before int64) (n int64) {
	for range 1000 {
		if n = Live() - before; n <= 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// Load builds and loads the stand-in, and lets the driver find it. Without g++ the test is skipped, unless SEGUE_REQUIRE
// names it.
func Load(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath(cxx()); err != nil {
		if required("g++") {
			t.Fatal("mtltest: g++ is missing, and SEGUE_REQUIRE asks for it (Debian: apt-get install g++)")
		}
		t.Skip("mtltest: g++ is missing, so there is no stand-in for Metal (Debian: apt-get install g++)")
	}
	standin.once.Do(func() { standin.err = load() })
	if standin.err != nil {
		t.Fatal(standin.err)
	}
	t.Setenv(metal.LibraryVariable, standin.path) // for this test alone: others take the device that the machine has
}

// required says whether the environment asks that a test fails, instead of being skipped, where what is missing.
func required(what string) bool {
	return slices.Contains(strings.Fields(os.Getenv("SEGUE_REQUIRE")), what)
}

func load() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	path, err := Build(filepath.Join(root, "build", "mtltest"))
	if err != nil {
		return err
	}
	standin.path = path
	standin.handle, err = purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("mtltest: %w", err)
	}
	for name, to := range map[string]*uintptr{
		"mtltest_collect": &entry.collect, "mtltest_seed": &entry.seed, "mtltest_live": &entry.live,
		"mtltest_threads": &entry.threads, "mtltest_fail": &entry.fail, "mtltest_record": &entry.record,
		"mtltest_reports": &entry.reports,
	} {
		if *to, err = purego.Dlsym(standin.handle, name); err != nil {
			return fmt.Errorf("mtltest: %s was built from other sources than this package: %w", path, err)
		}
	}
	call(entry.collect)
	Record(os.Getenv(RecordVariable))
	return nil
}

// entry holds the stand-in's own functions, found by load.
var entry struct{ collect, seed, live, threads, fail, record, reports uintptr }

func call(function uintptr, words ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(function, words...)
	return r
}

// Seed decides the order of threads, simdgroups, and dispatches that no barrier orders; 0 is the natural order.
func Seed(n uint64) { call(entry.seed, uintptr(n)) }

// Live counts the Objective-C objects that are held.
func Live() int64 { return int64(call(entry.live)) }

// Threads limits the threads of a threadgroup for pipelines made from now on, as a kernel with many registers does.
func Threads(most int) { call(entry.threads, uintptr(most)) }

// Fail makes what fail, times times after skip successes: "default device", "all devices", "family", "queue", "buffer", "buffer
// without a copy", "library", "function", "pipeline", "command buffer", "encoder", "execution"; "out of memory": an execution,
// for want of that; "execution for good": all later ones of the same queue fail too; "encoder types": a method of the encoder
// has others; "math mode": the options for a library have none, as before macOS 15.
func Fail(what string, skip, times int) {
	text := append([]byte(what), 0)
	call(entry.fail, uintptr(unsafe.Pointer(&text[0])), uintptr(skip), uintptr(times))
}

// Record has every dispatch from now on written to a folder, or none where it is empty.
func Record(folder string) {
	text := append([]byte(folder), 0)
	call(entry.record, uintptr(unsafe.Pointer(&text[0])))
}

// Reports returns what was wrong since the last call, a line each.
func Reports() string {
	text := make([]byte, 64<<10)
	call(entry.reports, uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)))
	return strings.TrimRight(string(text), "\x00")
}
