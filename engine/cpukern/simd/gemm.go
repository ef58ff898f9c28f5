package simd

// gemmDepth is how many inputs of a panel one call of a kernel takes: 64 KiB of weight, which all rows then share.
const gemmDepth = 512

// Gemm: Dst[r·Stride + c] += Σ_k X[r·XStride + k]·w[c,k] for c < N, r < Rows, k < K.
//
// Rows of X may overlap (XStride < K): a convolution over [T][C] is such a product. Sums continue from what Dst holds, in
// order of k with fused multiply-adds, so a bias can be there before and a product may come in parts.
type Gemm struct {
	Dst         []float32
	Stride      int
	W           []float32 // panel p, input k at p·PanelStride + 32·k, from PackGemm
	PanelStride int       // 32 × the inputs that the weight was packed with
	N, K        int
	X           []float32
	XStride     int
	Rows        int
}

// Gemm adds a product to Dst.
func (k *Kernels) Gemm(a Gemm) {
	for from := 0; from < a.K; from += gemmDepth {
		depth := min(gemmDepth, a.K-from)
		for c := 0; c < a.N; c += GemmPanelRows {
			w := a.W[c/GemmPanelRows*a.PanelStride+from*GemmPanelRows:][:depth*GemmPanelRows]
			cols := min(GemmPanelRows, a.N-c)
			for r := 0; r < a.Rows; {
				n := tile(k.gemmHeights, a.Rows-r)
				x := a.X[r*a.XStride+from:][:(n-1)*a.XStride+depth]
				dst := a.Dst[r*a.Stride+c:][:(n-1)*a.Stride+cols]
				k.gemm[n](&w[0], &x[0], a.XStride, depth, &dst[0], a.Stride, cols)
				r += n
			}
		}
	}
}
