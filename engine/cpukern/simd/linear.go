package simd

// Products of activations with weights that are read once: Linear (8 and 4 bits), LinearF16. Rows of activations are cut
// into tiles, the heights of the kernels there are; weights into runs of panels that stay in a core's cache while all
// tiles pass over them.
//
// An activation tile of n rows holds, per group of 32 inputs, n·44 bytes:
//
//	[8 chunks][n rows][4 inputs] int8 · [n] float32 scale · [n] int32 correction -bias·Σx · [n] int32, the first: group is wide
//
// and behind all groups n·36 bytes for each, which count where it is wide; see wide.go:
//
//	[8 chunks][n rows][4 inputs] int8, worth 128 each · [n] int32 correction -Σx

import "segue/weights"

// runBytes bounds the weight that one call of a kernel reads: some ten microseconds, and at home in a second-level cache.
const runBytes = 256 << 10

const (
	groupTileBytes = weights.GroupSize + 4 + 4 + 4 // per row
	wideTileBytes  = weights.GroupSize + 4         // per row, behind all groups
)

// QuantizedBytes is the size of the tiles of rows of cols activations.
func QuantizedBytes(rows, cols int) int { return rows * rowBytes(cols) }

func rowBytes(cols int) int { return 2 * ceilDiv(cols, pairInputs) * (groupTileBytes + wideTileBytes) }

// Quantize rounds activations for weights of 8 or 4 bits: row r is x[r·stride : +cols], finite numbers.
//
//	scale = max|x|/127,  q = round(x·(127/max|x|)), ties to even
//
// For 8 bits, groups that stand out of their row are wide: rounded to 15 bits.
func (k *Kernels) Quantize(dst []byte, bits int, x []float32, stride, rows, cols int) {
	full := cols / weights.GroupSize
	for rows > 0 {
		n := tile(k.quantHeights, rows)
		block := dst[:n*rowBytes(cols)]
		for r := range n {
			row := x[r*stride:][:cols]
			if full > 0 {
				k.quantize(&block[4*r], n, bias(bits), &row[0], full)
			}
			for g := full; g*weights.GroupSize < paddedInputs(cols); g++ {
				quantizeGroup(block[g*n*groupTileBytes+4*r:], n, bias(bits), row[min(g*weights.GroupSize, cols):])
			}
		}
		if bits == 8 {
			quantTile{block, n}.widen(k, x, stride, cols)
		}
		if rows -= n; rows > 0 {
			dst, x = dst[len(block):], x[n*stride:]
		}
	}
}

func paddedInputs(cols int) int { return ceilDiv(cols, pairInputs) * pairInputs }

// Linear: Dst[r·Stride + i] = Σ_k x[r,k]·w[i,k] for i < N, r < Rows.
type Linear struct {
	Dst    []float32
	Stride int
	W      []byte // panels from a whole one on, N rows of K inputs
	Bits   int    // 8 or 4
	N, K   int
	X      []byte // from Quantize with the same Bits
	Rows   int
}

// Linear sums a group of 32 in integers, exactly, and adds the sums times both scales in order of k, each with one
// rounding (fused multiply-add): the same bits for any number of rows and any instruction set. A group that is wide in one
// row of a tile costs as much as two in all of them.
func (k *Kernels) Linear(a Linear) {
	kernels := &k.q8
	if a.Bits == 4 {
		kernels = &k.q4
	}
	panel := PanelBytes(a.Bits, a.K)
	pairs := ceilDiv(a.K, pairInputs)
	forRuns(a.N, panel, func(first, panels, valid int) {
		w := a.W[first*panel:][:panels*panel]
		x := a.X[:QuantizedBytes(a.Rows, a.K)]
		for r := 0; r < a.Rows; {
			n := tile(k.quantHeights, a.Rows-r)
			dst := a.Dst[r*a.Stride+first*PanelRows:]
			dst = dst[:(n-1)*a.Stride+(panels-1)*PanelRows+valid]
			kernels[n](&w[0], &x[r*rowBytes(a.K)], &dst[0], a.Stride, pairs, panels, valid)
			r += n
		}
	})
}

// forRuns cuts n rows of a weight into runs of panels: whole ones, and a last one of fewer rows alone.
func forRuns(n, panelBytes int, do func(first, panels, valid int)) {
	whole := n / PanelRows
	most := max(1, runBytes/max(panelBytes, 1))
	for first := 0; first < whole; first += most {
		do(first, min(most, whole-first), PanelRows)
	}
	if rest := n % PanelRows; rest > 0 {
		do(whole, 1, rest)
	}
}

// LinearF16: Dst[r·Stride + i] = Σ_k X[r·XStride + k]·w[i,k] for i < N, r < Rows.
type LinearF16 struct {
	Dst     []float32
	Stride  int
	W       []uint16 // panels from a whole one on, N rows of K inputs
	N, K    int
	X       []float32
	XStride int
	Rows    int
}

// LinearF16 adds even and odd k apart, each in order, then both.
func (k *Kernels) LinearF16(a LinearF16) {
	panel := PanelRows * a.K
	forRuns(a.N, 2*panel, func(first, panels, valid int) {
		w := a.W[first*panel:][:panels*panel]
		for r := 0; r < a.Rows; {
			n := tile(k.halfHeights, a.Rows-r)
			x := a.X[r*a.XStride:][:(n-1)*a.XStride+a.K]
			dst := a.Dst[r*a.Stride+first*PanelRows:]
			dst = dst[:(n-1)*a.Stride+(panels-1)*PanelRows+valid]
			k.f16[n](&w[0], &x[0], a.XStride, a.K, &dst[0], a.Stride, panels, valid)
			r += n
		}
	})
}
