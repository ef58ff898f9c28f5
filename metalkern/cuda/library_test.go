package cuda

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"segue/metalkern/kernels"
)

const twoKernels = `.version 8.0
.global .align 4 .u32 table = 1;
.extern .shared .align 1024 .b8 memory_of_a_launch[];
.visible .entry first(
	.param .align 4 .b8 first_param_0[40],
	.param .u64 first_param_1,
	.param .u64 first_param_2
)
{
	ret;
}
.visible .entry second(
	.param .align 8 .b8 second_param_0[256]
)
.maxntid 256, 1, 1
{
	// memory 61504
	mov.u32 %r1, memory_of_a_launch;
	ret;
}
.global .align 4 .u32 other = 2;
`

func TestParsePTX(t *testing.T) {
	p, err := parsePTX(twoKernels)
	if err != nil || len(p.entries) != 2 || p.entries["first"].signature != (signature{40, 2}) || p.entries["second"].signature != (signature{256, 0}) {
		t.Fatalf("got %+v, %v", p, err)
	}
	if p.entries["first"].brought != 0 || p.entries["second"].brought != 61504 {
		t.Errorf("a launch brings %d and %d bytes", p.entries["first"].brought, p.entries["second"].brought)
	}
	if p.head != ".version 8.0\n.global .align 4 .u32 table = 1;\n.extern .shared .align 1024 .b8 memory_of_a_launch[];\n.global .align 4 .u32 other = 2;\n" {
		t.Errorf("head: got %q", p.head)
	}
	if text := p.entries["second"].text; !strings.HasPrefix(text, ".visible .entry second(") || !strings.HasSuffix(text, "\tret;\n}\n") || strings.Contains(text, "first") {
		t.Errorf("second: got %q", text)
	}
	for _, c := range []struct{ from, to string }{
		{"first_param_0[40]", "first_param_0[300]"}, {"first_param_0[40]", "first_param_0[42]"}, {"first_param_0[40]", "first_param_0[0]"},
		{".param .u64 first_param_1", ".param .u32 first_param_1"},
		{".param .align 4 .b8 first_param_0[40]", ".param .u64 first_param_0"}, {")\n", "\n"}, {"\n}", "\n"},
		{"memory 61504", "memory 300000"}, {"memory 61504", "memory 0"}, {"memory 61504", "memory much"}, {"// memory", "//"},
	} {
		if _, err := parsePTX(strings.ReplaceAll(twoKernels, c.from, c.to)); err == nil {
			t.Errorf("with %s: got no error", c.to)
		}
	}
}

// The wait stands at the beginning, or where the text asks for it.
func TestOverlapped(t *testing.T) {
	const head = ".visible .entry k(\n\t.param .u64 a\n)\n{\n\t.reg .b32 %r<2>;\n\t.shared .b8 s[4];\n"
	const load, end = "\tld.param.u64 %rd1, [a];\n", "\tret;\n}\n"
	for _, c := range []struct{ body, want string }{{load, wait + allow + load}, {load + mark + load, allow + load + wait + load}} {
		if got := overlapped(".target sm_80\n" + head + c.body + end); got != ".target sm_90\n"+head+c.want+end {
			t.Errorf("got %s", got)
		}
	}
}

// Every file of kernels has its PTX, which can be taken apart: on GPUs where nothing starts early, where kernels do, and where some
// have instructions of their own.
func TestAllKernels(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		target       string // of linear_tile
		starts       int    // early, of each kernel
	}{{8, 0, "sm_80", 0}, {9, 0, "sm_90a", 1}, {9, 1, "sm_90", 1}, {12, 0, "sm_90", 1}} {
		t.Run(fmt.Sprintf("%d.%d", c.major, c.minor), func(t *testing.T) { testAllKernels(t, c.major, c.minor, c.target, c.starts) })
	}
}

func testAllKernels(t *testing.T, major, minor int, target string, starts int) {
	f := newFake()
	f.major, f.minor = major, minor
	file := ""
	waits := 0 // of the kernel at hand: one, or where its text asks for them; that is twice where the first is for some calls
	f.loaded = func(ptx string) {
		if strings.Count(ptx, ".visible .entry ") != 1 || strings.Count(ptx, wait) != starts*waits || strings.Count(ptx, allow) != starts {
			t.Errorf("got the text %.400s", ptx)
		}
		if got := strings.Contains(ptx, ".target "+target+"\n"); file == "linear_tile" && !got {
			t.Errorf("linear_tile is not for %s", target)
		}
	}
	d, err := open(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kernels.Names() {
		file = name
		l, err := d.Library(name)
		if err != nil {
			t.Fatal(err)
		}
		entries := l.(*library).program.entries
		if len(entries) == 0 {
			t.Errorf("%s: no kernels", name)
		}
		for kernel, e := range entries {
			waits = max(1, strings.Count(e.text, mark))
			p, err := l.Pipeline(kernel, 0)
			if again, _ := l.Pipeline(kernel, 0); err != nil || p.MaxThreads() != 256 || again != p {
				t.Errorf("%s: got %v, %v", kernel, p, err)
			}
		}
		if _, err := l.Pipeline("missing", 0); err == nil || !strings.Contains(err.Error(), `no kernel "missing"`) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := d.Library("missing"); err == nil || !strings.Contains(err.Error(), "make ptx") {
		t.Errorf("got %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// What a product of a warpgroup reads and adds to is not written between the fence before it and the product.
func TestWarpgroupProducts(t *testing.T) {
	text, err := readPTX("linear_tile.sm_90a")
	if err != nil {
		t.Fatal(err)
	}
	products := 0
	written := map[string]bool{} // since the last fence
	register := regexp.MustCompile(`%\w+`)
	for line := range strings.Lines(text) {
		switch {
		case strings.Contains(line, "wgmma.fence"):
			clear(written)
		case strings.Contains(line, "wgmma.mma_async"):
			products++
			for _, r := range register.FindAllString(line, -1) {
				if written[r] && !strings.HasPrefix(r, "%rd") { // a place in memory may be made in between
					t.Errorf("%s is written after the fence: %s", r, line)
				}
			}
		case register.MatchString(line):
			written[register.FindString(line)] = true
		}
	}
	if products == 0 {
		t.Error("no products were found")
	}
}

func TestKernelThatDoesNotLoad(t *testing.T) {
	f := newFake()
	d, err := open(f)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Library(kernels.Names()[0])
	if err != nil {
		t.Fatal(err)
	}
	f.failing["loadModule"] = &Error{Call: "cuModuleLoadDataEx", Code: 218, Name: "CUDA_ERROR_INVALID_PTX", Text: "a PTX JIT compilation failed", Log: "line 3: syntax error"}
	for kernel := range l.(*library).program.entries {
		if _, err := l.Pipeline(kernel, 0); err == nil || !strings.Contains(err.Error(), kernel) || !strings.Contains(err.Error(), "line 3: syntax error") {
			t.Errorf("got %v", err)
		}
	}
}

// A kernel that allows fewer threads than wanted is compiled once more, for as many as that; for fewer it stays as it is.
func TestPipelineForManyThreads(t *testing.T) {
	f := newFake()
	var texts []string
	f.loaded = func(ptx string) { texts = append(texts, ptx) }
	d, err := open(f)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.Library("copy")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := l.Pipeline("copy_words", 256)
	if err != nil || len(texts) != 1 || strings.Contains(texts[0], ".maxntid") {
		t.Fatalf("got %v, %d texts", err, len(texts))
	}
	bounded, err := l.Pipeline("copy_words", 512)
	if err != nil || bounded == plain || len(texts) != 2 || strings.Count(texts[1], ")\n.maxntid 512, 1, 1\n.maxnreg 128\n{\n") != 1 {
		t.Errorf("got %v, %d texts, the last %.300s", err, len(texts), texts[len(texts)-1])
	}
	if again, err := l.Pipeline("copy_words", 512); err != nil || again != bounded || len(texts) != 2 {
		t.Errorf("got %v, %d texts", err, len(texts))
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
