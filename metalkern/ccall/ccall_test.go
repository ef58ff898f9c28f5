//go:build linux

package ccall

import (
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
)

func libc(t testing.TB) uintptr {
	t.Helper()
	lib, err := purego.Dlopen("libc.so.6", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		t.Skipf("this system has no GNU C library to call: %v", err)
	}
	return lib
}

func symbol(t testing.TB, name string) uintptr {
	t.Helper()
	fn, err := purego.Dlsym(libc(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return fn
}

// All six registers arrive, in order, and the result comes back whole.
func TestSixArguments(t *testing.T) {
	snprintf := symbol(t, "snprintf")
	buffer, format := make([]byte, 64), []byte("%ld %ld %ld\x00")
	c := new(Call)
	for range 1000 { // across threads and garbage collections
		c.Args = [MaxArgs]uintptr{uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), uintptr(unsafe.Pointer(&format[0])), 1 << 40, ^uintptr(0), 7}
		if n := c.Call(snprintf); n != 18 {
			t.Fatalf("got length %d, want 18", n)
		}
		runtime.Gosched()
	}
	if got, _, _ := strings.Cut(string(buffer), "\x00"); got != "1099511627776 -1 7" {
		t.Errorf("got %q", got)
	}
	runtime.KeepAlive(format)
}

// A double comes back, and what is passed on the stack arrives: arguments beyond six are where structs by value are.
func TestFloatAndStack(t *testing.T) {
	text := []byte("2.5\x00")
	c := new(Call)
	c.Args = [MaxArgs]uintptr{uintptr(unsafe.Pointer(&text[0]))}
	if c.Call(symbol(t, "strtod")); c.Float != 2.5 {
		t.Errorf("strtod: got %g, want 2.5", c.Float)
	}
	runtime.KeepAlive(text)
	if runtime.GOARCH != "amd64" {
		return
	}
	buffer, format := make([]byte, 64), []byte("%ld %ld %ld %ld %ld\x00")
	c.Args = [MaxArgs]uintptr{uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), uintptr(unsafe.Pointer(&format[0])), 1, 2, 3}
	c.Stack = [6]uintptr{4, 5}
	c.Call(symbol(t, "snprintf"))
	if got, _, _ := strings.Cut(string(buffer), "\x00"); got != "1 2 3 4 5" {
		t.Errorf("snprintf: got %q, want 1 2 3 4 5", got)
	}
	runtime.KeepAlive(format)
}

func TestCallAllocatesNothing(t *testing.T) {
	labs := symbol(t, "labs")
	c := new(Call)
	if n := testing.AllocsPerRun(100, func() { c.Args[0] = ^uintptr(4); c.Call(labs) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
	if c.result != 5 {
		t.Errorf("got %d, want 5", c.result)
	}
}

// The cost of a call beside purego's general one.
func BenchmarkCall(b *testing.B) {
	labs := symbol(b, "labs")
	b.Run("ccall", func(b *testing.B) {
		c := new(Call)
		b.ReportAllocs()
		for b.Loop() {
			c.Call(labs)
		}
	})
	b.Run("purego", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			purego.SyscallN(labs, 5)
		}
	})
}
