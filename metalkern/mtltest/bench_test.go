//go:build linux && (amd64 || arm64)

package mtltest

import "testing"

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
