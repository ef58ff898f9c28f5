package lm_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
	"segue/weights"
)

// The goldens themselves are compared in engine/verify; here is what must hold whatever the weights are.

type fixture struct {
	backend kern.Backend
	stream  kern.Stream
	model   *musicgen.Model
}

func open(t testing.TB, variant string, threads int) fixture {
	t.Helper()
	backend, err := cpukern.Open(cpukern.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backend.Close() })
	checkpoint, err := weights.Open("../../testdata/goldens/"+variant, weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	model, err := musicgen.Load(context.Background(), backend, checkpoint, musicgen.Exact)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close() })
	stream, err := backend.Stream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	return fixture{backend, stream, model}
}

func (f fixture) condition(t testing.TB, text string) *lm.Condition {
	t.Helper()
	c, err := f.model.Condition(context.Background(), f.stream, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Free)
	return c
}

func (f fixture) prefill(t testing.TB, c *lm.Condition, frames int, guided bool) *lm.Prefix {
	t.Helper()
	q, entries := f.model.Config.Decoder.Codebooks, f.model.Config.Decoder.Entries
	prompt := make([]int32, q*frames)
	for i := range prompt {
		prompt[i] = int32(i * 37 % entries)
	}
	p, err := f.model.LM.Prefill(context.Background(), f.stream, c, prompt, frames, guided)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Free)
	return p
}

var warm = lm.Sampling{Guidance: 3, Temperature: 1, TopK: 50, TopP: 0.95}

func (f fixture) generate(t testing.TB, p *lm.Prefix, how lm.Sampling, frames int, seeds ...uint64) [][]int32 {
	t.Helper()
	codes, err := f.model.LM.Generate(context.Background(), f.stream, p, seeds, frames, how, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	return codes
}

// A seed gives the same codes alone and among variations, guided or not, mono or stereo.
func TestSeedAloneAndAmongVariations(t *testing.T) {
	for _, variant := range []string{"mono", "stereo"} {
		for _, guided := range []bool{false, true} {
			f := open(t, variant, 2)
			p := f.prefill(t, f.condition(t, "dark techno"), 11, guided)
			together := f.generate(t, p, warm, 25, 5, 6, 7)
			for i, seed := range []uint64{5, 6, 7} {
				if alone := f.generate(t, p, warm, 25, seed)[0]; !slices.Equal(alone, together[i]) {
					t.Errorf("%s, guided %v: seed %d alone differs from the same seed among three", variant, guided, seed)
				}
			}
			if slices.Equal(together[0], together[1]) {
				t.Errorf("%s: two seeds gave the same codes", variant)
			}
		}
	}
}

func TestThreadsChangeNothing(t *testing.T) {
	var first []int32
	for _, threads := range []int{1, 2, 3, 7} {
		f := open(t, "mono", threads)
		got := f.generate(t, f.prefill(t, f.condition(t, "lofi"), 9, true), warm, 30, 42)[0]
		if first == nil {
			first = got
		} else if !slices.Equal(got, first) {
			t.Errorf("%d threads gave other codes than one", threads)
		}
	}
}

// Without a prompt, and with one as long as leaves a single frame to make.
func TestShortestLengths(t *testing.T) {
	f := open(t, "mono", 1)
	for _, frames := range []int{0, 1, 2, 20} {
		p := f.prefill(t, nil, frames, false)
		if got := f.generate(t, p, warm, frames+1, 1)[0]; len(got) != f.model.Config.Decoder.Codebooks {
			t.Errorf("after %d frames: got %d codes for one frame, want one for each codebook", frames, len(got))
		}
	}
}

// The codes drawn after a prefix are those of one long run that was given the same codes.
func TestPrefixContinuesARun(t *testing.T) {
	f := open(t, "mono", 2)
	greedy := lm.Sampling{Guidance: 1, Temperature: 1, TopP: 1, Greedy: true}
	p := f.prefill(t, nil, 5, false)
	long := f.generate(t, p, greedy, 30, 0)[0] // [Q][25]
	q := f.model.Config.Decoder.Codebooks
	prompt := make([]int32, 0, q*15)
	for k := range q {
		for i := range 5 {
			prompt = append(prompt, int32((k*5+i)*37%f.model.Config.Decoder.Entries))
		}
		prompt = append(prompt, long[k*25:k*25+10]...)
	}
	second, err := f.model.LM.Prefill(context.Background(), f.stream, nil, prompt, 15, false)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Free()
	short := f.generate(t, second, greedy, 30, 0)[0] // [Q][15]
	for k := range q {
		if !slices.Equal(short[k*15:(k+1)*15], long[k*25+10:(k+1)*25]) {
			t.Errorf("codebook %d: a run from its own middle went elsewhere", k)
		}
	}
}

// Without a text there is nothing to guide: whatever the guidance, the codes are the same.
func TestUnguidedWithoutTextIsOneBranch(t *testing.T) {
	f := open(t, "mono", 1)
	p := f.prefill(t, nil, 4, true)
	other := warm
	other.Guidance = 7
	if a, b := f.generate(t, p, warm, 20, 3)[0], f.generate(t, p, other, 20, 3)[0]; !slices.Equal(a, b) {
		t.Error("guidance changed music that has no text")
	}
}

func TestCancelWhileDecoding(t *testing.T) {
	f := open(t, "mono", 1)
	p := f.prefill(t, nil, 3, false)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	steps := 0
	_, err := f.model.LM.Generate(ctx, f.stream, p, []uint64{1}, 500, warm, func(done, total int) {
		if steps++; done == 4 {
			cancel(stop)
		}
	})
	if !errors.Is(err, stop) || steps != 4 {
		t.Fatalf("got error %v after %d steps, want %v after 4", err, steps, stop)
	}
	f.generate(t, p, warm, 10, 1) // and the model still works
}

// pieces is a stream that counts what it is handed, and can be told to do something then.
type pieces struct {
	kern.Stream
	submitted int
	then      func()
}

func (p *pieces) Submit() (kern.Fence, error) {
	p.submitted++
	p.then()
	return p.Stream.Submit()
}

// A long prefill reaches the device in pieces, and is the same.
func TestPrefillInPieces(t *testing.T) {
	f := open(t, "mono", 1)
	want := f.generate(t, f.prefill(t, nil, 10, true), warm, 20, 1)
	usual := *lm.PieceWork
	defer func() { *lm.PieceWork = usual }()
	layers := f.model.Config.Decoder.Layers
	for _, c := range []struct {
		work   int64
		pieces int
	}{{usual, 0}, {1, layers}} {
		*lm.PieceWork = c.work
		s := &pieces{f.stream, 0, func() {}}
		g := fixture{f.backend, s, f.model}
		p := g.prefill(t, nil, 10, true)
		if s.submitted != c.pieces+2 { // and the ends of layers and logits
			t.Errorf("got %d pieces, want %d", s.submitted-2, c.pieces)
		}
		if got := f.generate(t, p, warm, 20, 1); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("in %d pieces the music is another", c.pieces)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("enough")
	s := &pieces{f.stream, 0, func() { cancel(stop) }}
	if _, err := f.model.LM.Prefill(ctx, s, nil, make([]int32, 4*10), 10, false); !errors.Is(err, stop) || s.submitted != 1 {
		t.Errorf("got %v after %d pieces, want %v after 1", err, s.submitted, stop)
	}
}

func TestCancelWhilePrefilling(t *testing.T) {
	f := open(t, "mono", 1)
	before := f.backend.Allocated()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.model.LM.Prefill(ctx, f.stream, nil, make([]int32, 4*10), 10, false); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	scratch := f.backend.Allocated() - before
	if _, err := f.model.LM.Prefill(ctx, f.stream, nil, make([]int32, 4*10), 10, false); err == nil || f.backend.Allocated()-before != scratch {
		t.Error("a cancelled prefill kept memory")
	}
}

// refused is a stream that takes no uploads.
type refused struct{ kern.Stream }

var errRefused = errors.New("refused")

func (refused) UploadInts(kern.Slice, []int32) {}
func (refused) Err() error                     { return errRefused }

// What Generate cannot begin keeps no memory.
func TestRefusedGenerate(t *testing.T) {
	f := open(t, "mono", 1)
	p := f.prefill(t, nil, 4, false)
	f.generate(t, p, warm, 10, 1) // scratch is there
	before := f.backend.Allocated()
	_, err := f.model.LM.Generate(context.Background(), refused{f.stream}, p, []uint64{1}, 10, warm, func(int, int) {})
	if kept := f.backend.Allocated() - before; !errors.Is(err, errRefused) || kept != 0 {
		t.Errorf("got %v and %d bytes kept, want %v and none", err, kept, errRefused)
	}
}

func TestLengthsAreChecked(t *testing.T) {
	f := open(t, "mono", 1)
	p := f.prefill(t, nil, 4, false)
	limit := f.model.Config.Decoder.Positions - f.model.Config.Decoder.MaxDelay()
	for _, frames := range []int{0, 4, limit + 1} {
		if _, err := f.model.LM.Generate(context.Background(), f.stream, p, []uint64{1}, frames, warm, func(int, int) {}); err == nil {
			t.Errorf("%d frames after a prompt of 4: got no error", frames)
		}
	}
	if _, err := f.model.LM.Prefill(context.Background(), f.stream, nil, make([]int32, 7), 2, false); err == nil {
		t.Error("7 codes for 2 frames of 4 codebooks: got no error")
	}
}

// A step allocates nothing: runs of different lengths cost the same number of allocations.
func TestStepAllocatesNothing(t *testing.T) {
	f := open(t, "mono", 2)
	p := f.prefill(t, f.condition(t, "techno"), 8, true)
	allocations := func(frames int) float64 {
		return testing.AllocsPerRun(3, func() { f.generate(t, p, warm, frames, 1, 2) })
	}
	if short, long := allocations(20), allocations(120); long > short {
		t.Errorf("100 more steps made %g more allocations, want none", long-short)
	}
}

// Everything that a decode takes is given back.
func TestNothingIsKept(t *testing.T) {
	f := open(t, "mono", 1)
	p := f.prefill(t, nil, 8, false)
	f.generate(t, p, warm, 40, 1, 2, 3)
	before := f.backend.Allocated()
	f.generate(t, p, warm, 40, 1, 2, 3)
	if after := f.backend.Allocated(); after != before {
		t.Errorf("got %d bytes after a decode, want the %d from before it", after, before)
	}
}

func BenchmarkStep(b *testing.B) {
	f := open(b, "mono", 0)
	p := f.prefill(b, f.condition(b, "techno"), 50, true)
	for b.Loop() {
		f.generate(b, p, warm, 150, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/103, "us/step")
}
