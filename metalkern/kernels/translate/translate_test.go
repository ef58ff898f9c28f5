package translate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `// a comment with kernel void not(
struct XArgs { ulong at; uint n, m; float scale[3]; half4 h; uchar c; };
struct Moments { float mean; float scale() { return 1.0f; } };
/* kernel void nor( */
#define IGNORED kernel void this(
kernel void copy(
    constant XArgs& a [[buffer(0)]],
    device const float4* x [[ buffer(1) ]],
    const device half* w [[buffer(2)]],
    device float* y [[buffer(3)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]])
{
    y[uint(w[lane])] = a.scale[0] * 'c' + x[group.x].y;
}
`

func TestParse(t *testing.T) {
	f, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Kernels) != 1 || len(f.Structs) != 1 {
		t.Fatalf("got %d kernels and %d plain structs, want 1 and 1: %+v", len(f.Kernels), len(f.Structs), f)
	}
	k := f.Kernels[0]
	if k.Name != "copy" || k.Constants != "XArgs" || k.Buffers() != 4 || k.Writes() != 1<<3 || len(k.Params) != 6 {
		t.Errorf("got %+v", k)
	}
	if k.Place != "line 6" {
		t.Errorf("place: got %s, want line 6", k.Place)
	}
	if p := k.Params[2]; p.Name != "w" || p.Type != "half" || !p.Const || p.Space != "device" || !p.Pointer || p.Index != 2 {
		t.Errorf("parameter w: got %+v", p)
	}
	s, ok := f.Struct("XArgs")
	if !ok {
		t.Fatal("no struct XArgs")
	}
	var got []string
	for _, field := range s.Fields {
		got = append(got, fmt.Sprintf("%s %s×%d %d+%d", field.Name, field.Type, field.Count, field.Offset, field.Size))
	}
	want := "at ulong×1 0+8, n uint×1 8+4, m uint×1 12+4, scale float×3 16+12, h half4×1 32+8, c uchar×1 40+1"
	if strings.Join(got, ", ") != want || s.Size != 48 || s.Align != 8 {
		t.Errorf("got %s, size %d, align %d, want %s, 48, 8", strings.Join(got, ", "), s.Size, s.Align, want)
	}
}

// The compilers lay structs out as this package says.
func TestLayoutIsTheCompilers(t *testing.T) {
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("g++ is missing")
	}
	f, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	program.WriteString("#include <cstddef>\n" + strings.Replace(f.CPU(), "static void mk_body_copy", "__attribute__((unused)) static void mk_body_copy", 1))
	for _, s := range f.Structs {
		fmt.Fprintf(&program, "static_assert(sizeof(mk::%s) == %d && alignof(mk::%s) == %d, \"\");\n", s.Name, s.Size, s.Name, s.Align)
		for _, field := range s.Fields {
			fmt.Fprintf(&program, "static_assert(offsetof(mk::%s, %s) == %d && sizeof(mk::%s::%s) == %d, \"\");\n", s.Name, field.Name, field.Offset, s.Name, field.Name, field.Size)
		}
	}
	file := filepath.Join(t.TempDir(), "layout.cc")
	if err := os.WriteFile(file, []byte(program.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("g++", "-std=gnu++20", "-w", "-fsyntax-only", "-I../../mtltest/cpp", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestLinesStay(t *testing.T) {
	f, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"CPU": f.CPU(), "Check": f.Check(), "CUDA": f.CUDA("x.h")} {
		lines := strings.Split(text, "\n")
		source := strings.Split(sample, "\n")
		for i, line := range source {
			if strings.Contains(line, "a.scale[0]") && lines[i+1] != line { // the target's header is one line
				t.Errorf("%s: line %d: got %q, want %q", name, i+2, lines[i+1], line)
			}
		}
		if strings.Contains(text, "[[") {
			t.Errorf("%s: an attribute was left", name)
		}
	}
}

func TestEntries(t *testing.T) {
	f, err := Parse(sample)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{f.CPU(), "MK_KERNEL(copy, 0x8, 4, 48, mk_body_copy(*reinterpret_cast<const XArgs*>(c->buffer[0]), reinterpret_cast<const float4*>(c->buffer[1]), "},
		{f.CPU(), "uint2(threadgroup_position_in_grid().x, threadgroup_position_in_grid().y), thread_index_in_simdgroup()))"},
		{f.CUDA("x.h"), `extern "C" __global__ void copy(XArgs b0, const float4* b1, const half* b2, float* b3) { mk_body_copy(b0, b1, b2, b3, `},
		{f.CUDA("x.h"), "const XArgs& a"},
		{f.Check(), "kernel void copy(\n"},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("want %q in\n%s", c.want, c.got)
		}
	}
	if words := f.CUDA("x.h"); strings.Contains(words, "device const") || strings.Contains(words, "constant ") {
		t.Errorf("CUDA: address spaces were left:\n%s", words)
	}
}

func TestLineMarkers(t *testing.T) {
	_, err := Parse("# 41 \"norm.metal\"\n\nkernel int f()")
	if err == nil || !strings.Contains(err.Error(), "norm.metal:42") {
		t.Errorf("got %v, want norm.metal:42", err)
	}
	_, err = Parse("#line 7 \"a.metal\"\nkernel int f()")
	if err == nil || !strings.Contains(err.Error(), "a.metal:7") {
		t.Errorf("got %v, want a.metal:7", err)
	}
}

func TestRules(t *testing.T) {
	const args = "struct A { uint n; };\n"
	for _, c := range []struct{ text, want string }{
		{"kernel void f(uint i)", "without an attribute"},
		{"kernel void f(uint i [[thread_position_in_grid]]", "never closed"},
		{"kernel f()", "want: kernel void name("},
		{"kernel void f(uint i [[mystery]]) {}", "not one that all the compilers know"},
		{"kernel void f(float i [[thread_position_in_grid]]) {}", "want uint"},
		{"kernel void f(uint2 i [[thread_index_in_simdgroup]]) {}", "want uint"},
		{"kernel void f(uint2 i [[thread_position_in_grid]], uint g [[threadgroup_position_in_grid]]) {}", "same width"},
		{args + "kernel void f(device float* a [[buffer(0)]]) {}", "want the constants"},
		{"kernel void f(constant Unknown& a [[buffer(0)]]) {}", "not a struct of this file"},
		{"struct A { uint n[65]; };\nkernel void f(constant A& a [[buffer(0)]]) {}", "260 bytes"},
		{args + "kernel void f(constant A& a [[buffer(0)]], constant float* x [[buffer(1)]]) {}", "want a device pointer"},
		{args + "kernel void f(constant A& a [[buffer(0)]], device float* x [[buffer(2)]]) {}", "a gap at 1"},
		{args + "kernel void f(constant A& a [[buffer(0)]], device float* x [[buffer(1)]], device float* y [[buffer(1)]]) {}", "bound twice"},
		{args + "kernel void f(constant A& a [[buffer(31)]]) {}", "want 0 to 30"},
		{"kernel void f() {}\nkernel void f() {}", "declared twice"},
		{"float f(device float* x) { return *(device float*)x; }", "reinterpret_cast<device float*>"},
		{"float f(float* x) { return *x; }", "float* without an address space"},
		{"float f(const float4& x) { return x.x; }", "const float4& without an address space"},
		{"void f() { threadgroup float t[4]; }", "want TG_ARRAY(float, t, count)"},
		{"/* never", "comment has no end"},
		{"char c = 'x", "literal has no end"},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want a word of %q", c.text, err, c.want)
		}
	}
	// What looks like a breach and is none.
	for _, text := range []string{
		"float f(float a, float b) { return (a) * b + float(a)*b; }",
		"uint f(uint a, uint b) { return (a & b) * (b); }",
		"float f(device const float* x, thread float& y) { return y * *x; }",
		"uint f(uint n) { return n * sizeof(float) & n; }",
	} {
		if _, err := Parse(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzParse: no text makes the parser panic, and what it accepts it can emit.
func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Add("struct A { uint n[2]; };\nkernel void f(constant A& a [[buffer(0)]]) {}")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse(text)
		if err != nil {
			return
		}
		for _, out := range []string{file.CPU(), file.Check(), file.CUDA("x.h")} {
			if strings.Count(out, "\n") < strings.Count(text, "\n") {
				t.Errorf("lines were lost: %q", out)
			}
		}
	})
}
