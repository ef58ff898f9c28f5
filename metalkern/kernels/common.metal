// What all kernels share. This text stands before each of them; no file includes another.
//
// The rules, which let other compilers than Apple's take the text:
//   buffer 0 is the constant argument struct, at most 256 bytes, the twin of a Go struct; its fields are uint, int, float
//   and ulong; buffers 1… are device pointers, const where only read
//   threadgroup arrays by TG_ARRAY, at the top level of a kernel; every pointer spells its address space
//   reinterpret_cast between pointers; .x .y .z .w and [i] of vectors, nothing longer; floats end in f; no narrowing unsaid
//   barriers and simd_… only where all threads of the threadgroup or simdgroup come by; a simdgroup is 32 threads
//   no word from one threadgroup to another within a dispatch
// Sums are written with fma, whose rounding no compiler may change, in an order that no number of rows changes.
#ifndef MK_SHIM
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#define TG_ARRAY(T, name, n) threadgroup T name[n]
#endif

// Activations and normalisations by the numbers of package kern.
constant uint ACT_GELU = 1, ACT_RELU = 2;
constant uint NORM_NONE = 0, NORM_LAYER = 1;

// erf by Abramowitz and Stegun 7.1.26: within 1.5e-7 everywhere.
static inline float erf_near(float x) {
    const float m = x < 0.0f ? -x : x;
    const float t = 1.0f / fma(0.3275911f, m, 1.0f);
    float p = fma(t, 1.061405429f, -1.453152027f);
    p = fma(t, p, 1.421413741f);
    p = fma(t, p, -0.284496736f);
    p = fma(t, p, 0.254829592f);
    const float e = fma(-(p * t), exp(-m * m), 1.0f);
    return x < 0.0f ? -e : e;
}

static inline float activate(float x, uint act) {
    if (act == ACT_GELU) return (0.5f * x) * (1.0f + erf_near(x * 0.70710678118654752f));
    if (act == ACT_RELU) return max(x, 0.0f);
    return x;
}

// The mean (0 for RMS) and the reciprocal deviation of one row, by one simdgroup. Two passes, so that a row far from zero
// keeps its digits.
struct Moments { float mean; float scale; };

static inline Moments row_moments(device const float* x, uint width, uint kind, float epsilon, uint lane) {
    Moments m;
    m.mean = 0.0f;
    if (kind == NORM_LAYER) {
        float sum = 0.0f;
        for (uint i = lane; i < width; i += 32) sum += x[i];
        m.mean = simd_sum(sum) / float(width);
    }
    float squares = 0.0f;
    for (uint i = lane; i < width; i += 32) {
        const float d = x[i] - m.mean;
        squares = fma(d, d, squares);
    }
    m.scale = 1.0f / sqrt(simd_sum(squares) / float(width) + epsilon);
    return m;
}
