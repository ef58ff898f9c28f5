package metalkern

// LSTM: a dispatch per step, each waiting for the last (lstm.metal says why).

import (
	"segue/engine/kern"
	"segue/metalkern/driver"
	"segue/weights"
)

var lstmSteps = [...]kernelName{
	kern.F32: {"lstm", "lstm_f32"}, kern.F16: {"lstm", "lstm_f16"}, kern.Q8: {"lstm", "lstm_q8"}, kern.Q4: {"lstm", "lstm_q4"},
}

// lstmThreads are a simdgroup for each of the four rows of LSTM_UNITS units.
const lstmThreads = 256

// lstmArgs is LSTMArgs of lstm.metal.
type lstmArgs struct {
	hidden, step, units, residual uint32
	pitch, groups, scales         uint32
}

func (s *stream) LSTM(a kern.LSTM) {
	if !s.alive() {
		return
	}
	w := s.matrix("lstm", "Hidden", a.Hidden)
	if w == nil {
		return
	}
	if a.T < 1 || w.rows != 4*w.cols {
		s.shapef("lstm", "got %d steps, hidden weight [%d, %d], want [4H, H]", a.T, w.rows, w.cols)
		return
	}
	if !s.indexable("lstm", a.T, 4, w.cols) {
		return
	}
	gates := s.floats("lstm", "Gates", a.Gates, kern.Product(a.T, 4, w.cols))
	residual := s.optional("lstm", "Residual", a.Residual, kern.Product(a.T, w.cols))
	dst := s.floats("lstm", "Dst", a.Dst, kern.Product(a.T, w.cols))
	s.apart("lstm", "Gates", dst, gates)
	s.same("lstm", "Residual", dst, residual)
	state := s.grow(scratchState, 3*4*int64(w.groups())*weights.GroupSize)
	p, ok := s.pipeline(lstmSteps[w.precision])
	if !ok || s.err != nil {
		return
	}
	threads := p.threads(lstmThreads)
	units := max(1, threads/simdWidth/4)
	groups := driver.Size{X: ceilDiv(w.cols, units), Y: 1, Z: 1}
	args := lstmArgs{hidden: uint32(w.cols), units: uint32(units), residual: present(residual),
		pitch: uint32(w.rowBytes()), groups: uint32(w.groups()), scales: uint32(w.scalePitch())}
	for step := range a.T {
		args.step = uint32(step)
		s.dispatch(p, groups, threads, constants(s, args), w.numbers(), w.scales(), gates, residual, dst.written(), state.written())
	}
}
