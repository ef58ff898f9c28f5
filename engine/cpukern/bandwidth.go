package cpukern

import (
	"time"

	"segue/engine/cpukern/simd"
	"segue/engine/kern"
)

const (
	probeBytes = 256 << 20 // many times any cache
	probeUnit  = 4096      // what is shared out among the threads
)

var _ kern.Prober = (*backend)(nil)

// ReadProbe sets memory aside of the kind that weights lie in. read goes through it once with all threads and plain loads
// and returns the bytes per second: the speed that an op which reads its weights from memory can reach, to compare it
// with. release gives the memory back.
func (b *backend) ReadProbe() (read func() float64, release func(), err error) {
	if b.closed.Load() {
		return nil, nil, errClosed
	}
	memory, err := newMemory(probeBytes)
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i < len(memory); i += probeUnit {
		memory[i] = 1 // pages that were never written are all the same one
	}
	const cost = leastWork // of a unit: the more, the smaller the chunks
	t := &readTask{span: b.pool.cut(probeBytes/probeUnit, cost), kernels: b.kernels, memory: memory}
	read = func() float64 {
		start := time.Now()
		_ = b.pool.run(t, t.chunks()) // of memory of its own
		return probeBytes / time.Since(start).Seconds()
	}
	return read, func() { freeMemory(memory) }, nil
}

type readTask struct {
	span    // over units
	kernels *simd.Kernels
	memory  []byte
}

func (t *readTask) run(_, chunk int) {
	from, to := t.at(chunk)
	t.kernels.ReadSum(t.memory[from*probeUnit : to*probeUnit])
}
