package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"segue/metalkern/driver"
	"segue/metalkern/kernels"
)

// tailorWhen sets when kernels are tailored, for one test.
func tailorWhen(t testing.TB, when string) {
	before := tailoring
	tailoring = when
	t.Cleanup(func() { tailoring = before })
}

// fourWords is a kernel that reads the words of its constants into r0, r1, f2 and r3, and its threads into r4.
const fourWords = `.visible .entry four(
	.param .align 4 .b8 four_param_0[16],
	.param .u64 four_param_1
)
{
	.reg .b32 %r<5>;
	ld.param.u32 	%r0, [four_param_0];
	ld.param.u32 	%r1, [four_param_0+4];
	ld.param.f32 	%f2, [four_param_0+8];
	ld.param.u32 %r3, [four_param_0+12];
	ld.param.u64 	%rd1, [four_param_1];
	mov.u32 	%r4, %ntid.x;
	ret;
}
`

func TestCutText(t *testing.T) {
	c := cut{threads: 96, free: 1 << 1}
	binary.LittleEndian.PutUint32(c.constants[0:], 7)
	binary.LittleEndian.PutUint32(c.constants[8:], math.Float32bits(1.5))
	binary.LittleEndian.PutUint32(c.constants[12:], math.MaxUint32)
	want := fourWords
	for _, r := range [][2]string{
		{"ld.param.u32 \t%r0, [four_param_0];", "mov.u32 %r0, 7;"}, {"ld.param.f32 \t%f2, [four_param_0+8];", "mov.f32 %f2, 0f3FC00000;"},
		{"ld.param.u32 %r3, [four_param_0+12];", "mov.u32 %r3, 4294967295;"}, {"%ntid.x", "96"},
	} {
		want = strings.Replace(want, r[0], r[1], 1)
	}
	if got := cutText(fourWords, &c); got != want {
		t.Errorf("got %s", got)
	}
}

// A cut without a free word leaves no load of a single constant in any kernel, nor a question for the threads.
func TestCutTextOfAllKernels(t *testing.T) {
	loads := regexp.MustCompile(`ld\.param\.[usfb]32 .*_param_0|%ntid\.x`)
	for _, name := range kernels.Names() {
		text, err := readPTX(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePTX(text)
		if err != nil {
			t.Fatal(err)
		}
		for kernel, e := range p.entries {
			got := cutText(e.text, &cut{threads: 32})
			if found := loads.FindString(got); found != "" {
				t.Errorf("%s: %q is left", kernel, found)
			}
			if strings.Count(got, "\n") != strings.Count(e.text, "\n") {
				t.Errorf("%s: lines were lost", kernel)
			}
		}
	}
}

// tailors is a stage with a kernel of four words in a file.
func tailors(t *testing.T, file string) (*stage, driver.Pipeline) {
	s := newStage(t)
	tailorWhen(t, "yes")
	l := &library{device: s.device, name: file, pipelines: map[boundedKernel]*pipeline{}, program: program{entries: map[string]entry{}}}
	s.device.libraries[file] = l
	l.program.entries["four"] = entry{signature: signature{16, 1}, text: fourWords}
	s.signatures["four"] = signature{16, 1}
	p, err := l.Pipeline("four", 0)
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

// four dispatches the kernel six times, and commits; constants are the node, turn, and two that change when they like.
func (s *stage) four(t *testing.T, p driver.Pipeline, turn, seldom uint32) {
	t.Helper()
	s.many(t, p, 6, turn, seldom)
}

// many is four for so many nodes.
func (s *stage) many(t *testing.T, p driver.Pipeline, nodes, turn, seldom uint32) {
	t.Helper()
	for node := range nodes {
		var constants [16]byte
		for i, w := range [4]uint32{node, turn, math.Float32bits(1.5), seldom} {
			binary.LittleEndian.PutUint32(constants[4*i:], w)
		}
		s.queue.Barrier()
		s.queue.Dispatch(p, driver.Size{X: 1, Y: 1, Z: 1}, 64, constants[:], []driver.Binding{{Buffer: s.buffers[0]}})
	}
	f, err := s.queue.Commit()
	if err = errors.Join(err, s.queue.Wait(f)); err != nil {
		t.Fatal(err)
	}
}

// settle repeats four until it is tailored, if it will be.
func (s *stage) settle(t *testing.T, p driver.Pipeline) {
	t.Helper()
	for range 2 * settled {
		s.four(t, p, 0, 0)
		s.awaitOrders()
	}
}

// awaitOrders waits for what has been ordered.
func (s *stage) awaitOrders() {
	for _, tape := range s.queue.replay.tapes {
		if tape.order != nil {
			<-tape.order.done
		}
	}
}

// taken counts, of the kernels that ran last, the tailored ones, each of which must be made for the constants that it ran with.
func (s *stage) taken(t *testing.T, last int) (n int) {
	t.Helper()
	number := regexp.MustCompile(`mov\.[uf]32 \s*%[rf]([0-4]), (0f)?([0-9A-F]+);`)
	for _, r := range s.ran[len(s.ran)-last:] {
		found := number.FindAllStringSubmatch(s.programs[r.function], -1)
		for _, m := range found {
			want := fmt.Sprint(r.threads)
			if m[1] != "4" {
				w := binary.LittleEndian.Uint32([]byte(r.constants)[4*(m[1][0]-'0'):])
				if want = fmt.Sprint(w); m[2] != "" {
					want = fmt.Sprintf("%08X", w)
				}
			}
			if m[3] != want {
				t.Fatalf("ran with %q, made for %q", want, m[0])
			}
		}
		if len(found) > 0 {
			n++
		}
	}
	return n
}

// A device takes a while for new work, unless nothing is tailored.
func TestSettling(t *testing.T) {
	s, _ := tailors(t, "linear")
	defer s.finish(t)
	if got := s.device.Info().Settling; got != settling {
		t.Errorf("got %v, want %v", got, settling)
	}
	tailorWhen(t, "no")
	if got := s.device.Info().Settling; got != 0 {
		t.Errorf("nothing is tailored: got %v, want 0", got)
	}
}

// Kernels of a graph are tailored once what changes has settled, and run only with what they were made for.
func TestTailored(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	made := 0
	s.loaded = func(string) { made++ }
	turn := uint32(0)
	run := func(times int, seldom uint32) {
		for range times {
			s.four(t, p, turn, seldom)
			s.awaitOrders()
			turn++
		}
	}
	run(settled, 0) // the first of them is no graph yet
	if made != 0 || s.taken(t, 6) != 0 {
		t.Fatalf("%d kernels were tailored too early", made)
	}
	run(4, 0)
	if n := s.taken(t, 6); made != 6 || n != 6 {
		t.Fatalf("%d kernels were tailored, %d ran, want 6", made, n)
	}
	run(1, 1)
	if n := s.taken(t, 6); n != 0 {
		t.Fatalf("%d kernels ran that were made for another constant", n)
	}
	run(1, 0)
	if n := s.taken(t, 6); n != 6 {
		t.Fatalf("%d kernels ran again, want 6", n)
	}
	for seldom := range uint32(settled + 4) {
		run(1, seldom)
	}
	if n := s.taken(t, 6); made != 12 || n != 6 {
		t.Fatalf("%d kernels were tailored, %d ran, want 12 and 6", made, n)
	}
}

// There is an end to what is kept: the rest of a graph goes on as it was.
func TestTailoredAreNotTooMany(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	const nodes = mostTailored + 20
	if detail := s.device.Info().Detail; strings.Contains(detail, "no more") {
		t.Errorf("before there are any the device says %q", detail)
	}
	for range settled + 4 {
		s.many(t, p, nodes, 0, 0)
		s.awaitOrders()
	}
	if n := s.taken(t, nodes); n != mostTailored {
		t.Errorf("%d tailored kernels ran, want %d", n, mostTailored)
	}
	if detail := s.device.Info().Detail; !strings.Contains(detail, "no more") {
		t.Errorf("the device says %q", detail)
	}
}

// Kernels of a codec are left as they are.
func TestTailoredForStepsOnly(t *testing.T) {
	s, p := tailors(t, "conv")
	defer s.finish(t)
	s.settle(t, p)
	if n := s.taken(t, len(s.ran)); n != 0 {
		t.Errorf("%d tailored kernels ran", n)
	}
}

// Every file that is to be tailored is there.
func TestStepFiles(t *testing.T) {
	for _, file := range stepFiles {
		if !slices.Contains(kernels.Names(), file) {
			t.Errorf("there is no %s.metal", file)
		}
	}
}

// However constants change, no kernel runs that was made for others.
func TestTailoredToWhatever(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	var turn, seldom uint32
	for range 20 * settled {
		turn += rand.Uint32N(2)
		if rand.IntN(50) == 0 {
			seldom = rand.Uint32N(3)
		}
		s.four(t, p, turn, seldom)
		if rand.IntN(10) > 0 { // an order takes as long as it takes
			s.awaitOrders()
		}
	}
	s.awaitOrders()
	if n := s.taken(t, len(s.ran)); n == 0 {
		t.Error("no tailored kernel ran")
	}
}

// A node that could not be set is set again, although an order that is done meanwhile has no kernel for it.
func TestTailoredAfterAFailure(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	block := make(chan bool)
	plain := driver.Pipeline(s.kernels[1]) // of 16 bytes of constants, too
	s.kernels[1].of.name = "conv"          // which is not tailored
	step := func(last uint32) error {
		for node := range uint32(6) {
			k, constants := p, make([]byte, 16)
			binary.LittleEndian.PutUint32(constants, node)
			if node == 5 {
				k = plain
				binary.LittleEndian.PutUint32(constants, last)
			}
			s.queue.Barrier()
			s.queue.Dispatch(k, driver.Size{X: 1, Y: 1, Z: 1}, 32, constants, []driver.Binding{{Buffer: s.buffers[0]}})
		}
		f, err := s.queue.Commit()
		return errors.Join(err, s.queue.Wait(f))
	}
	s.loaded = func(string) { <-block } // the compiler takes its time
	for range settled + 1 {
		if err := step(0); err != nil {
			t.Fatal(err)
		}
	}
	s.failing["setKernel"] = errors.New("no room today")
	if err := step(7); err == nil || !strings.Contains(err.Error(), "no room today") {
		t.Fatalf("got %v", err)
	}
	delete(s.failing, "setKernel")
	if err := s.queue.Reset(); err != nil {
		t.Fatal(err)
	}
	close(block)
	s.awaitOrders()
	if err := step(7); err != nil {
		t.Fatal(err)
	}
	if n := s.taken(t, 6); n != 5 {
		t.Errorf("%d tailored kernels ran, want 5", n)
	}
	last := s.ran[len(s.ran)-1].constants
	if got := binary.LittleEndian.Uint32([]byte(last)); got != 7 {
		t.Errorf("the last kernel ran with %d, want 7", got)
	}
}

// Kernels that cannot be made are missed by nobody, but the device tells.
func TestTailoredFails(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	s.failing["compile"] = errors.New("no compiler today")
	for turn := range uint32(3 * settled) {
		s.four(t, p, turn, turn)
		s.awaitOrders()
	}
	if n := s.taken(t, 6); n != 0 {
		t.Errorf("%d tailored kernels ran", n)
	}
	if detail := s.device.Info().Detail; !strings.Contains(detail, "not tailored") || !strings.Contains(detail, "no compiler today") {
		t.Errorf("the device says %q", detail)
	}
}

// At once: every launch waits for its kernel, and a graph has its own from its second run on.
func TestTailoredAtOnce(t *testing.T) {
	s, p := tailors(t, "linear")
	defer s.finish(t)
	tailorWhen(t, atOnce)
	for range 5 {
		s.four(t, p, 0, 0)
	}
	if n := s.taken(t, 30); n != 24 {
		t.Errorf("%d kernels were tailored, want all but the 6 of the graph's first run", n)
	}
	s.failing["compile"] = errors.New("no compiler today")
	s.queue.Dispatch(p, driver.Size{X: 1, Y: 1, Z: 1}, 64, make([]byte, 16), []driver.Binding{{Buffer: s.buffers[0]}})
	if _, err := s.queue.Commit(); err == nil || !strings.Contains(err.Error(), "no compiler today") {
		t.Errorf("got %v", err)
	}
	if err := s.queue.Reset(); err != nil {
		t.Error(err)
	}
}
