//go:build linux && (amd64 || arm64)

package mtltest

import (
	"strings"
	"testing"

	"segue/metalkern/kernels"
)

func clangOrSkip(t *testing.T) string {
	t.Helper()
	clang, err := Clang()
	if err != nil {
		if required("clang") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return clang
}

func TestKernelsPassTheCheck(t *testing.T) {
	clang := clangOrSkip(t)
	for _, name := range kernels.Names() {
		t.Run(name, func(t *testing.T) {
			text, err := kernels.Source(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := Check(clang, name, text); err != nil {
				t.Error(err)
			}
		})
	}
}

// What the check is for: each of these must be refused.
func TestCheckRefuses(t *testing.T) {
	clang := clangOrSkip(t)
	const head = `struct A { uint n; };
static float sum(device const float* x, uint n) { float s = 0.0f; for (uint i = 0; i < n; i++) s += x[i]; return s; }
kernel void k(constant A& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]], device atomic_uint* c [[buffer(3)]], uint i [[thread_position_in_grid]])
{
	TG_ARRAY(float, t, 64);
	t[i] = 0.0f;
	y[i] = t[i] + sum(x, a.n);
`
	if err := Check(clang, "good", head+"}\n"); err != nil {
		t.Fatalf("the text without a mistake: %v", err)
	}
	for _, c := range []struct{ name, body, want string }{
		{"threadgroup memory as device memory", "y[i] = sum(t, 64u);", "no matching function"},
		{"write to constants", "a.n = 1u;", "cannot assign"},
		{"write to what is only read", "x[i] = 1.0f;", "read-only variable"},
		{"double", "y[i] = double(i);", "poisoned"},
		{"double literal", "y[i] = x[i] * 0.1;", "double"},
		{"ambiguous maximum", "y[i] = float(max(i, 1));", "ambiguous"},
		{"C cast between spaces", "y[i] = sum((device const float*)(t), 64u);", "reinterpret_cast"},
		{"reinterpret_cast between spaces", "y[i] = sum(reinterpret_cast<device const float*>(t), 64u);", "reinterpret_cast from"},
		{"pointer without a space", "float* p = &y[i]; *p = 1.0f;", "address space"},
		{"half of a float, unsaid", "half h = x[i]; y[i] = float(h);", "precision"},
		{"atomic in the wrong space", "atomic_fetch_add_explicit(&i, 1u, memory_order_relaxed);", "no matching function"},
		{"matrix of other elements", "simdgroup_half8x8 m; simdgroup_load(m, x, 8);", "no matching function"},
		{"a matrix's own elements", "simdgroup_float8x8 m; y[i] = m.hidden[0];", "private"},
		{"a function that Metal lacks", "y[i] = erf(x[i]);", "undeclared"},
		{"memory for the threadgroup without TG_ARRAY", "threadgroup float u[4]; u[0] = 1.0f;", "TG_ARRAY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(clang, "bad", head+"\t"+c.body+"\n}\n")
			if err == nil {
				t.Fatalf("%s: passed", c.body)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want a word of %q", c.body, err, c.want)
			}
		})
	}
}
