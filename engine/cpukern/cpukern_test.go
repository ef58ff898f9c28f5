package cpukern

import (
	"math/rand/v2"
	"slices"
	"testing"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
	"segue/engine/kern/kerntest"
)

func open(t testing.TB, threads int) kern.Backend {
	k, err := Open(Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// TestContract holds every instruction set that there is to the table.
func TestContract(t *testing.T) {
	for _, isa := range simd.Available() {
		t.Run(isa.String(), func(t *testing.T) {
			k, err := Open(Options{Threads: 2, ISA: isa.String()})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			kerntest.Run(t, k)
		})
	}
}

func TestContractOneThread(t *testing.T) {
	kerntest.Run(t, open(t, 1))
}

func TestThreads(t *testing.T) {
	kerntest.RunThreads(t, func(threads int) kern.Backend { return open(t, threads) })
}

func BenchmarkOps(b *testing.B) {
	kerntest.Bench(b, open(b, 0))
}

func TestOpenRefusesThreads(t *testing.T) {
	for _, threads := range []int{-1, maxThreads + 1} {
		if _, err := Open(Options{Threads: threads}); err == nil {
			t.Errorf("Open took %d threads", threads)
		}
	}
}

func TestOpenRefusesInstructionSets(t *testing.T) {
	for _, isa := range []string{"mmx", "AVX2"} {
		if k, err := Open(Options{ISA: isa}); err == nil {
			k.Close()
			t.Errorf("Open took the instruction set %q", isa)
		}
	}
}

// After Close everything that would need the backend is an error; what it made can still be freed.
func TestUseAfterClose(t *testing.T) {
	k, err := Open(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := k.Stream()
	b, _ := k.Floats(4)
	k.Close()
	if err := s.Download(make([]float32, 4), kern.All(b)); err == nil {
		t.Error("a stream downloads after its backend was closed")
	}
	if _, err := k.Floats(4); err == nil {
		t.Error("a closed backend makes buffers")
	}
	if _, err := k.Stream(); err == nil {
		t.Error("a closed backend makes streams")
	}
	b.Free()
	if got := k.Allocated(); got != 0 {
		t.Errorf("got %d bytes allocated, want 0", got)
	}
}

func TestLargestFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		keys := make([]uint64, 1+random.IntN(40))
		for i := range keys {
			keys[i] = keyOf(float32(random.IntN(5)-2), i)
		}
		want := slices.Sorted(slices.Values(keys))
		slices.Reverse(want)
		n := 1 + random.IntN(len(keys))
		largestFirst(keys, n)
		slices.Sort(keys[:n])
		slices.Reverse(keys[:n])
		if !slices.Equal(keys[:n], want[:n]) {
			t.Fatalf("got %x, want %x", keys[:n], want[:n])
		}
	}
}
