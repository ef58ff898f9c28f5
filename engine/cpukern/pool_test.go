package cpukern

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"segue/engine/cpukern/simd"
	"segue/weights"
)

func testPool(tb testing.TB, threads int) *pool {
	kernels, err := simd.New(simd.Detect())
	if err != nil {
		tb.Fatal(err)
	}
	return newPool(threads, kernels)
}

// countTask counts how often each chunk runs, and on which threads.
type countTask struct {
	runs    []atomic.Int32
	threads [8]atomic.Int32
	work    func(thread, chunk int)
}

func (c *countTask) run(thread, chunk int) {
	c.runs[chunk].Add(1)
	c.threads[thread].Add(1)
	if c.work != nil {
		c.work(thread, chunk)
	}
}

func (c *countTask) check(t *testing.T, chunks int) {
	t.Helper()
	for i := range c.runs {
		if got := c.runs[i].Swap(0); i < chunks && got != 1 {
			t.Fatalf("chunk %d of %d ran %d times, want once", i, chunks, got)
		}
	}
}

func TestPoolRunsEveryChunkOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := testPool(t, threads)
		c := &countTask{runs: make([]atomic.Int32, 100)}
		for i := range 2000 {
			chunks := i%100 + 1
			p.run(c, chunks)
			c.check(t, chunks)
			if i%500 == 499 {
				time.Sleep(time.Millisecond) // long enough for the workers to sleep
			}
		}
		p.close()
		p.run(c, 10) // on the caller alone
		c.check(t, 10)
	}
}

// A thread stuck in one chunk holds up none of the others: they do the rest.
func TestPoolUnevenChunks(t *testing.T) {
	p := testPool(t, 4)
	defer p.close()
	held := make(chan struct{})
	var once sync.Once
	c := &countTask{runs: make([]atomic.Int32, 50)}
	c.work = func(_, chunk int) {
		if chunk == 0 {
			<-held // the first chunk ends only when the last has begun
		}
		if chunk == 49 {
			once.Do(func() { close(held) })
		}
	}
	p.run(c, 50)
	c.check(t, 50)
}

// addressed is what reading behind the end of a mapped file panics with.
type addressed struct{ error }

func (addressed) Addr() uintptr { return 1 }

// A fault of memory is an error of the region, any other bug a panic of its caller; on whichever thread, and the pool goes on.
func TestPoolFaults(t *testing.T) {
	for _, threads := range []int{1, 3} {
		p := testPool(t, threads)
		for _, chunks := range []int{1, 9} {
			for _, bug := range []any{addressed{errClosed}, "a bug"} {
				c := &countTask{runs: make([]atomic.Int32, chunks), work: func(_, chunk int) {
					if chunk == chunks-1 {
						panic(bug)
					}
				}}
				var err error
				panicked := func() (got any) {
					defer func() { got = recover() }()
					err = p.run(c, chunks)
					return nil
				}()
				if _, fault := bug.(addressed); fault != errors.Is(err, weights.ErrFault) || fault != (panicked == nil) {
					t.Errorf("%d threads, %d chunks, %v: got %v, panic %v", threads, chunks, bug, err, panicked)
				}
			}
		}
		c := &countTask{runs: make([]atomic.Int32, 9), work: func(int, int) {}}
		if err := p.run(c, 9); err != nil {
			t.Error(err)
		}
		p.close()
	}
}

func TestPoolSharedByCallers(t *testing.T) {
	p := testPool(t, 3)
	defer p.close()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			c := &countTask{runs: make([]atomic.Int32, 17)}
			for range 300 {
				p.run(c, 17)
				c.check(t, 17)
			}
		})
	}
	group.Wait()
}

func TestPoolAllocatesNothing(t *testing.T) {
	p := testPool(t, 3)
	defer p.close()
	c := &countTask{runs: make([]atomic.Int32, 9)}
	if allocs := testing.AllocsPerRun(100, func() { p.run(c, 9) }); allocs != 0 {
		t.Errorf("got %v allocations per region, want 0", allocs)
	}
}

func TestCloseEndsThreads(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		k, err := Open(Options{Threads: 6})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		k.Close() // harmless
	}
	// A goroutine that has called Done may still be counted for a moment.
	for wait := time.Millisecond; runtime.NumGoroutine() > before && wait < time.Second; wait *= 2 {
		time.Sleep(wait)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("got %d goroutines after Close, want %d", after, before)
	}
}

// An idle pool sleeps: it uses no processor.
func TestPoolParks(t *testing.T) {
	p := testPool(t, 4)
	defer p.close()
	c := &countTask{runs: make([]atomic.Int32, 20)}
	p.run(c, 20)
	awake := func() bool {
		for i := range p.sleepers[1:] {
			if !p.sleepers[i+1].asleep.Load() {
				return true
			}
		}
		return false
	}
	for wait := time.Millisecond; awake() && wait < 5*time.Second; wait *= 2 {
		time.Sleep(wait)
	}
	if awake() {
		t.Error("a thread is still looking for work long after the last region")
	}
	p.run(c, 20) // and they can be woken
}

// BenchmarkRegion is the cost of handing out chunks: empty ones, and one of 20 µs for each thread, of which overhead-ns is
// what the median region takes beyond those 20 µs.
func BenchmarkRegion(b *testing.B) {
	const work = 20 * time.Microsecond
	threads := runtime.GOMAXPROCS(0)
	p := testPool(b, threads)
	defer p.close()
	c := &countTask{runs: make([]atomic.Int32, 8)}
	b.Run("empty", func(b *testing.B) {
		for b.Loop() {
			p.run(c, 8)
		}
	})
	b.Run("20us", func(b *testing.B) {
		c.work = func(int, int) {
			for start := time.Now(); time.Since(start) < work; {
			}
		}
		var times []time.Duration
		for b.Loop() {
			start := time.Now()
			p.run(c, threads)
			times = append(times, time.Since(start))
		}
		b.ReportMetric(float64(percentile(times, 50)-work), "overhead-ns")
	})
}

type buggyTask struct{ at int }

func (b buggyTask) run(_, chunk int) {
	if chunk == b.at {
		panic("a bug")
	}
}

// A panic in any chunk, on whatever thread, reaches the caller, and the pool goes on working.
func TestPoolPassesPanicsOn(t *testing.T) {
	p := testPool(t, 3)
	defer p.close()
	for at := range 40 {
		func() {
			defer func() {
				if got := recover(); got != "a bug" {
					t.Errorf("chunk %d: got %v, want the task's panic", at, got)
				}
			}()
			p.run(buggyTask{at}, 40)
		}()
		p.run(buggyTask{-1}, 40)
	}
}

// Regions so short that workers are still looking around in one when the next begins: no chunk is lost, none done twice.
func TestPoolShortRegions(t *testing.T) {
	for _, threads := range []int{2, 3, 5} {
		p := testPool(t, threads)
		c := &countTask{runs: make([]atomic.Int32, 16)}
		for range 200000 {
			p.run(c, 8)
		}
		for chunk := range 8 {
			if got := c.runs[chunk].Load(); got != 200000 {
				t.Errorf("%d threads: chunk %d ran %d times, want 200000", threads, chunk, got)
			}
		}
		p.close()
	}
}

// A worker put aside within a chunk again and again is told to sit out, and comes back.
func TestPoolBenchesLateWorkers(t *testing.T) {
	p := testPool(t, 2)
	defer p.close()
	c := &countTask{runs: make([]atomic.Int32, 2)}
	var late atomic.Bool
	c.work = func(thread, _ int) {
		if thread == 1 && late.Swap(false) {
			time.Sleep(20 * time.Millisecond)
		} else if thread == 0 {
			time.Sleep(50 * time.Microsecond) // so that the worker takes the other chunk
		}
	}
	for i := 0; p.sleepers[1].benched == 0; i++ {
		if i == 1000 {
			t.Fatal("a worker was late in up to 1000 regions and still takes part in each")
		}
		late.Store(true)
		p.run(c, 2)
	}
	late.Store(false)
	c.threads[1].Store(0)
	for start := time.Now(); c.threads[1].Load() < 2; { // one chunk may come before it notices
		if p.run(c, 2); time.Since(start) > 10*time.Second {
			t.Fatal("the worker never came back")
		}
	}
}

// What waiting costs is forgiven with time; only much of it within a short time makes a worker sit out, longer each time.
func TestCharge(t *testing.T) {
	var s sleeper
	at := time.Now()
	for range 100 { // 3 ms in each 100
		s.charge(at, 3*time.Millisecond)
		at = at.Add(100 * time.Millisecond)
	}
	if s.benched != 0 {
		t.Errorf("rarely late: sits out %v, want 0", s.benched)
	}
	for _, want := range []time.Duration{0, leastBench, leastBench, 2 * leastBench, 2 * leastBench, 4 * leastBench} {
		s.charge(at, 4*time.Millisecond)
		if at = at.Add(6 * time.Millisecond); s.benched != want {
			t.Errorf("late a third of the time: sits out %v, want %v", s.benched, want)
		}
	}
}
