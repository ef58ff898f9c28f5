package cpukern

// A pool runs regions: a task cut into chunks, of which each thread begins with a range of neighbours, so that it reads memory
// in one stream; whoever has none left takes half of what another has left. The caller of run takes part.
//
//	ranges[i] = region, end, next     next → next+1 claims a chunk, end → middle takes the others away
//	left      = chunks not reported done: 0 ends the region
//
// All changes are compare-and-swaps and name the region, so a thread that was put aside between looking and claiming does no
// harm in a later region; one that has not been given its range of a region yet takes nothing from others.
//
// Between regions, workers spin for a short while (the next op is usually microseconds away) and then sleep: an idle pool
// costs nothing. A region allocates nothing.
//
// A region ends when its chunks are done, not when every worker has checked in, so a worker that the system has put aside
// between chunks holds nobody up. One put aside within a chunk does, for milliseconds: such a worker sits out for a while
// (see charge), because another process wants its core, and the others finish sooner without it.

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"segue/engine/cpukern/simd"
	"segue/weights"
)

// A task is one op's work; run does chunk on the given thread (0 is the caller), whose scratch memory is its own.
type task interface {
	run(thread, chunk int)
}

type pool struct {
	mutex sync.Mutex // streams of several goroutines take turns, region by region
	task  task       // of the region; written before ranges announce it, read only by owners of a chunk
	_     [64]byte   // left is written by different threads: a cache line of its own
	left  atomic.Int64
	_     [56]byte

	region   uint64       // counts them
	ranges   []chunkRange // by thread
	kernels  *simd.Kernels
	sleepers []sleeper           // by thread
	bug      atomic.Pointer[any] // what a chunk panicked with
	quit     atomic.Bool
	done     sync.WaitGroup
}

func newPool(threads int, kernels *simd.Kernels) *pool {
	p := &pool{kernels: kernels, ranges: make([]chunkRange, threads), sleepers: make([]sleeper, threads)}
	for i := range p.sleepers {
		p.sleepers[i].wake = make(chan struct{}, 1)
	}
	for i := 1; i < threads; i++ {
		p.done.Go(func() { p.work(i) })
	}
	return p
}

func (p *pool) threads() int { return len(p.sleepers) }

// close ends the workers and waits for them. Later regions run on their callers alone.
func (p *pool) close() {
	p.quit.Store(true)
	for i := range p.sleepers {
		p.sleepers[i].rouse()
	}
	p.done.Wait()
}

// run does all chunks of t and returns when they are done. It panics with what a chunk panicked with, if one did; but a mapped
// file that became shorter is an error.
func (p *pool) run(t task, chunks int) error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	if chunks == 1 || p.threads() == 1 || chunks > maxChunks {
		return alone(t, chunks)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.task = t
	p.left.Store(int64(chunks))
	p.region++
	busy := min(p.threads(), chunks)
	for i := range p.ranges {
		p.ranges[i].state.Store(packRange(p.region, min(i, busy)*chunks/busy, min(i+1, busy)*chunks/busy))
	}
	for i := 1; i < busy; i++ {
		p.sleepers[i].rouse()
	}
	start := time.Now()
	if done := p.take(0); p.left.Load() > 0 {
		p.await(time.Since(start) / time.Duration(max(done, 1)))
	}
	if bug := p.bug.Swap(nil); bug != nil {
		return weights.Fault(*bug)
	}
	return nil
}

// alone does them on this thread.
func alone(t task, chunks int) (err error) {
	defer func() {
		if bug := recover(); bug != nil {
			err = weights.Fault(bug)
		}
	}()
	for chunk := range chunks {
		t.run(0, chunk)
	}
	return nil
}

// take claims and does chunks until there are none, reports them and returns how many they were.
func (p *pool) take(thread int) (done int) {
	own := &p.ranges[thread]
	for {
		chunk, state := own.claim()
		if chunk >= 0 {
			p.perform(thread, chunk)
			done++
		} else if !p.rob(own, state) {
			break
		}
	}
	if done > 0 && p.left.Add(-int64(done)) == 0 {
		p.sleepers[0].rouse()
	}
	return done
}

// rob fills own, which was found empty, with half of what another thread has left of the same region, if any has.
func (p *pool) rob(own *chunkRange, empty uint64) bool {
	region, _, _ := unpackRange(empty)
	for i := range p.ranges {
		if from, to := p.ranges[i].takeAway(region); from < to {
			own.state.Store(packRange(region, from, to)) // the region cannot end before these are done
			return true
		}
	}
	return false
}

// pending reports whether any chunk is there to claim.
func (p *pool) pending() bool {
	for i := range p.ranges {
		if _, next, end := unpackRange(p.ranges[i].state.Load()); next < end {
			return true
		}
	}
	return false
}

// A chunkRange is chunks [next, end) of a region that nobody has claimed.
type chunkRange struct {
	state atomic.Uint64
	_     [56]byte // a cache line each
}

const (
	chunkBits = 22
	maxChunks = 1<<chunkBits - 1
)

func packRange(region uint64, next, end int) uint64 {
	return region<<(2*chunkBits) | uint64(end)<<chunkBits | uint64(next)
}

// unpackRange returns the region's lowest bits, which tell it from a million others.
func unpackRange(state uint64) (region uint64, next, end int) {
	return state >> (2 * chunkBits), int(state & maxChunks), int(state >> chunkBits & maxChunks)
}

// claim takes the next chunk, -1 if there is none in the state it found.
func (r *chunkRange) claim() (chunk int, found uint64) {
	for {
		state := r.state.Load()
		region, next, end := unpackRange(state)
		if next >= end {
			return -1, state
		}
		if r.state.CompareAndSwap(state, packRange(region, next+1, end)) {
			return next, state
		}
	}
}

// takeAway takes the second half of a region's chunks, at least one, if there are any.
func (r *chunkRange) takeAway(region uint64) (from, to int) {
	for {
		state := r.state.Load()
		of, next, end := unpackRange(state)
		if next >= end || of != region {
			return 0, 0
		}
		middle := (next + end) / 2
		if r.state.CompareAndSwap(state, packRange(region, next, middle)) {
			return middle, end
		}
	}
}

// perform does a claimed chunk. A panic, which is a bug of an op, is kept for the caller of run: on a worker's goroutine
// it would end the process, and with it the host's other requests.
func (p *pool) perform(thread, chunk int) {
	defer func() {
		if bug := recover(); bug != nil {
			p.keep(bug)
		}
	}()
	p.task.run(thread, chunk)
}

// await waits for chunks that others have claimed. usual is how long a chunk took here.
func (p *pool) await(usual time.Duration) {
	ended := func() bool { return p.left.Load() == 0 }
	if p.spin(ended, late+4*usual) {
		return
	}
	for i := range p.sleepers {
		p.sleepers[i].late = p.sleepers[i].busy.Load()
	}
	start := time.Now()
	p.until(0, ended)
	for i := 1; i < p.threads(); i++ {
		if s := &p.sleepers[i]; s.late {
			s.charge(start, time.Since(start))
		}
	}
}

func (p *pool) work(thread int) {
	debug.SetPanicOnFault(true) // as run does for its caller
	s := &p.sleepers[thread]
	pending := func() bool { return p.pending() || p.quit.Load() }
	for !p.quit.Load() {
		s.busy.Store(true)
		p.take(thread)
		s.busy.Store(false)
		if rest := time.Duration(s.rest.Load()); rest > 0 {
			p.sitOut(s, rest)
		}
		p.until(thread, pending)
	}
}

// keep is a function of its own so that only a panic allocates.
//
//go:noinline
func (p *pool) keep(bug any) { p.bug.Store(&bug) }

// A sleeper is where one thread waits. Whoever turns asleep from true to false owes a token, if it is not the sleeper
// itself, so at most one token is ever on its way.
type sleeper struct {
	asleep atomic.Bool
	busy   atomic.Bool // with a region
	wake   chan struct{}
	_      [48]byte

	rest atomic.Int64 // nanoseconds to sit out, as the caller wants it
	// What follows is the caller's alone, a cache line away from what both write.
	late    bool
	debt    time.Duration // what waiting for this worker has cost, less a part of the time since
	charged time.Time     // when debt was reckoned
	benched time.Duration // the last rest
	from    time.Time     // when it began
}

const (
	// spinLooks at the condition, with a pause between them that leaves the core to its other hyperthread, come before each
	// yield to the scheduler: some ten microseconds, longer than most gaps between regions. A goroutine that yields may
	// find its thread given to another for the ten milliseconds of a time slice.
	spinLooks = 256
	// spinTime ends the spinning: longer than what lies between two steps of decoding.
	spinTime = time.Millisecond
	// late is how much longer than four usual chunks the caller waits before it takes a worker for one put aside: longer
	// than a page fault or an interrupt, far shorter than a time slice.
	late = 200 * time.Microsecond
	// A worker whose lateness has cost mostDebt, and more than a quarter of the time of late, sits out for leastBench; twice as
	// long each time that it happens again at once, up to mostBench: the longer, the rarer the slow regions that find out
	// whether its core is free again.
	mostDebt              = 6 * time.Millisecond
	leastBench, mostBench = 20 * time.Millisecond, 640 * time.Millisecond
)

// charge adds what waiting for the worker has cost, and benches it when that is too much.
func (s *sleeper) charge(start time.Time, cost time.Duration) {
	since := start.Sub(s.charged)
	s.debt = max(0, s.debt-since/4) + cost
	s.charged = start.Add(cost)
	if s.debt < mostDebt {
		return
	}
	if s.charged.Sub(s.from) > s.benched+mostBench {
		s.benched = leastBench
	} else {
		s.benched = min(2*s.benched, mostBench)
	}
	s.debt, s.from = 0, s.charged
	s.rest.Store(int64(s.benched))
}

// sitOut sleeps, a few milliseconds at a time, so that close waits no longer.
func (p *pool) sitOut(s *sleeper, rest time.Duration) {
	for end := time.Now().Add(rest); time.Now().Before(end) && !p.quit.Load(); {
		time.Sleep(5 * time.Millisecond)
	}
	s.rest.Store(0)
}

// until returns when ready does; it may look again any number of times.
func (p *pool) until(thread int, ready func() bool) {
	for {
		if p.spin(ready, spinTime) {
			return
		}
		s := &p.sleepers[thread]
		s.asleep.Store(true)
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.wake
	}
}

// spin reports whether ready did within about the time given.
func (p *pool) spin(ready func() bool, most time.Duration) bool {
	var start time.Time // of the second round: most waits are over before
	for {
		for range spinLooks {
			if ready() {
				return true
			}
			p.kernels.Pause(1)
		}
		now := time.Now()
		if start.IsZero() {
			start = now
		}
		if now.Sub(start) > most {
			return false
		}
		runtime.Gosched()
	}
}

// rouse wakes the sleeper if it sleeps; waking it for nothing is harmless.
func (s *sleeper) rouse() {
	if s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}

// A span cuts n items into blocks, one per chunk.
type span struct {
	n, block int
}

// leastWork is how many multiplications make a chunk worth handing out: some ten microseconds of plain Go.
const leastWork = 1 << 15

// cut spans n items of cost multiplications each: many chunks per thread, so that all end at about the same time, and none
// too small.
func (p *pool) cut(n, cost int) span {
	share := ceilDiv(n, 16*p.threads())
	least := ceilDiv(leastWork, max(cost, 1))
	return span{n: n, block: min(max(share, least), n)}
}

func (s span) chunks() int { return ceilDiv(s.n, s.block) }

func (s span) at(chunk int) (from, to int) {
	return chunk * s.block, min((chunk+1)*s.block, s.n)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
