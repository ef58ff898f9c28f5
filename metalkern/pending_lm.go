package metalkern

import (
	"segue/engine/kern"
)

func (b *backend) Cache(kern.Precision, kern.CacheShape) (kern.Cache, error) { return nil, errPending }

func (s *stream) Linear(kern.Linear)                   { s.fail(errPending) }
func (s *stream) Embed(kern.Embed)                     { s.fail(errPending) }
func (s *stream) CausalAttention(kern.CausalAttention) { s.fail(errPending) }
func (s *stream) Attention(kern.Attention)             { s.fail(errPending) }
