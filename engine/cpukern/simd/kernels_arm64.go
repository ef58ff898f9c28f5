//go:build !noasm

package simd

// The kernels in kernels_arm64.s, for processors that multiply bytes in fours (SDOT): all of Apple's with macOS, and
// servers and phones since about 2018.

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

func native() []ISA {
	if cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" {
		return []ISA{NEON}
	}
	return nil
}

func (k *Kernels) specialise() {
	if k.isa != NEON {
		return
	}
	k.quantHeights, k.halfHeights, k.gemmHeights = []int{4, 2, 1}, []int{4, 2, 1}, []int{4, 1}
	k.q8 = [...]quantKernel{1: q8x1NEON, 2: q8x2NEON, 4: q8x4NEON, TileRows: nil}
	k.q4 = [...]quantKernel{1: q4x1NEON, 2: q4x2NEON, 4: q4x4NEON, TileRows: nil}
	k.f16 = [...]halfKernel{1: f16x1NEON, 2: f16x2NEON, 4: f16x4NEON, TileRows: nil}
	k.gemm = [...]gemmKernel{1: gemm1x32NEON, 4: gemm4x32NEON, TileRows: nil}
	k.quantize, k.quantizeWide, k.quantizeVector = quantizeNEON, quantizeWideNEON, quantizeVectorNEON
	k.dotsF32, k.dotsF16, k.dotsI8 = dotsF32NEON, dotsF16NEON, dotsI8NEON
	k.weighF32, k.weighF16, k.weighI8 = weighF32NEON, weighF16NEON, weighI8NEON
	k.gelu, k.sigmoid, k.tanh = geluNEON, sigmoidNEON, tanhNEON
	k.elu, k.add, k.scale = eluNEON, addNEON, scaleNEON
	k.max, k.sum, k.expSum, k.squares = maxNEON, sumNEON, expSumNEON, squaresNEON
	k.layerNorm, k.rmsNorm = layerNormNEON, rmsNormNEON
	k.widen, k.narrow = widenNEON, narrowNEON
	k.readSum, k.pause = readSumNEON, pauseNEON
}
