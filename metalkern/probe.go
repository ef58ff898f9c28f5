package metalkern

// How fast the device reads its memory, for the bench to compare ops with.

import (
	"errors"
	"time"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

const (
	probeBytes = 512 << 20 // many times any cache
	probeTurns = 8         // of one measurement, so that starting and waiting count for little
)

var probeRead = kernelName{"probe", "probe_read"}

// probeArgs is ProbeArgs of probe.metal.
type probeArgs struct {
	vectors uint32
}

var _ kern.Prober = (*backend)(nil)

// ReadProbe sets memory of the device aside. read goes through it and returns the bytes per second, 0 after an error: the
// speed that an op which reads its weights from memory can reach. release gives the memory back.
func (b *backend) ReadProbe() (read func() float64, release func(), err error) {
	made, err := b.Stream()
	if err != nil {
		return nil, nil, err
	}
	s := made.(*stream)
	memory, err := b.memory("probe", probeBytes)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	read = func() float64 {
		start := time.Now()
		if s.readThrough(memory) != nil {
			return 0
		}
		return probeTurns * probeBytes / time.Since(start).Seconds()
	}
	release = func() {
		_ = s.Close() // it waits for the device, and has nothing else to tell
		b.free(memory, probeBytes)
	}
	return read, release, nil
}

func (s *stream) readThrough(memory driver.Buffer) error {
	p, ok := s.pipeline(probeRead)
	if !ok {
		return s.err
	}
	const wanted = 256
	threads := p.threads(wanted)
	groups := driver.Size{X: 8 * s.cores(), Y: 1, Z: 1}
	for range probeTurns {
		s.dispatch(p, groups, threads, constants(s, probeArgs{probeBytes / 16}), region{memory: memory, to: probeBytes}, region{memory: s.nothing, to: 4}.written())
	}
	return kern.Finish(s)
}
