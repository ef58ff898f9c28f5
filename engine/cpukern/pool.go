package cpukern

// A pool runs regions: a task cut into chunks that threads claim one by one. The caller of run takes part.
//
//	state = chunks<<32 | next chunk      a thread owns chunk c once its compare-and-swap c → c+1 succeeded
//	left  = chunks not finished          0 ends the region
//
// A region ends when its chunks are done, not when every worker has checked in, so a worker that the system has put
// aside between chunks holds nobody up. Between regions, workers spin for a short while (the next op is usually
// microseconds away) and then sleep: an idle pool costs nothing. A region allocates nothing.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"segue/engine/cpukern/simd"
)

// A task is one op's work; run does chunk on the given thread (0 is the caller), whose scratch memory is its own.
type task interface {
	run(thread, chunk int)
}

type pool struct {
	mutex sync.Mutex // streams of several goroutines take turns, region by region
	task  task       // of the region; written before state announces it, read only by owners of a chunk
	_     [64]byte   // state and left are written often by different threads: a cache line each
	state atomic.Uint64
	_     [56]byte
	left  atomic.Int64
	_     [56]byte

	kernels  *simd.Kernels
	sleepers []sleeper           // by thread
	bug      atomic.Pointer[any] // what a chunk panicked with
	quit     atomic.Bool
	done     sync.WaitGroup
}

func newPool(threads int, kernels *simd.Kernels) *pool {
	p := &pool{kernels: kernels, sleepers: make([]sleeper, threads)}
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

// run does all chunks of t and returns when they are done. It panics with what a chunk panicked with, if one did.
func (p *pool) run(t task, chunks int) {
	if chunks == 1 || p.threads() == 1 {
		for chunk := range chunks {
			t.run(0, chunk)
		}
		return
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.task = t
	p.left.Store(int64(chunks))
	p.state.Store(uint64(chunks) << 32)
	for i := 1; i < min(p.threads(), chunks); i++ {
		p.sleepers[i].rouse()
	}
	for p.step(0) {
	}
	p.until(0, func() bool { return p.left.Load() == 0 })
	if bug := p.bug.Swap(nil); bug != nil {
		panic(*bug)
	}
}

// step claims one chunk and does it; false means that there is none.
func (p *pool) step(thread int) bool {
	state := p.state.Load()
	chunk, chunks := uint32(state), uint32(state>>32)
	if chunk >= chunks {
		return false
	}
	if p.state.CompareAndSwap(state, state+1) {
		p.perform(thread, int(chunk))
	}
	return true
}

// perform does a claimed chunk. A panic, which is a bug of an op, is kept for the caller of run: on a worker's goroutine
// it would end the process, and with it the host's other requests.
func (p *pool) perform(thread, chunk int) {
	defer func() {
		if bug := recover(); bug != nil {
			p.keep(bug)
		}
		if p.left.Add(-1) == 0 {
			p.sleepers[0].rouse()
		}
	}()
	p.task.run(thread, chunk)
}

func (p *pool) work(thread int) {
	pending := func() bool {
		state := p.state.Load()
		return uint32(state) < uint32(state>>32) || p.quit.Load()
	}
	for !p.quit.Load() {
		for p.step(thread) {
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
	wake   chan struct{}
	_      [48]byte
}

const (
	// spinLooks at the condition, with a pause between them that leaves the core to its other hyperthread, come before each
	// yield to the scheduler: some ten microseconds, longer than most gaps between regions. A goroutine that yields may
	// find its thread given to another for the ten milliseconds of a time slice.
	spinLooks = 256
	// spinTime ends the spinning: longer than what lies between two steps of decoding.
	spinTime = time.Millisecond
)

// until returns when ready does; it may look again any number of times.
func (p *pool) until(thread int, ready func() bool) {
	for {
		if p.spin(ready) {
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

// spin reports whether ready did within spinTime.
func (p *pool) spin(ready func() bool) bool {
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
		if now.Sub(start) > spinTime {
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

// cut spans n items of cost multiplications each: several chunks per thread, so that a slow thread leaves its share to
// the others, and none too small.
func (p *pool) cut(n, cost int) span {
	share := ceilDiv(n, 4*p.threads())
	least := ceilDiv(leastWork, max(cost, 1))
	return span{n: n, block: min(max(share, least), n)}
}

func (s span) chunks() int { return ceilDiv(s.n, s.block) }

func (s span) at(chunk int) (from, to int) {
	return chunk * s.block, min((chunk+1)*s.block, s.n)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
