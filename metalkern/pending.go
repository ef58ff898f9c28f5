package metalkern

// Ops that are still to come: each is a stream error.

import (
	"errors"

	"segue/engine/kern"
	"segue/weights"
)

var errPending = errors.New("metalkern: this op is still to come")

func (b *backend) Filter(*weights.Tensor, bool) (kern.Filter, error) { return nil, errPending }

func (s *stream) Conv(kern.Conv)                   { s.fail(errPending) }
func (s *stream) ConvTranspose(kern.ConvTranspose) { s.fail(errPending) }
func (s *stream) LSTM(kern.LSTM)                   { s.fail(errPending) }
func (s *stream) RVQEncode(kern.RVQEncode)         { s.fail(errPending) }
func (s *stream) RVQDecode(kern.RVQDecode)         { s.fail(errPending) }
func (s *stream) Sample(kern.Sample)               { s.fail(errPending) }
