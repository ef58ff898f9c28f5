// What all kernels share. This text stands before each of them; no file includes another.
//
// The rules, which let other compilers than Apple's take the text:
//   buffer 0 is the constant argument struct, at most 256 bytes, the twin of a Go struct; its fields are uint, int, float
//   and ulong; buffers 1… are device pointers, const where only read
//   threadgroup arrays by TG_ARRAY, at the top level of a kernel; every pointer spells its address space
//   reinterpret_cast between pointers; .x .y .z .w and [i] of vectors, nothing longer; floats end in f; no narrowing unsaid
//   barriers and simd_… only where all threads of the threadgroup or simdgroup come by; a simdgroup is 32 threads
//   no word from one threadgroup to another within a dispatch
//   an operand that may be dst is read once, by the thread that writes it, before it writes (buffers that overlap are two
//   arguments)
// Sums are written with fma, whose rounding no compiler may change, in an order that no number of rows changes.
#ifndef MK_SHIM
#include <metal_stdlib>
#include <metal_simdgroup_matrix>
using namespace metal;
#define TG_ARRAY(T, name, n) alignas(16) threadgroup T name[n]
#endif

// UNROLL before a loop over arrays that must stay in registers, ROLLED before one that is to stay a loop.
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__CUDACC__)
#define UNROLL _Pragma("unroll")
#define ROLLED _Pragma("unroll 1")
#else
#define UNROLL
#define ROLLED
#endif

// AFTER_EARLIER; stands, where all threads come by, before the first use of anything that an earlier dispatch of the same
// submission may have written. What comes before it, such as asking for weights, may happen while that is still at work, on a
// GPU that can.
//
// SETTLED(n) is a constant that says what a kernel need not do. A compiler that does not know it is to make no second way of
// everything for it; where it is put into the text later, what it decides is left out.
#ifndef __CUDACC__
#define AFTER_EARLIER
#define SETTLED(n) (n)
#endif

// Activations and normalisations by the numbers of package kern.
constant uint ACT_GELU = 1, ACT_RELU = 2;
constant uint NORM_NONE = 0, NORM_LAYER = 1;

// Weights of 8 and 4 bits lie in panels of eight rows (metalkern's matrix.go): group by group the eight rows' bytes, and four
// groups at a time their scales. A row of pitch bytes, size of them a group's, begins at row_in_panels, its scales at
// scales_in_panels; its next group lies 8·size bytes on, and its scale of group g at scale_in_panels(g).
static inline ulong row_in_panels(uint row, uint pitch, uint size) { return ulong(row / 8) * (8 * pitch) + row % 8 * size; }
static inline ulong scales_in_panels(uint row, uint groups) { return ulong(row / 8) * (8 * groups) + row % 8 * 4; }
static inline uint scale_in_panels(uint g) { return g / 4 * 32 + g % 4; }

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

// power is 2^x; what is below the smallest normal number may be 0.
#ifndef MK_POWER
static inline float power(float x) { return exp2(x); }
#endif

// Elements k…k+3 of x, which has n; what lies behind is 0. With vector, x + k is at 16 bytes and n divisible by 4.
static inline float4 load4(device const float* x, uint k, uint n, uint vector) {
    if (vector != 0) return *reinterpret_cast<device const float4*>(x + k);
    float4 v = float4(0.0f);
    if (k < n) v.x = x[k];
    if (k + 1 < n) v.y = x[k + 1];
    if (k + 2 < n) v.z = x[k + 2];
    if (k + 3 < n) v.w = x[k + 3];
    return v;
}

// The mean (0 for RMS) and the reciprocal deviation of one row, by one simdgroup. Two passes, so that a row far from zero
// keeps its digits.
struct Moments { float mean; float scale; };

static inline Moments moments_of(float mean, float scale) {
    Moments m;
    m.mean = mean;
    m.scale = scale;
    return m;
}

static inline Moments row_moments(device const float* x, uint width, uint kind, float epsilon, uint vector, uint lane) {
    Moments m = moments_of(0.0f, 0.0f);
    if (kind == NORM_LAYER) {
        float sum = 0.0f;
        for (uint start = 4 * lane; start < width; start += 512) {
            float4 v[4]; // all four on their way before one is needed
            UNROLL for (uint u = 0; u < 4; u++) v[u] = start + 128 * u < width ? load4(x, start + 128 * u, width, vector) : float4(0.0f);
            UNROLL for (uint u = 0; u < 4; u++) sum += (v[u].x + v[u].y) + (v[u].z + v[u].w);
        }
        m.mean = simd_sum(sum) / float(width);
    }
    float squares = 0.0f;
    for (uint start = 4 * lane; start < width; start += 512) {
        float4 v[4];
        UNROLL for (uint u = 0; u < 4; u++) v[u] = start + 128 * u < width ? load4(x, start + 128 * u, width, vector) : float4(0.0f);
        UNROLL for (uint u = 0; u < 4; u++) {
            const uint k = start + 128 * u;
            const float d0 = k < width ? v[u].x - m.mean : 0.0f;
            const float d1 = k + 1 < width ? v[u].y - m.mean : 0.0f;
            const float d2 = k + 2 < width ? v[u].z - m.mean : 0.0f;
            const float d3 = k + 3 < width ? v[u].w - m.mean : 0.0f;
            squares = fma(d0, d0, squares);
            squares = fma(d1, d1, squares);
            squares = fma(d2, d2, squares);
            squares = fma(d3, d3, squares);
        }
    }
    m.scale = 1.0f / sqrt(simd_sum(squares) / float(width) + epsilon);
    return m;
}

// Four elements of a row after its normalisation, with its weight and, of a LayerNorm, its bias there.
static inline float4 normalise4(float4 v, Moments m, float4 weight, float4 bias) {
    return float4(fma((v.x - m.mean) * m.scale, weight.x, bias.x), fma((v.y - m.mean) * m.scale, weight.y, bias.y),
                  fma((v.z - m.mean) * m.scale, weight.z, bias.z), fma((v.w - m.mean) * m.scale, weight.w, bias.w));
}
