package simd

// Wide groups. The largest number of a group sets the step that all 32 are rounded to, so that a few inputs which are always
// large, as trained models have them, cost their neighbours most of their bits. A group whose step is more than outstanding
// times the harmonic mean of its row's steps is therefore rounded to 15 bits, in two planes of bytes:
//
//	scale = max|x|/(127·128),  x ≈ scale·(128·high + low),  high -127…127,  low -64…63
//
// A row alone decides which of its groups are wide. The harmonic mean is that of what most groups are like, even if half of
// them stand out. Of normal numbers one group in a thousand is wide, behind a GELU one in a hundred.

import (
	"encoding/binary"
	"math"
	"unsafe"

	"segue/weights"
)

const (
	outstanding = 1.75
	wideTop     = 127 << 7
)

// quantTile is a tile of activations under way.
type quantTile struct {
	bytes []byte
	rows  int
}

func (t quantTile) groups() int {
	return len(t.bytes) / (t.rows * (groupTileBytes + wideTileBytes))
}

// group begins at the first chunk of row r.
func (t quantTile) group(g, r int) []byte {
	return t.bytes[g*groupTileBytes*t.rows+4*r:]
}

// high is the other plane of group.
func (t quantTile) high(g, r int) []byte {
	return t.bytes[(t.groups()*groupTileBytes+g*wideTileBytes)*t.rows+4*r:]
}

func (t quantTile) scale(g, r int) float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(t.group(g, r)[32*t.rows:]))
}

func (t quantTile) wide(g int) bool {
	return binary.LittleEndian.Uint32(t.group(g, 0)[40*t.rows:]) != 0
}

// widen finds the groups that are wide in some row of x, and rounds those again.
func (t quantTile) widen(k *Kernels, x []float32, stride, cols int) {
	var limits [TileRows]float32
	some := false
	for r := range t.rows {
		limit, top := t.limit(r)
		limits[r], some = limit, some || top > limit
	}
	for g := range t.groups() {
		wide := uint32(0)
		for r := 0; some && r < t.rows; r++ {
			if t.scale(g, r) > limits[r] {
				wide = 1
			}
		}
		binary.LittleEndian.PutUint32(t.group(g, 0)[40*t.rows:], wide)
		for r := range int(wide) * t.rows {
			if t.scale(g, r) > limits[r] {
				t.roundWide(k, g, r, x[r*stride:][:cols][g*weights.GroupSize:])
			} else {
				t.leaveNarrow(g, r)
			}
		}
	}
}

// limit is the largest scale that a group of row r may have without being wide, top the largest one there is. Groups of zeros
// do not count.
func (t quantTile) limit(r int) (limit, top float32) {
	count, sum, size := 0.0, 0.0, groupTileBytes*t.rows
	for at := 4 * r; at < t.groups()*size; at += size {
		scale := math.Float32frombits(binary.LittleEndian.Uint32(t.bytes[at+32*t.rows:]))
		if scale > 0 {
			count++
			sum += 1 / float64(scale)
		}
		top = max(top, scale)
	}
	if count == 0 {
		return 0, 0
	}
	return float32(outstanding * count / sum), top
}

// roundWide rounds the group of x, which begins with it, once more.
func (t quantTile) roundWide(k *Kernels, g, r int, x []float32) {
	low, high := t.group(g, r)[:32*t.rows+4], t.high(g, r)[:32*t.rows+4]
	if len(x) >= weights.GroupSize {
		k.quantizeWide(&low[0], &high[0], t.rows, &x[0])
		return
	}
	var all [weights.GroupSize]float32
	copy(all[:], x)
	quantizeWideGeneric(&low[0], &high[0], t.rows, &all[0])
}

// quantizeWideGeneric fills both planes of a group of one row, its scale, and the sum of the high plane.
func quantizeWideGeneric(low, high *byte, rows int, x *float32) {
	values := unsafe.Slice(x, weights.GroupSize)
	lows, highs := unsafe.Slice(low, 32*rows+4), unsafe.Slice(high, 32*rows+4)
	top, sum := largest(values), int32(0)
	inverse := wideTop / top
	for i, v := range values {
		q := int32(roundEven(float32(v * inverse)))
		above := (q + 64) >> 7
		at := i/4*4*rows + i%4
		lows[at], highs[at] = byte(q-above<<7), byte(above)
		sum += q
	}
	binary.LittleEndian.PutUint32(lows[32*rows:], math.Float32bits(top/wideTop))
	binary.LittleEndian.PutUint32(highs[32*rows:], uint32(-sum))
}

// leaveNarrow is for a row of 8 bits beside others that are wide: it has nothing in the high plane.
func (t quantTile) leaveNarrow(g, r int) {
	low, high := t.group(g, r), t.high(g, r)
	for c := range weights.GroupSize / 4 {
		clear(high[c*4*t.rows:][:4])
	}
	correction := int32(binary.LittleEndian.Uint32(low[36*t.rows:]))
	binary.LittleEndian.PutUint32(high[32*t.rows:], uint32(correction/int32(bias(8))))
}
