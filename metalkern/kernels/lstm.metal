// One step of an LSTM layer: a dispatch per step, with a barrier between.
//
//	g4 = Gates[t] + W_hh·h;  c = σ(f)·c + σ(i)·tanh(g);  h = σ(o)·tanh(c);  Dst[t] = h + Residual[t]
//
// A step needs the whole of the last one's h, and threadgroups of one dispatch cannot wait for each other; so either one
// threadgroup does all steps, with one core's share of the bandwidth for a weight of 4 to 16 MB (some 100 µs a step), or each
// step is a dispatch over all cores. That costs one launch (1.5 to 2.5 µs) for 3 µs or more of reading: a second launch for
// the gates would be another half, so the four rows of a unit stay in one threadgroup, which ends with its c and h.
// Constants apart, every step is the same dispatch: t selects rows inside the kernel, and one of two places for h.

struct LSTMArgs {
    uint  hidden;    // H
    uint  step;      // t
    uint  units;     // of one threadgroup
    uint  residual;  // 0: none
    uint  pitch;     // bytes of a row of W_hh
    uint  groups;    // of 32 inputs, of a row; state has as many floats three times
    uint  scales;    // of a row, with their filling
};

#define LSTM_UNITS 2 // of one threadgroup at most

// Exponents are bounded where the results are 0 or 1 to float's last bit, so that no compiler's infinity matters.
static inline float lstm_sigmoid(float x) { return 1.0f / (1.0f + exp(-clamp(x, -30.0f, 30.0f))); }
static inline float lstm_tanh(float x) { return 1.0f - 2.0f / (exp(clamp(2.0f * x, -30.0f, 30.0f)) + 1.0f); }

// A row of W_hh times h, a lane's share: rows are whole groups of 32, filled up with zeros, and so is h.
struct LSTMRow { device const uchar* w; device const half* scales; };
static inline LSTMRow lstm_plain(constant LSTMArgs& a, device const uchar* w, device const half* scales, uint row) {
    LSTMRow r;
    r.w = w + ulong(row) * a.pitch;
    r.scales = scales;
    return r;
}
static inline LSTMRow lstm_in_panels(constant LSTMArgs& a, device const uchar* w, device const half* scales, uint row, uint size) {
    LSTMRow r;
    r.w = w + row_in_panels(row, a.pitch, size);
    r.scales = scales + scales_in_panels(row, a.scales);
    return r;
}

static inline float lstm_dot4(float4 w, float4 h, float sum) {
    return fma(w.w, h.w, fma(w.z, h.z, fma(w.y, h.y, fma(w.x, h.x, sum))));
}

static inline float lstm_row_f32(constant LSTMArgs& a, device const uchar* w, device const half* scales, device const float4* h, uint row, uint lane) {
    const LSTMRow r = lstm_plain(a, w, scales, row);
    device const float4* of = reinterpret_cast<device const float4*>(r.w);
    float sum = 0.0f;
    for (uint i = lane; i < 8 * a.groups; i += 32) sum = lstm_dot4(of[i], h[i], sum);
    return sum;
}

static inline float lstm_row_f16(constant LSTMArgs& a, device const uchar* w, device const half* scales, device const float4* h, uint row, uint lane) {
    const LSTMRow r = lstm_plain(a, w, scales, row);
    device const half4* of = reinterpret_cast<device const half4*>(r.w);
    float sum = 0.0f;
    for (uint i = lane; i < 8 * a.groups; i += 32) sum = lstm_dot4(float4(of[i]), h[i], sum);
    return sum;
}

static inline float lstm_row_q8(constant LSTMArgs& a, device const uchar* w, device const half* scales, device const float4* h, uint row, uint lane) {
    const LSTMRow r = lstm_in_panels(a, w, scales, row, 32);
    device const uint* of = reinterpret_cast<device const uint*>(r.w);
    float sum = 0.0f;
    for (uint i = lane; i < 8 * a.groups; i += 32) {
        const uint q = of[i / 8 * 64 + i % 8];
        const float4 v = float4(float(int(q << 24) >> 24), float(int(q << 16) >> 24), float(int(q << 8) >> 24), float(int(q) >> 24));
        sum = fma(float(r.scales[scale_in_panels(i / 8)]), lstm_dot4(v, h[i], 0.0f), sum);
    }
    return sum;
}

static inline float lstm_row_q4(constant LSTMArgs& a, device const uchar* w, device const half* scales, device const float4* h, uint row, uint lane) {
    const LSTMRow r = lstm_in_panels(a, w, scales, row, 16);
    device const uint* of = reinterpret_cast<device const uint*>(r.w);
    float sum = 0.0f;
    for (uint i = lane; i < 4 * a.groups; i += 32) {
        const uint q = of[i / 4 * 32 + i % 4];
        const float4 v = float4(float(q & 15), float((q >> 4) & 15), float((q >> 8) & 15), float((q >> 12) & 15));
        const float4 u = float4(float((q >> 16) & 15), float((q >> 20) & 15), float((q >> 24) & 15), float(q >> 28));
        const float4 eight = float4(8.0f, 8.0f, 8.0f, 8.0f);
        sum = fma(float(r.scales[scale_in_panels(i / 4)]), lstm_dot4(u - eight, h[2 * i + 1], lstm_dot4(v - eight, h[2 * i], 0.0f)), sum);
    }
    return sum;
}

// An LSTMUnit is what a unit's thread needs beside the sums; it is on its way while they are made.
struct LSTMUnit { float i; float f; float g; float o; float c; float residual; };

static inline LSTMUnit lstm_unit(constant LSTMArgs& a, device const float* gates, device const float* residual,
                                 device const float* state, uint unit) {
    device const float* g = gates + a.step * 4 * a.hidden + unit;
    LSTMUnit u;
    u.i = g[0];
    u.f = g[a.hidden];
    u.g = g[2 * a.hidden];
    u.o = g[3 * a.hidden];
    u.c = a.step > 0 ? state[unit] : 0.0f;
    u.residual = a.residual != 0 ? residual[a.step * a.hidden + unit] : 0.0f;
    return u;
}

// lstm_finish takes c, h and the result of a unit from its four sums.
static inline void lstm_finish(constant LSTMArgs& a, LSTMUnit u, threadgroup const float* sums, device float* dst,
                               device float* state, uint unit) {
    if (a.step > 0) {
        u.i += sums[0];
        u.f += sums[1];
        u.g += sums[2];
        u.o += sums[3];
    }
    const float c = fma(lstm_sigmoid(u.f), u.c, lstm_sigmoid(u.i) * lstm_tanh(u.g));
    const float h = lstm_sigmoid(u.o) * lstm_tanh(c);
    dst[a.step * a.hidden + unit] = h + u.residual;
    state[unit] = c;
    device float* next = state + (1 + a.step % 2) * 32 * a.groups;
    next[unit] = h;
    if (unit == a.hidden - 1) {
        for (uint i = a.hidden; i < 32 * a.groups; i++) next[i] = 0.0f;
    }
}

#define LSTM_KERNEL(NAME, ROW)                                                                                       \
kernel void NAME(                                                                                                    \
    constant LSTMArgs&   a        [[buffer(0)]],                                                                     \
    device const uchar*  w        [[buffer(1)]],                                                                     \
    device const half*   scales   [[buffer(2)]],                                                                     \
    device const float*  gates    [[buffer(3)]],                                                                     \
    device const float*  residual [[buffer(4)]],                                                                     \
    device float*        dst      [[buffer(5)]],                                                                     \
    device float*        state    [[buffer(6)]],                                                                     \
    uint group [[threadgroup_position_in_grid]],                                                                     \
    uint index [[thread_index_in_threadgroup]],                                                                      \
    uint lane  [[thread_index_in_simdgroup]],                                                                        \
    uint simd  [[simdgroup_index_in_threadgroup]],                                                                   \
    uint simds [[simdgroups_per_threadgroup]])                                                                       \
{                                                                                                                    \
    TG_ARRAY(float, sums, 4 * LSTM_UNITS);                                                                           \
    device const float4* h = reinterpret_cast<device const float4*>(state + (2 - a.step % 2) * 32 * a.groups);       \
    const uint unit = group * a.units + index;                                                                       \
    const bool finishes = index < a.units && unit < a.hidden;                                                        \
    LSTMUnit u;                                                                                                      \
    if (finishes) u = lstm_unit(a, gates, residual, state, unit);                                                    \
    for (uint i = simd; i < 4 * a.units && a.step > 0; i += simds) {                                                 \
        const uint row = (i % 4) * a.hidden + min(group * a.units + i / 4, a.hidden - 1);                            \
        const float sum = simd_sum(ROW(a, w, scales, h, row, lane));                                                \
        if (lane == 0) sums[i] = sum;                                                                                \
    }                                                                                                                \
    threadgroup_barrier(mem_flags::mem_threadgroup);                                                                 \
    if (finishes) lstm_finish(a, u, sums + 4 * index, dst, state, unit);                                             \
}

LSTM_KERNEL(lstm_f32, lstm_row_f32)
LSTM_KERNEL(lstm_f16, lstm_row_f16)
LSTM_KERNEL(lstm_q8, lstm_row_q8)
LSTM_KERNEL(lstm_q4, lstm_row_q4)
