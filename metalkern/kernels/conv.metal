// Conv and ConvTranspose, one matrix product over rows that overlap in memory:
//
//   y[m, n] = Σ_k x^[m, k] · w[k, n] + bias[channel of n] + residual[m, n],   k = tap·channels + channel
//
// Row m of x^ is `taps` frames of f(X), `dilation` apart, from frame first + m·stride on; what lies outside X is zero or
// mirrored. Nothing is copied: padding and ELU happen as frames are read, and 64 columns of output share one reading.
//
// A transposed convolution is the same product with stride 1. Row m of y is then `phases` neighbouring output frames, its
// columns n = phase·pitch + channel, and its taps are those that one phase hears, latest frame last. What is trimmed off
// either end falls outside [trim, trim + limit) and is not written.
//
// The weight is [kernel, channels, pitch], pitch the outputs rounded up to whole vectors. The sum of an element runs over k
// from 0 upwards in float, whatever the tile: a signal computed in parts has the same bits as the whole.
//
// Plain float arithmetic, not matrix units: one maker's round their operands to 10 bits, which changes the codes of a
// prompt, and on the other's the codec is a few percent of a request.

struct ConvArgs {
    uint rows;      // m: output frames, or frames of one phase
    uint phases;    // 1, or the stride of a transposed convolution
    uint outputs;   // channels of y
    uint pitch;
    uint kernelTaps;
    uint taps;      // that one phase hears: all, unless transposed
    int  tapFirst; // tap of w that is heard first by phase 0; phase p begins p later
    int  tapStep;  // to the next
    uint channels;  // of X
    uint frames;    // of X
    int  first;     // frame of X that the first tap of row 0 sees
    uint stride;
    uint dilation;
    uint mirror;    // frames of X and of the zeros after it that a reflection sees; 0: pad with zeros
    uint elu;
    uint residual;  // 0: none
    uint trim;      // elements at the beginning of y that are not in Dst
    uint limit;     // elements of Dst
    uint y4;        // four channels of Dst and residual are
};

// FOR_ALL is a loop that must be unrolled: its arrays are registers only then.
#define FOR_ALL _Pragma("clang loop unroll(full)") for

#define CONV_DEPTH 16 // k of one step
#define CONV_PITCH 5  // float4 between rows of x^ in a tile: a fifth keeps readers apart in the banks

// A ConvPlace is a place along k.
struct ConvPlace { uint tap; uint channel; };

static inline ConvPlace conv_on(ConvPlace p, uint k, uint channels) {
    p.channel += k;
    while (p.channel >= channels) { p.channel -= channels; p.tap++; }
    return p;
}

// f is ELU or nothing. Of a zero it makes a zero, so that padding may come before it.
static inline float conv_elu(float x) {
    const float low = exp(min(x, 0.0f)) - 1.0f; // for every x, so that threads do not part ways
    return x > 0.0f ? x : low;
}

static inline float conv_f(constant ConvArgs& a, float x) { return a.elu != 0 ? conv_elu(x) : x; }

static inline float4 conv_add(float4 w, float x, float4 sum) {
    return float4(fma(w.x, x, sum.x), fma(w.y, x, sum.y), fma(w.z, x, sum.z), fma(w.w, x, sum.w));
}

// conv_frame is the frame of X that a row sees through a tap, or -1 for a zero.
static inline int conv_frame(constant ConvArgs& a, uint row, uint tap) {
    if (tap >= a.taps) return -1;
    int frame = a.first + int(row * a.stride + tap * a.dilation);
    if (a.mirror != 0) {
        if (frame < 0) frame = -frame;
        if (frame >= int(a.mirror)) frame = 2 * (int(a.mirror) - 1) - frame;
    }
    return frame >= 0 && frame < int(a.frames) ? frame : -1;
}

// conv_x is X of a row at one k, before f.
static inline float conv_x(constant ConvArgs& a, device const float* x, uint row, ConvPlace p) {
    const int frame = conv_frame(a, row, p.tap);
    return frame < 0 ? 0.0f : x[uint(frame) * a.channels + p.channel];
}

// conv_x4 is X of a row at four k; with VECTORS they are an aligned vector of one frame.
template <bool VECTORS>
static inline float4 conv_x4(constant ConvArgs& a, device const float* x, uint row, ConvPlace p) {
    float4 v = float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (VECTORS) {
        const int frame = conv_frame(a, row, p.tap);
        if (frame >= 0) v = *reinterpret_cast<device const float4*>(x + uint(frame) * a.channels + p.channel);
    } else {
        FOR_ALL (uint e = 0; e < 4; e++) v[e] = conv_x(a, x, row, conv_on(p, e, a.channels));
    }
    return v;
}

static inline float4 conv_f4(constant ConvArgs& a, float4 v) {
    return a.elu != 0 ? float4(conv_elu(v.x), conv_elu(v.y), conv_elu(v.z), conv_elu(v.w)) : v;
}

// conv_w is the row of w that a phase hears at one k, or -1 where there is none.
static inline int conv_w(constant ConvArgs& a, uint phase, ConvPlace p) {
    const int tap = a.tapFirst + int(phase) + int(p.tap) * a.tapStep;
    return p.tap < a.taps && tap >= 0 && tap < int(a.kernelTaps) ? tap * int(a.channels) + int(p.channel) : -1;
}

// conv_put adds bias and residual to a sum and writes it, unless it is trimmed away. The residual may be y itself.
static inline void conv_put(constant ConvArgs& a, device const float* bias, device const float* residual, device float* y,
                            uint row, uint phase, uint channel, float sum) {
    const uint at = (row * a.phases + phase) * a.outputs + channel - a.trim;
    if (channel >= a.outputs || at >= a.limit) return; // before trim, `at` wraps around to beyond limit
    float v = sum + bias[channel];
    if (a.residual != 0) v += residual[at];
    y[at] = v;
}

// conv_put4 is conv_put of four channels.
static inline void conv_put4(constant ConvArgs& a, device const float* bias, device const float* residual, device float* y,
                             uint row, uint phase, uint channel, float4 sum) {
    if (a.y4 == 0) {
        FOR_ALL (uint e = 0; e < 4; e++) conv_put(a, bias, residual, y, row, phase, channel + e, sum[e]);
        return;
    }
    const uint at = (row * a.phases + phase) * a.outputs + channel - a.trim;
    if (at >= a.limit) return;
    float4 v = sum + float4(bias[channel], bias[channel + 1], bias[channel + 2], bias[channel + 3]);
    if (a.residual != 0) v += *reinterpret_cast<device const float4*>(residual + at);
    *reinterpret_cast<device float4*>(y + at) = v;
}

// conv_tile computes 8·ROWS rows by 4·COLS columns with ROWS·COLS threads. A thread owns rows r, r+ROWS, … (8) of four
// columns; while it works on one step of k from threadgroup memory, its share of the next is on its way to registers, where
// nothing may look at it before: f waits until it moves on.
// xs holds two times 8·ROWS·CONV_PITCH, ws two times CONV_DEPTH·COLS vectors.
template <uint ROWS, uint COLS, bool VECTORS>
static inline void conv_tile(constant ConvArgs& a, device const float* x, device const float* w, device const float* bias,
                             device const float* residual, device float* y, threadgroup float4* xs, threadgroup float4* ws,
                             uint2 group, uint index) {
    const uint xLoads = 32 / COLS, wLoads = CONV_DEPTH / ROWS;
    const uint row0 = group.x * 8 * ROWS;
    const uint r = index / COLS, c = index % COLS;                         // of the result, and of w to load
    const uint xr = index / 4, xk = index % 4;                             // of x^ to load: row, quarter of a step
    const uint column = (group.y * COLS + c) * 4, phase = column / a.pitch, channel = column % a.pitch;
    const uint steps = (a.taps * a.channels + CONV_DEPTH - 1) / CONV_DEPTH;

    float4 sums[8];
    float4 nextX[xLoads];
    float4 nextW[wLoads];
    FOR_ALL (uint i = 0; i < 8; i++) sums[i] = float4(0.0f, 0.0f, 0.0f, 0.0f);
    ConvPlace start;
    start.tap = 0;
    start.channel = 0;
    ConvPlace xPlace = conv_on(start, 4 * xk, a.channels), wPlace = conv_on(start, r, a.channels);

    for (uint step = 0; step <= steps; step++) {
        if (step < steps) {
            FOR_ALL (uint i = 0; i < xLoads; i++) {
                nextX[i] = conv_x4<VECTORS>(a, x, min(row0 + xr + i * (ROWS * COLS / 4), a.rows - 1), xPlace);
            }
            FOR_ALL (uint i = 0; i < wLoads; i++) {
                const int k = phase < a.phases ? conv_w(a, phase, conv_on(wPlace, i * ROWS, a.channels)) : -1;
                nextW[i] = float4(0.0f, 0.0f, 0.0f, 0.0f);
                if (k >= 0) nextW[i] = *reinterpret_cast<device const float4*>(w + uint(k) * a.pitch + channel);
            }
            xPlace = conv_on(xPlace, CONV_DEPTH, a.channels);
            wPlace = conv_on(wPlace, CONV_DEPTH, a.channels);
        }
        if (step > 0) {
            threadgroup const float4* xt = xs + ((step - 1) % 2) * (8 * ROWS * CONV_PITCH) + r * CONV_PITCH;
            threadgroup const float4* wt = ws + ((step - 1) % 2) * (CONV_DEPTH * COLS) + c;
            FOR_ALL (uint k = 0; k < CONV_DEPTH / 4; k++) {
                float4 v[8];
                FOR_ALL (uint i = 0; i < 8; i++) v[i] = xt[i * (ROWS * CONV_PITCH) + k];
                const float4 w0 = wt[(4 * k) * COLS], w1 = wt[(4 * k + 1) * COLS];
                const float4 w2 = wt[(4 * k + 2) * COLS], w3 = wt[(4 * k + 3) * COLS];
                FOR_ALL (uint i = 0; i < 8; i++) sums[i] = conv_add(w0, v[i].x, sums[i]);
                FOR_ALL (uint i = 0; i < 8; i++) sums[i] = conv_add(w1, v[i].y, sums[i]);
                FOR_ALL (uint i = 0; i < 8; i++) sums[i] = conv_add(w2, v[i].z, sums[i]);
                FOR_ALL (uint i = 0; i < 8; i++) sums[i] = conv_add(w3, v[i].w, sums[i]);
            }
        }
        if (step < steps) {
            // This half was last read a step ago, before the barrier that ended it.
            threadgroup float4* xt = xs + (step % 2) * (8 * ROWS * CONV_PITCH);
            threadgroup float4* wt = ws + (step % 2) * (CONV_DEPTH * COLS);
            FOR_ALL (uint i = 0; i < xLoads; i++) xt[(xr + i * (ROWS * COLS / 4)) * CONV_PITCH + xk] = conv_f4(a, nextX[i]);
            FOR_ALL (uint i = 0; i < wLoads; i++) wt[(r + i * ROWS) * COLS + c] = nextW[i];
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    FOR_ALL (uint i = 0; i < 8; i++) {
        const uint row = row0 + r + i * ROWS;
        if (row < a.rows && phase < a.phases) conv_put4(a, bias, residual, y, row, phase, channel, sums[i]);
    }
}

// The tiles, named by rows × columns. Each has as many threads as is written there; a device that allows fewer takes a
// smaller one. Channels of X come four at a time, but in conv_odd.

kernel void conv_64x64(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint  index [[thread_index_in_threadgroup]])
{
    TG_ARRAY(float4, xs, 2 * 64 * CONV_PITCH);
    TG_ARRAY(float4, ws, 2 * CONV_DEPTH * 16);
    conv_tile<8, 16, true>(a, x, w, bias, residual, y, xs, ws, group, index); // 128 threads
}

kernel void conv_32x64(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint  index [[thread_index_in_threadgroup]])
{
    TG_ARRAY(float4, xs, 2 * 32 * CONV_PITCH);
    TG_ARRAY(float4, ws, 2 * CONV_DEPTH * 16);
    conv_tile<4, 16, true>(a, x, w, bias, residual, y, xs, ws, group, index); // 64 threads
}

kernel void conv_128x32(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint  index [[thread_index_in_threadgroup]])
{
    TG_ARRAY(float4, xs, 2 * 128 * CONV_PITCH);
    TG_ARRAY(float4, ws, 2 * CONV_DEPTH * 8);
    conv_tile<16, 8, true>(a, x, w, bias, residual, y, xs, ws, group, index); // 128 threads
}

kernel void conv_32x32(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint  index [[thread_index_in_threadgroup]])
{
    TG_ARRAY(float4, xs, 2 * 32 * CONV_PITCH);
    TG_ARRAY(float4, ws, 2 * CONV_DEPTH * 8);
    conv_tile<4, 8, true>(a, x, w, bias, residual, y, xs, ws, group, index); // 32 threads
}

kernel void conv_odd(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]],
    uint  index [[thread_index_in_threadgroup]])
{
    TG_ARRAY(float4, xs, 2 * 32 * CONV_PITCH);
    TG_ARRAY(float4, ws, 2 * CONV_DEPTH * 8);
    conv_tile<4, 8, false>(a, x, w, bias, residual, y, xs, ws, group, index); // 32 threads
}

// conv_thin: few columns, as the last layer's one; a simdgroup per element, its lanes side by side along k.
kernel void conv_thin(
    constant ConvArgs&   a        [[buffer(0)]],
    device const float*  x        [[buffer(1)]],
    device const float*  w        [[buffer(2)]],
    device const float*  bias     [[buffer(3)]],
    device const float*  residual [[buffer(4)]],
    device float*        y        [[buffer(5)]],
    uint group     [[threadgroup_position_in_grid]],
    uint lane      [[thread_index_in_simdgroup]],
    uint simd      [[simdgroup_index_in_threadgroup]],
    uint simds     [[simdgroups_per_threadgroup]])
{
    const uint element = group * simds + simd, columns = a.phases * a.outputs;
    if (element >= a.rows * columns) return;
    const uint row = element / columns, phase = element % columns / a.outputs, channel = element % a.outputs;
    const uint depth = a.taps * a.channels;
    ConvPlace place;
    place.tap = 0;
    place.channel = 0;
    place = conv_on(place, lane, a.channels);
    float sum = 0.0f;
    for (uint k = lane; k < depth; k += 32) {
        const int at = conv_w(a, phase, place);
        if (at >= 0) sum = fma(conv_f(a, conv_x(a, x, row, place)), w[uint(at) * a.pitch + channel], sum);
        place = conv_on(place, 32, a.channels);
    }
    sum = simd_sum(sum);
    if (lane == 0) conv_put(a, bias, residual, y, row, phase, channel, sum);
}
