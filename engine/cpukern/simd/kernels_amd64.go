//go:build !noasm

package simd

// Which of the kernels in kernels_amd64.s this processor runs. Most element-wise kernels and those of attention over floats
// are the same for both instruction sets: 256 bits read memory as fast as it comes.

import "golang.org/x/sys/cpu"

// native looks at what the system saves of the registers too: x/sys reports AVX and AVX-512 only where it does.
func native() []ISA {
	x := &cpu.X86
	if !(x.HasAVX2 && x.HasFMA && x.HasF16C && x.HasBMI2) {
		return nil
	}
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI {
		return []ISA{AVX2, AVX512}
	}
	return []ISA{AVX2}
}

func (k *Kernels) specialise() {
	switch k.isa {
	case AVX512:
		k.useAVX2()
		k.useAVX512()
	case AVX2:
		k.useAVX2()
	}
}

func (k *Kernels) useAVX2() {
	k.quantHeights, k.halfHeights, k.gemmHeights = []int{4, 2, 1}, []int{4, 2, 1}, []int{6, 2, 1}
	k.q8 = [...]quantKernel{1: q8x1AVX2, 2: q8x2AVX2, 4: q8x4AVX2, TileRows: nil}
	k.q4 = [...]quantKernel{1: q4x1AVX2, 2: q4x2AVX2, 4: q4x4AVX2, TileRows: nil}
	k.f16 = [...]halfKernel{1: f16x1AVX2, 2: f16x2AVX2, 4: f16x4AVX2, TileRows: nil}
	k.gemm = [...]gemmKernel{1: gemm1x32AVX2, 2: gemm2x32AVX2, 6: gemm6x32AVX2, TileRows: nil}
	k.quantize, k.quantizeWide, k.quantizeVector = quantizeAVX2, quantizeWideAVX2, quantizeVectorAVX2
	k.dotsF32, k.dotsF16, k.dotsI8 = dotsF32AVX2, dotsF16AVX2, dotsI8AVX2
	k.weighF32, k.weighF16, k.weighI8 = weighF32AVX2, weighF16AVX2, weighI8AVX2
	k.gelu, k.sigmoid, k.tanh = geluAVX2, sigmoidAVX2, tanhAVX2
	k.elu, k.add, k.scale = eluAVX2, addAVX2, scaleAVX2
	k.max, k.sum, k.expSum, k.squares = maxAVX2, sumAVX2, expSumAVX2, squaresAVX2
	k.layerNorm, k.rmsNorm = layerNormAVX2, rmsNormAVX2
	k.widen, k.narrow = widenAVX2, narrowAVX2
	k.readSum, k.fetch, k.pause = readSumAVX2, fetchAMD64, pauseAMD64
}

func (k *Kernels) useAVX512() {
	heights := []int{12, 8, 4, 2, 1}
	k.quantHeights, k.halfHeights, k.gemmHeights = heights, heights, heights
	k.q8 = [...]quantKernel{1: q8x1AVX512, 2: q8x2AVX512, 4: q8x4AVX512, 8: q8x8AVX512, 12: q8x12AVX512}
	k.q4 = [...]quantKernel{1: q4x1AVX512, 2: q4x2AVX512, 4: q4x4AVX512, 8: q4x8AVX512, 12: q4x12AVX512}
	k.f16 = [...]halfKernel{1: f16x1AVX512, 2: f16x2AVX512, 4: f16x4AVX512, 8: f16x8AVX512, 12: f16x12AVX512}
	k.gemm = [...]gemmKernel{1: gemm1x32AVX512, 2: gemm2x32AVX512, 4: gemm4x32AVX512, 8: gemm8x32AVX512, 12: gemm12x32AVX512}
	k.dotsI8x64, k.weighI8x64 = dotsI8x64AVX512, weighI8x64AVX512
	k.max, k.expSum = maxAVX512, expSumAVX512
	k.readSum = readSumAVX512
}
