package lm

import (
	"context"
	"fmt"

	"segue/engine/kern"
)

// Sampling is how codes are drawn; see kern.Sample for the formulas.
type Sampling struct {
	Guidance    float32
	Temperature float32
	TopK        int
	TopP        float32
	Greedy      bool
}

// lag is how many steps the host runs ahead of the one it has seen finished: enough to keep a GPU fed, few enough that a
// cancelled request ends at once.
const lag = 2

// Generate decodes from prefix up to frames frames in all, one variation for each seed, and returns each variation's new
// codes [Q][frames-prefix.Frames]. step is told how many of the steps are done, and how many there will be.
//
// MusicGen has no end token, so the number of steps is known: codes are drawn on the device and the host only records.
func (m *Model) Generate(ctx context.Context, s kern.Stream, prefix *Prefix, seeds []uint64, frames int, how Sampling, step func(done, total int)) ([][]int32, error) {
	d, err := m.newDecoding(s, prefix, seeds, frames, how)
	if err != nil {
		return nil, err
	}
	defer d.free()
	if err := d.run(ctx, s, step); err != nil {
		_ = s.Reset() // the device must be done with the buffers before they are freed
		return nil, err
	}
	return d.codes(s)
}

// decoding is one Generate: the sequences being written and the memory that belongs to them.
type decoding struct {
	model  *Model
	prefix *Prefix
	pass   pass
	sample kern.Sample
	frames int

	sequence kern.Buffer // int32 [variations, Q, columns], the delayed sequences
	seeds    kern.Buffer // int32 [variations, 2]
	logits   kern.Buffer // [rows, Q·V]
	cache    kern.Cache  // columns after the prefix's
}

func (m *Model) newDecoding(s kern.Stream, prefix *Prefix, seeds []uint64, frames int, how Sampling) (*decoding, error) {
	c := &m.Config
	columns, lead := c.Columns(frames), prefix.condition.leadRows()
	if frames <= prefix.Frames || lead+columns-1 > c.Positions {
		return nil, fmt.Errorf("lm: length: got %d frames after a prompt of %d, want more, and at most %d in all", frames, prefix.Frames, c.Positions-c.MaxDelay()-lead)
	}
	variations := len(seeds)
	rows := prefix.branches * variations
	d := &decoding{model: m, prefix: prefix, frames: frames}
	if err := d.allocate(rows, variations, columns); err != nil {
		d.free()
		return nil, err
	}
	grid := c.Delayed(prefix.prompt, prefix.Frames, columns)
	for v, seed := range seeds {
		s.UploadInts(kern.All(d.sequence).At(v*len(grid), len(grid)), grid)
		s.UploadInts(kern.All(d.seeds).At(2*v, 2), []int32{int32(uint32(seed)), int32(uint32(seed >> 32))})
	}
	d.pass = pass{
		codes: kern.All(d.sequence), stride: columns, rows: rows, variations: variations, columns: 1,
		condition: prefix.condition, lead: lead, cache: d.cache, prefix: prefix.cache, prefixColumns: prefix.length(),
	}
	guidance := float32(1) // a single branch has nothing to mix
	if prefix.branches == 2 {
		guidance = how.Guidance
	}
	d.sample = kern.Sample{
		Codes: kern.All(d.sequence), Seeds: kern.All(d.seeds), Delays: c.Delays, Q: c.Codebooks, Entries: c.Entries,
		Stride: columns, Variations: variations, PromptFrames: prefix.Frames, Frames: frames,
		Guidance: guidance, Temperature: how.Temperature, TopK: how.TopK, TopP: how.TopP, Greedy: how.Greedy,
	}
	return d, nil
}

func (d *decoding) allocate(rows, variations, columns int) (err error) {
	c, backend := &d.model.Config, d.model.backend
	if err = d.model.state.grow(backend, *c, rows); err != nil {
		return err
	}
	if d.sequence, err = backend.Ints(variations * c.Codebooks * columns); err != nil {
		return err
	}
	if d.seeds, err = backend.Ints(variations * 2); err != nil {
		return err
	}
	if d.logits, err = backend.Floats(rows * c.Codebooks * c.Entries); err != nil {
		return err
	}
	own := max(columns-1-d.prefix.columns(), 1) // the last column is never fed
	d.cache, err = backend.Cache(d.model.cached, kern.CacheShape{Layers: c.Layers, Rows: rows, Columns: own, Heads: c.Heads, HeadDim: c.HeadDim()})
	return err
}

// run draws the column after the prefix from the prefix's logits, then feeds each column and draws the next.
func (d *decoding) run(ctx context.Context, s kern.Stream, step func(done, total int)) error {
	first, end := d.prefix.columns(), d.pass.stride
	var fences [lag]kern.Fence
	for column := first; column < end; column++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := d.step(ctx, s, column, first); err != nil {
			return err
		}
		fence, err := s.Submit()
		if err != nil {
			return err
		}
		if seen := &fences[column%lag]; column-first >= lag {
			if err := s.Wait(*seen); err != nil {
				return err
			}
		}
		fences[column%lag] = fence
		step(column-first+1, end-first)
	}
	return nil
}

// step draws one column. It allocates nothing.
func (d *decoding) step(ctx context.Context, s kern.Stream, column, first int) error {
	d.sample.Column = column
	if column == first {
		d.sample.Logits, d.sample.Group = kern.All(d.prefix.logits), 1
	} else {
		d.pass.position = column - 1
		if err := d.model.forward(ctx, s, &d.pass); err != nil {
			return err
		}
		x := kern.All(d.model.state.x).At(0, d.pass.rows*d.model.Config.Width)
		d.model.logits(s, kern.All(d.logits), x, d.pass.rows)
		d.sample.Logits, d.sample.Group = kern.All(d.logits), d.pass.variations
	}
	s.Sample(d.sample)
	return s.Err()
}

// codes fetches the finished sequences.
func (d *decoding) codes(s kern.Stream) ([][]int32, error) {
	grid := make([]int32, d.sequence.Len())
	if err := s.DownloadInts(grid, kern.All(d.sequence)); err != nil {
		return nil, err
	}
	c := &d.model.Config
	out := make([][]int32, d.pass.variations)
	for v := range out {
		n := len(grid) / len(out)
		out[v] = c.undelayed(grid[v*n:(v+1)*n], d.pass.stride, d.prefix.Frames, d.frames)
	}
	return out, nil
}

func (d *decoding) free() {
	for _, b := range []kern.Buffer{d.sequence, d.seeds, d.logits} {
		if b != nil {
			b.Free()
		}
	}
	if d.cache != nil {
		d.cache.Free()
	}
}
