package cpukern

// The inner product kernels. All of them add the products of one output element in order of k, from zero, in one
// float32 accumulator: which tile, thread or block computes an element does not change its bits. A tile loads one operand
// for four products and has four additions under way; eight accumulators (2×4) spill registers and are slower.

// gemm adds matrix products to out:
//
//	out[r·outStride + c] += Σ_k x[r·xStride + k] · w[c·wStride + k],   r < rows, c < cols, k < depth
//
// Rows of x may overlap (xStride < depth): a convolution over [T][C] is such a product.
type gemm struct {
	out, x, w                   []float32
	outStride, xStride, wStride int
	rows, cols, depth           int
}

func (g *gemm) add() {
	c := 0
	for ; c+4 <= g.cols; c += 4 {
		g.addFour(c)
	}
	for ; c < g.cols; c++ {
		g.addOne(c)
	}
}

// addFour computes columns c…c+3 for all rows.
func (g *gemm) addFour(c int) {
	w0, w1, w2, w3 := g.column(c), g.column(c+1), g.column(c+2), g.column(c+3)
	for r := range g.rows {
		a0, a1, a2, a3 := dot1x4(g.row(r), w0, w1, w2, w3)
		out := g.out[r*g.outStride+c:][:4]
		out[0] += a0
		out[1] += a1
		out[2] += a2
		out[3] += a3
	}
}

// addOne computes column c for all rows: the same tile with the roles of x and w exchanged.
func (g *gemm) addOne(c int) {
	w := g.column(c)
	r := 0
	for ; r+4 <= g.rows; r += 4 {
		a0, a1, a2, a3 := dot1x4(w, g.row(r), g.row(r+1), g.row(r+2), g.row(r+3))
		g.out[r*g.outStride+c] += a0
		g.out[(r+1)*g.outStride+c] += a1
		g.out[(r+2)*g.outStride+c] += a2
		g.out[(r+3)*g.outStride+c] += a3
	}
	for ; r < g.rows; r++ {
		g.out[r*g.outStride+c] += dot(w, g.row(r))
	}
}

func (g *gemm) row(r int) []float32 { return g.x[r*g.xStride:][:g.depth] }

func (g *gemm) column(c int) []float32 { return g.w[c*g.wStride:][:g.depth] }

func dot(x, w []float32) (a float32) {
	w = w[:len(x)]
	for i, v := range x {
		a += float32(v * w[i])
	}
	return a
}

func dot1x4(x, w0, w1, w2, w3 []float32) (a0, a1, a2, a3 float32) {
	w0, w1, w2, w3 = w0[:len(x)], w1[:len(x)], w2[:len(x)], w3[:len(x)]
	for i, v := range x {
		a0 += float32(v * w0[i])
		a1 += float32(v * w1[i])
		a2 += float32(v * w2[i])
		a3 += float32(v * w3[i])
	}
	return a0, a1, a2, a3
}
