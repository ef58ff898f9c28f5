package simd

// Packed weights. One layout serves all instruction sets, so that a packed file or mapping is portable, and a pass over
// it is one sequential stream of whole cache lines.
//
// A panel is 16 rows of a weight [N, K]. Rows are padded to 16; inputs to 64 in Q8 and Q4, with zeros.
//
//	Q8, Q4  per 64 inputs: two groups of 32 inputs, then 2×16 float16 scales (64 bytes): 1088 or 576 bytes
//	  Q8    group: 8 lines of 64 bytes; line c holds 16 rows × inputs 4c…4c+3, as value+128
//	  Q4    group: 4 lines; as Q8 of value+8, chunk c in the low and chunk c+4 in the high half of each byte
//	F16     per input: 16 halves
//
// Gemm's panels are 32 rows, as float32 [K][32].
//
// Adding 128 or 8 makes weights unsigned, which is what x86 multiplies with signed activations; an activation tile carries
// the correction -bias·Σx that the integer sum begins from.

import (
	"encoding/binary"

	"segue/weights"
)

const (
	PanelRows     = 16 // rows of a panel of quantised or half weights
	GemmPanelRows = 32 // rows of a panel of Gemm

	pairInputs = 2 * weights.GroupSize
	scaleBytes = 2 * PanelRows * 2 // of a pair
)

// bias is what is added to the integers of a quantised weight.
func bias(bits int) int { return 1 << (bits - 1) }

// pairBytes is the size of 64 inputs of a panel.
func pairBytes(bits int) int { return PanelRows*pairInputs*bits/8 + scaleBytes }

// PanelBytes is the size of one panel of a weight with cols inputs, of 8, 4 or 16 (half) bits.
func PanelBytes(bits, cols int) int {
	if bits == 16 {
		return 2 * PanelRows * cols
	}
	return ceilDiv(cols, pairInputs) * pairBytes(bits)
}

// PackQuantized writes q, which may be any number of rows of a larger weight from the beginning of a panel on: whole panels.
func PackQuantized(dst []byte, q *weights.Quantized) {
	panel := PanelBytes(q.Bits, q.Cols)
	for first := 0; first < q.Rows; first += PanelRows {
		packPanel(dst[:panel], q, first)
		dst = dst[panel:]
	}
}

func packPanel(dst []byte, q *weights.Quantized, first int) {
	for k := 0; k < q.Cols; k += pairInputs {
		pair := dst[:pairBytes(q.Bits)]
		scales := pair[len(pair)-scaleBytes:]
		for g := range 2 {
			group := pair[g*(len(pair)-scaleBytes)/2:][:(len(pair)-scaleBytes)/2]
			packGroup(group, q, first, k+g*weights.GroupSize)
			for r := range PanelRows {
				binary.LittleEndian.PutUint16(scales[2*(g*PanelRows+r):], scaleAt(q, first+r, k/weights.GroupSize+g))
			}
		}
		dst = dst[len(pair):]
	}
}

func packGroup(dst []byte, q *weights.Quantized, first, k int) {
	const line, chunks = 4 * PanelRows, weights.GroupSize / 4
	for r := range PanelRows {
		values := groupAt(q, first+r, k)
		for c := range len(dst) / line {
			chunk := biased(&values, c, bias(q.Bits))
			if q.Bits == 4 {
				chunk |= biased(&values, c+chunks/2, bias(q.Bits)) << 4
			}
			binary.LittleEndian.PutUint32(dst[c*line+4*r:], chunk)
		}
	}
}

// biased is chunk c of a group, four values in the order of memory.
func biased(values *[weights.GroupSize]int8, c, bias int) uint32 {
	v := values[4*c:][:4]
	return uint32(byte(int(v[0])+bias)) | uint32(byte(int(v[1])+bias))<<8 |
		uint32(byte(int(v[2])+bias))<<16 | uint32(byte(int(v[3])+bias))<<24
}

// groupAt is 32 values of row r from input k on, zero where there are none.
func groupAt(q *weights.Quantized, r, k int) (values [weights.GroupSize]int8) {
	if r < q.Rows && k < q.Cols {
		copy(values[:], q.Values[r*q.Cols+k:(r+1)*q.Cols])
	}
	return values
}

func scaleAt(q *weights.Quantized, r, g int) uint16 {
	if r >= q.Rows || g >= q.Groups() {
		return 0
	}
	return q.Scales[r*q.Groups()+g]
}

// PackF16 writes rows [len(rows)/cols, cols] as halves, whole panels.
func PackF16(dst []uint16, rows []float32, cols int) {
	n := len(rows) / cols
	for first := 0; first < n; first += PanelRows {
		for k := range cols {
			for r := range PanelRows {
				h := uint16(0)
				if first+r < n {
					h = weights.F32ToF16(rows[(first+r)*cols+k])
				}
				dst[k*PanelRows+r] = h
			}
		}
		dst = dst[cols*PanelRows:]
	}
}

// GemmFloats is the length of a packed weight [rows, cols] for Gemm.
func GemmFloats(rows, cols int) int { return ceilDiv(rows, GemmPanelRows) * GemmPanelRows * cols }

// PackGemm writes rows [len(rows)/cols, cols] for Gemm, whole panels.
func PackGemm(dst, rows []float32, cols int) {
	n := len(rows) / cols
	for first := 0; first < n; first += GemmPanelRows {
		for r := range GemmPanelRows {
			for k := range cols {
				v := float32(0)
				if first+r < n {
					v = rows[(first+r)*cols+k]
				}
				dst[k*GemmPanelRows+r] = v
			}
		}
		dst = dst[cols*GemmPanelRows:]
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
