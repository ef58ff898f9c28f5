package lm

import (
	"context"
	"math"

	"segue/engine/kern"
)

// pass is one trip of rows·columns columns through the layers.
type pass struct {
	codes         kern.Slice // int32 [variations, Q, stride], the delayed sequence
	stride        int
	rows          int // sequences: branches · variations, conditional rows first
	variations    int
	columns       int // new columns of each row
	position      int // of the first new column in the sequence
	condition     *Condition
	lead          int          // rows that stand before column 0: positions and cache count them too
	leading       []kern.Slice // those rows, for each of rows, when this pass feeds them
	cache, prefix kern.Cache
	prefixColumns int  // of the cache
	lastOnly      bool // of what the layers make, only each sequence's last row is wanted
}

// length is how many rows of the residual stream each sequence has in this pass.
func (p *pass) length() int {
	if p.leading == nil {
		return p.columns
	}
	return p.lead + p.columns
}

// first is where the pass's first row stands in its own cache.
func (p *pass) first() int {
	if p.leading != nil {
		return 0
	}
	return p.lead + p.position - p.prefixColumns
}

// conditional counts the rows that attend to the text.
func (p *pass) conditional() int {
	if p.condition == nil || p.condition.kv == nil {
		return 0
	}
	return p.variations
}

// enter: x [rows·length, D] = the leading rows, if fed, then the columns' codes and positions.
func (m *Model) enter(s kern.Stream, p *pass, x kern.Slice) {
	d := m.Config.Width
	op := kern.Embed{
		Dst: x, Tables: m.embed, Codes: p.codes, Stride: p.stride, Rows: p.rows, Variations: p.variations,
		First: p.position, Columns: p.columns, Positions: m.positions.At(p.lead*d, m.positions.N-p.lead*d),
	}
	if p.leading == nil {
		s.Embed(op)
		return
	}
	op.Rows, op.Variations = 1, 1
	for row, leading := range p.leading {
		own := x.At(row*p.length()*d, p.length()*d)
		s.Copy(own.At(0, p.lead*d), leading)
		op.Dst = own.At(p.lead*d, p.columns*d)
		s.Embed(op)
	}
}

// forward leaves the residual stream after the last layer in state.x [rows·length, D], or [rows, D] if lastOnly, and appends
// to the cache:
//
//	x = Σ_q E_q[code] + position
//	x = x + Out·CausalAttention(LN(x));  x = x + Out·Attention(LN(x), text);  x = x + W2·gelu(W1·LN(x))
//
// A pass over many columns is handed over in pieces, and ctx is looked at before each layer; a single step is over sooner than
// it could matter.
func (m *Model) forward(ctx context.Context, s kern.Stream, p *pass) error {
	c := &m.Config
	n := p.rows * p.length()
	x := kern.All(m.state.x).At(0, n*c.Width)
	qkv := kern.All(m.state.qkv).At(0, n*3*c.Width)
	attention := kern.All(m.state.attention).At(0, n*c.Width)
	hidden := kern.All(m.state.hidden).At(0, n*c.FFN)
	scale := float32(1 / math.Sqrt(float64(c.HeadDim())))

	var piece piece
	m.enter(s, p, x)
	for i := range m.layers {
		if p.columns > 1 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l := &m.layers[i]
		s.Linear(kern.Linear{Dst: qkv, X: x, W: l.qkv, Rows: n, Norm: l.selfNorm})
		s.CausalAttention(kern.CausalAttention{
			Dst: attention, QKV: qkv, Cache: p.cache, Prefix: p.prefix, PrefixColumns: p.prefixColumns, Layer: i,
			Rows: p.rows, Columns: p.length(), Variations: p.variations, Column: p.first(), Scale: scale,
		})
		if p.lastOnly && i == len(m.layers)-1 {
			p.keepLast(s, c.Width, x, attention)
			n = p.rows
		}
		s.Linear(kern.Linear{Dst: x, X: attention, W: l.out, Rows: n, Residual: x})
		if rows := p.conditional() * (n / p.rows); rows > 0 {
			m.crossAttend(s, l, i, p.condition, x.At(0, rows*c.Width), rows, scale)
		}
		s.Linear(kern.Linear{Dst: hidden, X: x, W: l.fc1, Rows: n, Norm: l.finalNorm, Act: kern.GELU})
		s.Linear(kern.Linear{Dst: x, X: hidden, W: l.fc2, Rows: n, Residual: x})
		if p.columns > 1 {
			if err := piece.add(s, layerWork(c, n)); err != nil {
				return err
			}
		}
	}
	return s.Err()
}

// layerWork is how many multiplications the linears of a layer make of n rows that all attend to a text.
func layerWork(c *Config, n int) int64 { return int64(n) * int64(c.Width) * int64(6*c.Width+2*c.FFN) }

// pieceWork is how many multiplications a device is handed at once: some tenths of a second for a small GPU. One that draws the
// screen, too, has work ended that takes seconds.
var pieceWork int64 = 1 << 39

// piece is what was recorded since the device was last handed something.
type piece struct {
	work   int64
	before kern.Fence // of the last one
}

// add counts work, and hands over what is enough. The device has one piece to do while another is recorded, so that who cancels
// does not wait for more.
func (p *piece) add(s kern.Stream, work int64) error {
	if p.work += work; p.work < pieceWork {
		return nil
	}
	fence, err := s.Submit()
	if err != nil {
		return err
	}
	err = s.Wait(p.before)
	*p = piece{before: fence}
	return err
}

// keepLast moves each sequence's last row of some [rows·length, width] to the front.
func (p *pass) keepLast(s kern.Stream, width int, all ...kern.Slice) {
	length := p.length()
	for r := range p.rows {
		from := (r+1)*length - 1
		if from == r {
			continue // one row each: they are there
		}
		for _, x := range all {
			s.Copy(x.At(r*width, width), x.At(from*width, width))
		}
	}
}

// crossAttend adds what the rows of x take from the text.
func (m *Model) crossAttend(s kern.Stream, l *layer, index int, text *Condition, x kern.Slice, rows int, scale float32) {
	d := m.Config.Width
	q := kern.All(m.state.qkv).At(0, rows*d)
	attention := kern.All(m.state.attention).At(0, rows*d)
	kv := text.layer(index, d)
	s.Linear(kern.Linear{Dst: q, X: x, W: l.crossQ, Rows: rows, Norm: l.crossNorm})
	s.Attention(kern.Attention{
		Dst: attention, Q: q, QStride: d, K: kv, V: kv.At(d, kv.N-d), KVStride: 2 * d,
		Rows: rows, Keys: text.keys, Heads: m.Config.Heads, HeadDim: m.Config.HeadDim(), Scale: scale,
	})
	s.Linear(kern.Linear{Dst: x, X: attention, W: l.crossOut, Rows: rows, Residual: x})
}

// logits: dst [rows, Q·V] from rows of the residual stream.
func (m *Model) logits(s kern.Stream, dst, x kern.Slice, rows int) {
	s.Linear(kern.Linear{Dst: dst, X: x, W: m.heads, Rows: rows, Norm: m.norm})
}
