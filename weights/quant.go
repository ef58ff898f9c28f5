package weights

// Group quantisation: a row of a matrix is cut into groups of 32 along its inputs; a group is small integers and one
// float16 scale, value ≈ integer · scale.
//
//	Q8: integers -127…127, scale = max|v|/127
//	Q4: integers -8…7, the scale searched per group for the least squared error
//
// Measured squared error over squared signal, Gaussian weights: Q8 2.9e-5; Q4 7.4e-3 when the largest magnitude simply
// becomes -8, 6.6e-3 with the search, where no scale at all reaches less than 6.57e-3. Student's t with four degrees of
// freedom: 5.2e-5; 13.3e-3, 12.2e-3, 12.19e-3. For 8 bits a search gains nothing.

import (
	"fmt"
	"math"
)

// GroupSize is how many consecutive inputs share a scale.
const GroupSize = 32

// Quantized is a matrix [Rows, Cols] of 8 or 4 bits. The last group of a row may be short.
type Quantized struct {
	Bits, Rows, Cols int
	Values           []int8   // [Rows, Cols]
	Scales           []uint16 // float16 [Rows, Groups()]
}

// Groups is the number of scales of a row.
func (q *Quantized) Groups() int { return groups(q.Cols) }

// Quantize rounds whole rows of cols numbers to 8 or 4 bits. Rows do not depend on each other, so that a large matrix can
// pass through in parts.
func Quantize(rows []float32, cols, bits int) (*Quantized, error) {
	if bits != 8 && bits != 4 {
		return nil, fmt.Errorf("weights: quantize: got %d bits, want 8 or 4", bits)
	}
	if cols < 1 || len(rows)%cols != 0 {
		return nil, fmt.Errorf("weights: quantize: got %d values, want whole rows of %d", len(rows), cols)
	}
	q := &Quantized{Bits: bits, Rows: len(rows) / cols, Cols: cols, Values: make([]int8, len(rows))}
	q.Scales = make([]uint16, q.Rows*q.Groups())
	round := nearest8
	if bits == 4 {
		round = search4
	}
	next := 0
	for at := 0; at < len(rows); next++ {
		end := at + min(GroupSize, cols-at%cols)
		largest := extreme(rows[at:end])
		if math.IsNaN(float64(largest)) || math.IsInf(float64(largest), 0) {
			return nil, fmt.Errorf("weights: quantize: row %d: got a number that is not finite", at/cols)
		}
		q.Scales[next] = round(q.Values[at:end], rows[at:end], largest)
		at = end
	}
	return q, nil
}

// Dequantize widens row r into dst, Cols numbers.
func (q *Quantized) Dequantize(dst []float32, r int) {
	scales := q.Scales[r*q.Groups():]
	for i, v := range q.Values[r*q.Cols:][:q.Cols] {
		dst[i] = float32(v) * F16ToF32(scales[i/GroupSize])
	}
}

// extreme is the number of the largest magnitude, with its sign; NaN or an infinity if there is one.
func extreme(group []float32) float32 {
	largest, magnitude := float32(0), float32(0)
	for _, v := range group {
		if m := max(v, -v); !(m <= magnitude) {
			if m != m {
				return m
			}
			largest, magnitude = v, m
		}
	}
	return largest
}

func nearest8(dst []int8, group []float32, largest float32) uint16 {
	return roundTo(dst, group, largest/127, -127, 127)
}

// search4Steps are the scales tried, as what the largest magnitude is divided by. More or finer steps, or the other
// sign, lower the error by less than half a percent.
var search4Steps = [...]float32{-7, -7.4, -7.8, -8.2, -8.6, -9}

// search4 tries some scales. Once integers q are chosen, the best scale for them is Σvq/Σq² and it removes (Σvq)²/Σq² of
// the squared signal; the trial that removes most wins and its integers are taken again under its scale.
func search4(dst []int8, group []float32, largest float32) uint16 {
	best, scale := float32(0), largest/-8
	for _, step := range search4Steps {
		if !(math.Abs(float64(step/largest)) <= math.MaxFloat32) {
			break // an all but empty group: the reciprocal of its scale overflows
		}
		product, squares := fit4(group, step/largest)
		if removed := product * product / squares; removed > best {
			best, scale = removed, product/squares
		}
	}
	return roundTo(dst, group, scale, -8, 7)
}

// fit4 returns Σvq and Σq² for q = clamp(round(v·inverse), -8, 7).
func fit4(group []float32, inverse float32) (product, squares float32) {
	for _, v := range group {
		q := roundEven(v * inverse)
		if q > 7 { // branches: min and max of floats also look for NaN, which costs twice the time
			q = 7
		}
		if q < -8 {
			q = -8
		}
		product += v * q
		squares += q * q
	}
	return product, squares
}

// roundTo takes the nearest integers under the scale that will be stored, which it returns.
func roundTo(dst []int8, group []float32, scale, low, high float32) uint16 {
	stored := F32ToF16(min(max(scale, -maxF16), maxF16))
	inverse := 1 / F16ToF32(stored)
	if stored&0x7fff == 0 {
		inverse = 0
	}
	for i, v := range group {
		dst[i] = int8(roundEven(min(max(v*inverse, low), high)))
	}
	return stored
}

// roundEven rounds |v| < 2²² to an integer: above 1.5·2²³ float32 has no fraction left.
func roundEven(v float32) float32 {
	const big = 3 << 22
	return float32(v+big) - big
}

const maxF16 = 65504
