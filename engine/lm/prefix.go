package lm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"segue/engine/kern"
)

// Prefix is a prompt seen once: what every later decode from it reads, however many variations, however often. It is
// immutable and owns its device memory, but not the Condition.
type Prefix struct {
	Frames    int // of the prompt
	prompt    []int32
	branches  int // 2 with guidance: with the text, without it
	condition *Condition
	cache     kern.Cache  // [branches] rows of columns() columns
	logits    kern.Buffer // [branches, Q·V] of the last column
}

// columns counts the prompt's columns, length the cache's: a melody model's leading rows come before them.
func (p *Prefix) columns() int { return p.Frames + 1 }
func (p *Prefix) length() int  { return p.condition.leadRows() + p.columns() }

// Bytes is the device memory that the prefix holds.
func (p *Prefix) Bytes() int64 { return p.cache.Bytes() + p.logits.Bytes() }

// Free returns the device memory.
func (p *Prefix) Free() {
	p.cache.Free()
	p.logits.Free()
}

// Prefill sees prompt [Q][frames] (frames may be 0) in one pass over all its columns. condition is nil without text;
// guided asks for the branch without text beside the one with it. The caller frees the prefix.
func (m *Model) Prefill(ctx context.Context, s kern.Stream, condition *Condition, prompt []int32, frames int, guided bool) (*Prefix, error) {
	c := &m.Config
	if len(prompt) != frames*c.Codebooks {
		return nil, fmt.Errorf("lm: prompt: got %d codes, want %d codebooks of %d frames", len(prompt), c.Codebooks, frames)
	}
	p := &Prefix{Frames: frames, prompt: prompt, branches: 1, condition: condition}
	if guided && condition != nil {
		p.branches = 2
	}
	var err error
	if p.logits, err = m.backend.Floats(p.branches * c.Codebooks * c.Entries); err != nil {
		return nil, err
	}
	if p.cache, err = m.see(ctx, s, p); err != nil {
		p.logits.Free()
		return nil, err
	}
	return p, nil
}

// ErrNumbers says that a model's weights are damaged, or too large for their precision.
var ErrNumbers = errors.New("lm: the logits are no numbers")

// see runs the prompt's columns through the layers and leaves the last column's logits in p.logits.
func (m *Model) see(ctx context.Context, s kern.Stream, p *Prefix) (kern.Cache, error) {
	c := &m.Config
	cache, err := m.pass(ctx, s, p.condition, c.Delayed(p.prompt, p.Frames, p.columns()), p.branches, p.columns(), true)
	if err != nil {
		return nil, err
	}
	m.logits(s, kern.All(p.logits), kern.All(m.state.x).At(0, p.branches*c.Width), p.branches)
	if err := m.check(s, p.logits); err != nil {
		cache.Free()
		return nil, err
	}
	return cache, nil
}

// check waits for the first logits and looks at them: draws take what is no number for the least, and would make noise of it.
func (m *Model) check(s kern.Stream, logits kern.Buffer) error {
	if err := kern.Finish(s); err != nil {
		return err
	}
	values := make([]float32, logits.Len())
	if err := s.Download(values, kern.All(logits)); err != nil {
		return err
	}
	if !finite(values) {
		return ErrNumbers
	}
	return nil
}

func finite(x []float32) bool {
	return !slices.ContainsFunc(x, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
}

// pass feeds grid [Q][columns] to branches rows that start from nothing and returns their cache. See forward for what it leaves.
func (m *Model) pass(ctx context.Context, s kern.Stream, condition *Condition, grid []int32, branches, columns int, lastOnly bool) (kern.Cache, error) {
	c := &m.Config
	length := condition.leadRows() + columns
	if length > c.Positions {
		return nil, fmt.Errorf("lm: sequence: got %d columns, want at most %d", length, c.Positions)
	}
	if err := m.state.grow(m.backend, *c, branches*length); err != nil {
		return nil, err
	}
	codes, err := m.backend.Ints(len(grid))
	if err != nil {
		return nil, err
	}
	defer codes.Free()
	cache, err := m.backend.Cache(m.cached, kern.CacheShape{Layers: c.Layers, Rows: branches, Columns: length, Heads: c.Heads, HeadDim: c.HeadDim()})
	if err != nil {
		return nil, err
	}
	s.UploadInts(kern.All(codes), grid)
	err = m.forward(ctx, s, &pass{
		codes: kern.All(codes), stride: columns, rows: branches, variations: 1, columns: columns,
		condition: condition, lead: condition.leadRows(), leading: condition.leading(branches), cache: cache,
		lastOnly: lastOnly,
	})
	if err == nil {
		err = kern.Finish(s) // codes is freed on return
	}
	if err != nil {
		cache.Free()
		return nil, err
	}
	return cache, nil
}
