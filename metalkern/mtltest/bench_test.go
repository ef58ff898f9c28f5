//go:build linux && amd64

package mtltest

import (
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"segue/metalkern/ccall"
)

// BenchmarkThreads is what a GPU thread costs the executor: one that meets nobody, and one that joins in a sum.
func BenchmarkThreads(b *testing.B) {
	const kernels = `
struct Args { uint n; };
kernel void alone(constant Args& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]], uint i [[thread_position_in_grid]])
{
	if (i == a.n) y[0] = x[0];
}
kernel void sum(constant Args& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]], uint i [[thread_position_in_grid]])
{
	if (simd_sum(float(i)) < 0.0f) y[0] = x[0];
}
`
	const threads, groups = 256, 1000
	r := newRig(b, kernels, 4, 4)
	for _, kernel := range []string{"alone", "sum"} {
		b.Run(kernel, func(b *testing.B) {
			for b.Loop() {
				r.dispatch(kernel, groups, threads, 0)
				if _, err := r.read(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/threads/groups, "ns/thread")
		})
	}
}

// BenchmarkMessage is what the driver pays for one Objective-C message, beside the ways that purego offers. The message
// asks the stand-in for a buffer's length; finding the method is the same for all.
func BenchmarkMessage(b *testing.B) {
	Load(b)
	device := call(symbol("MTLCreateSystemDefaultDevice"))
	defer send(device, "release")
	buffer := send(device, "newBufferWithLength:options:", 4096, 0)
	defer send(buffer, "release")
	name := append([]byte("length"), 0)
	selector := call(symbol("sel_registerName"), uintptr(unsafe.Pointer(&name[0])))
	msgSend, err := purego.Dlsym(standin.handle, "objc_msgSend")
	if err != nil {
		b.Fatal(err)
	}
	check := func(b *testing.B, got uintptr) {
		if got != 4096 {
			b.Fatalf("got %d, want 4096", got)
		}
	}
	b.Run("ccall", func(b *testing.B) {
		b.ReportAllocs()
		c := &ccall.Call{}
		for b.Loop() {
			c.Args[0], c.Args[1] = buffer, selector
			check(b, c.Call(msgSend))
		}
	})
	b.Run("SyscallN", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			got, _, _ := purego.SyscallN(msgSend, buffer, selector)
			check(b, got)
		}
	})
	b.Run("RegisterFunc", func(b *testing.B) {
		b.ReportAllocs()
		var message func(to, selector uintptr) uintptr
		purego.RegisterFunc(&message, msgSend)
		for b.Loop() {
			check(b, message(buffer, selector))
		}
	})
}
