//go:build linux && (amd64 || arm64)

package mtltest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"segue/metalkern/kernels/translate"
)

// The text that mutants are made from: sums of rows, twice, by several simdgroups; and a chain of two dispatches.
const goodText = `
struct Args { uint rows; uint width; uint shift; };
kernel void sum_rows(constant Args& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]],
	uint row [[threadgroup_position_in_grid]], uint tid [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
	uint simd [[simdgroup_index_in_threadgroup]], uint simds [[simdgroups_per_threadgroup]], uint threads [[threads_per_threadgroup]])
{
	TG_ARRAY(float, part, 32);
	if (row >= a.rows) return;
	for (uint pass = 0; pass < 2u; pass++) {
		float s = 0.0f;
		for (uint i = tid; i < a.width; i += threads) s += x[row * a.width + i] * float(pass + 1u);
		s = simd_sum(s);
		if (lane == 0u) part[simd] = s;
		threadgroup_barrier(mem_flags::mem_threadgroup); // A
		float total = 0.0f;
		for (uint k = 0; k < simds; k++) total += part[k];
		if (tid == 0u) y[row * 2u + pass] = total;
		threadgroup_barrier(mem_flags::mem_threadgroup); // B
	}
	const float4 four = *reinterpret_cast<device const float4*>(x + 4u * lane);
	if (tid == 0u) y[row * 2u] += four.x * 0.0f + float((1u << a.shift) * 0u) + float(uint(four.y) * 0u);
}
kernel void double_rows(constant Args& a [[buffer(0)]], device const float* x [[buffer(1)]], device float* y [[buffer(2)]],
	uint i [[thread_position_in_grid]])
{
	if (i < 2u * a.rows) y[i] = y[i] * 2.0f;
}
`

// recordGood runs the good text and returns the recorded dispatches.
func recordGood(t *testing.T) []string {
	t.Helper()
	r := newRig(t, goodText, 4*5*150, 4*2*5)
	folder := t.TempDir()
	r.write(floats(5*150, func(i int) float32 { return float32(i % 13) }))
	Record(folder)
	r.dispatch("sum_rows", 6, 128, 5, 150, 3)
	r.queue.Barrier()
	r.dispatch("double_rows", 1, 32, 5, 150, 3)
	got, err := r.read()
	Record(os.Getenv(RecordVariable))
	if err != nil {
		t.Fatal(err)
	}
	for row := range 5 {
		var want float32
		for i := range 150 {
			want += float32((row*150 + i) % 13)
		}
		if float(got, 2*row) != 2*want || float(got, 2*row+1) != 4*want {
			t.Errorf("row %d: got %g and %g, want %g and %g", row, float(got, 2*row), float(got, 2*row+1), 2*want, 4*want)
		}
	}
	return recorded(t, folder, 2)
}

func recorded(t *testing.T, folder string, want int) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, LibraryName(goodText), "*.dispatch"))
	if err != nil || len(files) != want {
		t.Fatalf("recorded: got %v, %v, want %d files", files, err, want)
	}
	return files
}

// compiled makes a program of a text for each sanitizer, by its name.
func compiled(t *testing.T, text string) map[string]func(suffix string, files []string) error {
	t.Helper()
	parsed, err := translate.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]func(string, []string) error{}
	for _, s := range Sanitizers {
		program := filepath.Join(t.TempDir(), "replay")
		if err := s.Compile([]byte(parsed.CPU()), program); err != nil {
			t.Fatal(err)
		}
		all[s.Name] = func(suffix string, files []string) error { return s.Replay(program, suffix, files) }
	}
	return all
}

const address, thread = "address+undefined", "thread"

// Each mutant is the good text with one mistake, and must be found by the sanitizer that it is for.
var mutants = []struct{ name, sanitizer, old, new, want string }{
	{"no barrier between write and read", thread, "threadgroup_barrier(mem_flags::mem_threadgroup); // A", "", "data race"},
	{"no barrier between read and next write", thread, "threadgroup_barrier(mem_flags::mem_threadgroup); // B", "", "data race"},
	{"barrier of the simdgroup alone", thread, "threadgroup_barrier(mem_flags::mem_threadgroup); // A", "simdgroup_barrier(mem_flags::mem_threadgroup);", "data race"},
	{"threadgroups that write one place", thread, "y[row * 2u + pass] = total", "y[pass] = total", "data race"},
	{"threads that write one place", thread, "if (tid == 0u) y[row * 2u + pass] = total", "y[row * 2u + pass] = float(tid)", "data race"},
	{"read behind the end of a buffer", address, "i < a.width;", "i <= a.width;", "heap-buffer-overflow"},
	{"write behind the end of a buffer", address, "row >= a.rows", "row > a.rows", "heap-buffer-overflow"},
	{"vector at an odd place", address, "x + 4u * lane", "x + 1u + lane", "misaligned"},
	{"vector of more bytes than an array is aligned to", address, "float total = 0.0f;", "const ulong4 wide = *reinterpret_cast<threadgroup const ulong4*>(part); float total = float(wide.x * 0u);", "misaligned"},
	{"shift by 35", address, "1u << a.shift", "1u << (a.shift + 32u)", "shift exponent"},
	{"negative float to unsigned", address, "uint(four.y)", "uint(-1.0f - four.y)", "outside the range"},
	{"last thread wins", address, "if (tid == 0u) y[row * 2u + pass] = total", "y[row * 2u + pass] = float(tid)", "depends on the order"},
}

func TestMutants(t *testing.T) {
	files := recordGood(t)
	text := goodText
	for i, m := range mutants {
		if strings.Count(goodText, m.old) != 1 {
			t.Fatalf("%s: %q is not once in the text", m.name, m.old)
		}
		mutant := strings.Replace(goodText, m.old, m.new, 1)
		_, mutant, _ = strings.Cut(mutant, "};\n") // the struct is there once
		for _, name := range []string{"sum_rows", "double_rows"} {
			mutant = strings.Replace(mutant, name, fmt.Sprintf("%s_%d", name, i), 1)
		}
		text += mutant
	}
	replay := compiled(t, text)
	for _, name := range []string{address, thread} {
		if err := replay[name]("", files); err != nil {
			t.Fatalf("the text without a mistake: %v", err)
		}
	}
	for i, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			err := replay[m.sanitizer](fmt.Sprintf("_%d", i), files)
			if err == nil {
				t.Fatal("the mutant passed")
			}
			if !strings.Contains(err.Error(), m.want) {
				t.Errorf("got %v, want a word of %q", err, m.want)
			}
		})
	}

	t.Run("no barrier between dispatches", func(t *testing.T) {
		r := newRig(t, goodText, 4*5*150, 4*2*5)
		Seed(0)
		folder := t.TempDir()
		Record(folder)
		r.dispatch("sum_rows", 6, 128, 5, 150, 3)
		r.dispatch("double_rows", 1, 32, 5, 150, 3)
		_, err := r.read()
		Record(os.Getenv(RecordVariable))
		if err != nil {
			t.Fatal(err)
		}
		if err := replay[thread]("", recorded(t, folder, 1)); err == nil || !strings.Contains(err.Error(), "data race") {
			t.Errorf("got %v, want a data race", err)
		}
	})
}

func TestMissingKernels(t *testing.T) {
	r := Recorded{Kernels: []string{"a", "b", "c"}, Files: []string{"x/a-0.dispatch", "x/a+c-1.dispatch"}}
	if got := r.Missing(); len(got) != 1 || got[0] != "b" {
		t.Errorf("got %v, want b", got)
	}
}
