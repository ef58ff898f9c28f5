// Linear: dst[r] = act(norm(x[r])·Wᵀ + bias) + residual[r], in two ways, by the number of rows alone:
//
//	up to 48   linear_<weight>_<rows>x<outputs>: x is normalised into threadgroup memory, a chunk of inputs at a time; a
//	           simdgroup multiplies <rows> rows with <outputs> rows of W, each lane some inputs of every pass, and joins
//	more       linear_prepare_<number>, then linear_tile_<weight>: 64 rows by 64 outputs of 8×8 matrices
//
// W is as metalkern's matrix.go lays it out: rows at 16 bytes, filled up with zeros to whole groups of 32 inputs. A sum's
// order depends on K and the weight's kind, not on <rows> or <outputs>.

struct LinearArgs {
    uint rows; uint outputs; uint inputs;
    uint padded;              // inputs with the filling
    uint pitch;               // bytes of a row of W
    uint norm; float epsilon; // see common.metal
    uint act;
    uint vector;              // x and the norm's weights may be read four at a time
    uint bias; uint residual; // 0: absent
    uint parts;               // of a number of a tile's x: 1, or 2 halves
};

// Packets are what a lane reads of a row of W at once: 16 inputs of 4 or 8 bits, 8 of 16, 4 of 32.
struct PacketQ4 { uint2 words; float scale; };
struct PacketQ8 { uint4 words; float scale; };
struct PacketF16 { uint4 words; };
struct PacketF32 { float4 values; };

// packet reads inputs k… of the row of W that begins at row, whose scales begin at scales.
static inline PacketQ4 packet(PacketQ4 p, device const uchar* row, device const half* scales, uint k) {
    p.words = *reinterpret_cast<device const uint2*>(row + k / 2);
    p.scale = float(scales[k / 32]);
    return p;
}
static inline PacketQ8 packet(PacketQ8 p, device const uchar* row, device const half* scales, uint k) {
    p.words = *reinterpret_cast<device const uint4*>(row + k);
    p.scale = float(scales[k / 32]);
    return p;
}
static inline PacketF16 packet(PacketF16 p, device const uchar* row, device const half*, uint k) {
    p.words = *reinterpret_cast<device const uint4*>(row + 2 * k);
    return p;
}
static inline PacketF32 packet(PacketF32 p, device const uchar* row, device const half*, uint k) {
    p.values = *reinterpret_cast<device const float4*>(row + 4 * k);
    return p;
}

// Small integers become floats without a conversion: as the upper bits of the mantissa of a number in [1, 2).
static inline float between_one_and_two(uint mantissa) { return as_type<float>(0x3f800000u | mantissa); }

// The fours of a packet. Of 4 bits: 1 + (q+8)/16, times 16·scale, less 24·scale: exact, as is the same for 8 bits.
static inline float4 four(PacketQ4 p, uint i) {
    const uint w = p.words[i / 2] >> (16 * (i % 2));
    const float step = 16.0f * p.scale, shift = -24.0f * p.scale;
    return float4(fma(between_one_and_two((w & 15u) << 19), step, shift), fma(between_one_and_two((w & 0xf0u) << 15), step, shift),
                  fma(between_one_and_two((w & 0xf00u) << 11), step, shift), fma(between_one_and_two((w & 0xf000u) << 7), step, shift));
}
static inline float4 four(PacketQ8 p, uint i) {
    const uint w = p.words[i] ^ 0x80808080u;
    const float step = 256.0f * p.scale, shift = -384.0f * p.scale;
    return float4(fma(between_one_and_two((w & 0xffu) << 15), step, shift), fma(between_one_and_two((w & 0xff00u) << 7), step, shift),
                  fma(between_one_and_two((w >> 1) & 0x7f8000u), step, shift), fma(between_one_and_two((w >> 9) & 0x7f8000u), step, shift));
}
static inline float4 four(PacketF16 p, uint i) {
    const half2 a = as_type<half2>(p.words[2 * i]), b = as_type<half2>(p.words[2 * i + 1]);
    return float4(float(a.x), float(a.y), float(b.x), float(b.y));
}
static inline float4 four(PacketF32 p, uint) { return p.values; }

#define LINEAR_STAGED 1024 // float4 of threadgroup memory for x

// Where in a chunk the four inputs from 4·j on lie, so that lanes that read V inputs apart meet in no memory bank.
template <uint V> static inline uint place(uint j) { return j ^ ((j >> 3) & (V / 4 - 1)); }

// fetch reads inputs k…k+3 of the rows from first on, zeros behind the last, and of the norm's weights.
template <uint ROWS>
static inline void fetch(
    constant LinearArgs& a, device const float* x, device const float* weight, device const float* shift, uint first, uint rows,
    uint k, thread float4* v, thread float4& g, thread float4& b)
{
    UNROLL for (uint r = 0; r < ROWS; r++)
        v[r] = k < a.inputs ? load4(x + ulong(first + min(r, rows - 1)) * a.inputs, k, a.inputs, a.vector) : float4(0.0f);
    if (a.norm != NORM_NONE && k < a.inputs) {
        g = load4(weight, k, a.inputs, a.vector);
        if (a.norm == NORM_LAYER) b = load4(shift, k, a.inputs, a.vector);
    }
}

template <class P, uint V, uint ROWS, uint OUT>
static inline void linear_rows(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const float* x, device const float* weight,
    device const float* shift, device const float* bias, device const float* residual, device float* dst,
    threadgroup float4* staged, threadgroup float2* moments, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    const uint PASS = 32 * V, ROOM = 4 * LINEAR_STAGED / ROWS, PASSES = ROOM / PASS;
    const uint DEPTH = PASSES < 8 / OUT ? PASSES : 8 / OUT; // packets under way for each output
    // Threadgroups of the same outputs come one after the other, so that only the first reads W from memory.
    const uint first = group.x * ROWS;
    const uint rows = min(ROWS, a.rows - first);
    const uint output = (group.y * simds + simd) * OUT;

    // The weights do not wait for x.
    device const uchar* row[OUT];
    device const half* scale[OUT];
    P packets[8][OUT]; // of which DEPTH are used: a loop over d < 2 is one that some compilers leave rolled
    float sums[OUT][ROWS];
    UNROLL for (uint o = 0; o < OUT; o++) {
        const ulong n = min(output + o, a.outputs - 1);
        row[o] = w + n * a.pitch;
        scale[o] = scales + n * (a.padded / 32);
        UNROLL for (uint r = 0; r < ROWS; r++) sums[o][r] = 0.0f;
    }
    UNROLL for (uint d = 0; d < 8; d++) {
        const uint k = d * PASS + lane * V;
        UNROLL for (uint o = 0; o < OUT; o++) if (d < DEPTH && k < a.padded) packets[d][o] = packet(P(), row[o], scale[o], k);
    }
    AFTER_EARLIER;

    // Nor does what this thread stages first wait for the norm, while rows are few enough to be held.
    const bool hold = ROWS <= 2;
    float4 v[ROWS], g = float4(1.0f), b = float4(0.0f);
    if (hold) fetch<ROWS>(a, x, weight, shift, first, rows, 4 * thread_index, v, g, b);

    // Nor what this lane adds in the end: lane o·ROWS + r finishes output o of row r.
    const uint n = output + lane / ROWS, r = lane % ROWS;
    const bool mine = lane < OUT * ROWS && r < rows && n < a.outputs;
    const ulong at = ulong(first + r) * a.outputs + n;
    const float offset = mine && a.bias != 0 ? bias[n] : 0.0f;
    const float before = mine && a.residual != 0 ? residual[at] : 0.0f;

    if (a.norm != NORM_NONE) {
        for (uint i = simd; i < rows; i += simds) {
            const Moments m = row_moments(x + ulong(first + i) * a.inputs, a.inputs, a.norm, a.epsilon, a.vector, lane);
            if (lane == 0) moments[i] = float2(m.mean, m.scale);
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    for (uint base = 0; base < a.padded; base += ROOM) {
        const uint length = min(ROOM, a.padded - base);
        if (base > 0) threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint j = thread_index; j < length / 4; j += simds * 32) {
            const uint k = base + 4 * j;
            if (!hold || k != 4 * thread_index) fetch<ROWS>(a, x, weight, shift, first, rows, k, v, g, b);
            UNROLL for (uint i = 0; i < ROWS; i++) {
                if (a.norm != NORM_NONE && k < a.inputs) {
                    const float2 m = moments[min(i, rows - 1)];
                    v[i] = normalise4(v[i], moments_of(m.x, m.y), g, b);
                }
                staged[i * (ROOM / 4) + place<V>(j)] = v[i];
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint start = 0; start < length; start += DEPTH * PASS) {
            UNROLL for (uint d = 0; d < 8; d++) {
                if (d >= DEPTH) break;
                const uint k = start + d * PASS + lane * V;
                if (k < length) {
                    UNROLL for (uint i = 0; i < V / 4; i++) {
                        float4 c[OUT];
                        UNROLL for (uint o = 0; o < OUT; o++) c[o] = four(packets[d][o], i);
                        UNROLL for (uint y = 0; y < ROWS; y++) {
                            const float4 in = staged[y * (ROOM / 4) + place<V>(k / 4 + i)];
                            UNROLL for (uint o = 0; o < OUT; o++)
                                sums[o][y] = fma(c[o].w, in.w, fma(c[o].z, in.z, fma(c[o].y, in.y, fma(c[o].x, in.x, sums[o][y]))));
                        }
                    }
                }
                const uint next = base + k + DEPTH * PASS;
                UNROLL for (uint o = 0; o < OUT; o++) if (next < a.padded) packets[d][o] = packet(P(), row[o], scale[o], next);
            }
        }
    }

    float result = 0.0f;
    UNROLL for (uint o = 0; o < OUT; o++) {
        UNROLL for (uint i = 0; i < ROWS; i++) {
            const float sum = simd_sum(sums[o][i]);
            if (lane == o * ROWS + i) result = sum;
        }
    }
    if (mine) dst[at] = activate(result + offset, a.act) + before;
}

#define LINEAR(name, P, V, ROWS, OUT) \
    kernel void linear_##name##_##ROWS##x##OUT( \
        constant LinearArgs& a [[buffer(0)]], \
        device const uchar* w [[buffer(1)]], \
        device const half* scales [[buffer(2)]], \
        device const float* x [[buffer(3)]], \
        device const float* weight [[buffer(4)]], \
        device const float* shift [[buffer(5)]], \
        device const float* bias [[buffer(6)]], \
        device const float* residual [[buffer(7)]], \
        device float* dst [[buffer(8)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint thread_index [[thread_index_in_threadgroup]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        TG_ARRAY(float4, staged, LINEAR_STAGED); \
        TG_ARRAY(float2, moments, 8); \
        linear_rows<P, V, ROWS, OUT>(a, w, scales, x, weight, shift, bias, residual, dst, staged, moments, group, thread_index, \
                                     simd, simds, lane); \
    }

// One output a simdgroup where a weight has few, so that all cores have some; four where it has many, for fewer reads of x.
#define LINEAR_ALL(name, P, V) \
    LINEAR(name, P, V, 1, 1) LINEAR(name, P, V, 1, 2) LINEAR(name, P, V, 1, 4) \
    LINEAR(name, P, V, 2, 1) LINEAR(name, P, V, 2, 2) LINEAR(name, P, V, 2, 4) \
    LINEAR(name, P, V, 4, 2) LINEAR(name, P, V, 4, 4) \
    LINEAR(name, P, V, 8, 4)

LINEAR_ALL(f32, PacketF32, 4)
LINEAR_ALL(f16, PacketF16, 8)
LINEAR_ALL(q8, PacketQ8, 16)
LINEAR_ALL(q4, PacketQ4, 16)

// linear_prepare: the rows of x, normalised, in the number that tiles multiply, filled up with zeros. Halves are scaled by a
// power of two to a largest magnitude in [2¹⁴, 2¹⁵), so that no input is too large or too small for them; unscale undoes it.
// Beside weights that are exact in halves what the first half rounds away follows in a second, after all rows' first; beside
// coarser weights it would be nothing. One simdgroup per row.
static inline float unit(half) { return 1.0f; }
static inline float unit(float) { return 0.0f; }

template <class T>
static inline void prepare(
    constant LinearArgs& a, device const float* x, device const float* weight, device const float* shift, device T* dst,
    device float* unscale, uint row, uint lane)
{
    if (row >= a.rows) return;
    device const float* from = x + ulong(row) * a.inputs;
    Moments m = moments_of(0.0f, 1.0f);
    if (a.norm != NORM_NONE) m = row_moments(from, a.inputs, a.norm, a.epsilon, a.vector, lane);
    float scale = 1.0f;
    for (uint pass = unit(T(0.0f)) > 0.0f ? 0 : 1; pass < 2; pass++) {
        float largest = 0.0f;
        for (uint k = 4 * lane; k < a.padded; k += 128) {
            float4 v = float4(0.0f);
            if (k < a.inputs) {
                v = load4(from, k, a.inputs, a.vector);
                const float4 b = a.norm == NORM_LAYER ? load4(shift, k, a.inputs, a.vector) : float4(0.0f);
                if (a.norm != NORM_NONE) v = normalise4(v, m, load4(weight, k, a.inputs, a.vector), b);
            }
            if (pass == 0) {
                largest = max(max(largest, max(fabs(v.x), fabs(v.y))), max(fabs(v.z), fabs(v.w)));
                continue;
            }
            UNROLL for (uint i = 0; i < 4; i++) {
                const float wanted = v[i] * scale;
                const T most = T(wanted);
                dst[ulong(row) * a.padded + k + i] = most;
                if (a.parts == 2) dst[(ulong(a.rows) + row) * a.padded + k + i] = T(wanted - float(most));
            }
        }
        if (pass == 0) {
            const uint exponent = clamp((as_type<uint>(simd_max(largest)) >> 23) & 255u, 16u, 254u);
            scale = as_type<float>((268u - exponent) << 23);
            if (lane == 0) unscale[row] = as_type<float>((exponent - 14u) << 23);
        }
    }
}

#define LINEAR_PREPARE(T) \
    kernel void linear_prepare_##T( \
        constant LinearArgs& a [[buffer(0)]], \
        device const float* x [[buffer(1)]], \
        device const float* weight [[buffer(2)]], \
        device const float* shift [[buffer(3)]], \
        device T* dst [[buffer(4)]], \
        device float* unscale [[buffer(5)]], \
        uint group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        prepare<T>(a, x, weight, shift, dst, unscale, group * simds + simd, lane); \
    }
LINEAR_PREPARE(half)
LINEAR_PREPARE(float)

#define TILE 64        // rows and outputs of a threadgroup; a simdgroup has a quarter, 32 by 32
#define TILE_INPUTS 32 // of a step
#define TILE_STRIDE 40 // numbers of a row in threadgroup memory: eight rows of eight meet in no memory bank

// A quarter is 32 rows by 32 outputs in a simdgroup's registers. Where a GPU's matrices are of another shape than Metal's 8×8,
// what stands before this text may bring a quarter of its own for halves; it adds the same products.
struct Quarter { simdgroup_matrix<float, 8, 8> sums[4][4]; };

static inline void clear(thread Quarter& q) {
    UNROLL for (uint i = 0; i < 4; i++) {
        UNROLL for (uint j = 0; j < 4; j++) q.sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
}

// multiply adds the products of a step: 32 rows from x on with 32 rows from w on, TILE_INPUTS of each.
template <class T> static inline void multiply(thread Quarter& q, threadgroup const T* x, threadgroup const T* w, uint stride) {
    UNROLL for (uint k = 0; k < TILE_INPUTS; k += 8) {
        simdgroup_matrix<T, 8, 8> left[4], right[4];
        UNROLL for (uint i = 0; i < 4; i++) simdgroup_load(left[i], x + 8 * i * stride + k, stride);
        UNROLL for (uint j = 0; j < 4; j++) simdgroup_load(right[j], w + 8 * j * stride + k, stride, ulong2(0, 0), true);
        UNROLL for (uint i = 0; i < 4; i++) {
            UNROLL for (uint j = 0; j < 4; j++) simdgroup_multiply_accumulate(q.sums[i][j], left[i], right[j], q.sums[i][j]);
        }
    }
}

// strip puts rows 8·i… of a quarter at to, 32 numbers each.
static inline void strip(thread Quarter& q, uint i, threadgroup float* to) {
    UNROLL for (uint j = 0; j < 4; j++) simdgroup_store(q.sums[i][j], to + 8 * j, 32);
}

#ifdef MK_QUARTER_HALF
#define QUARTER_half QuarterHalf
#else
#define QUARTER_half Quarter
#endif
#define QUARTER_float Quarter

// finish writes 8 rows from y on of 32 outputs, of which a lane has output n, out of threadgroup memory.
static inline void finish(
    constant LinearArgs& a, threadgroup const float* strip, bool there, uint y, uint n, bool scaled, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, uint lane)
{
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint r = 0; r < 8; r++) {
        if (there && y + r < a.rows && n < a.outputs) {
            float v = strip[r * 32 + lane];
            if (scaled) v *= unscale[y + r];
            if (a.bias != 0) v += bias[n];
            v = activate(v, a.act);
            const ulong at = ulong(y + r) * a.outputs + n;
            if (a.residual != 0) v += residual[at];
            dst[at] = v;
        }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

// put writes the inputs of a packet to threadgroup memory.
template <class T, class P, uint V> static inline void put(threadgroup T* to, P p) {
    UNROLL for (uint i = 0; i < V / 4; i++) {
        const float4 c = four(p, i);
        to[4 * i] = T(c.x);
        to[4 * i + 1] = T(c.y);
        to[4 * i + 2] = T(c.z);
        to[4 * i + 3] = T(c.w);
    }
}

// x_at is where the e-th 16 bytes of a step of x, X numbers, come from; place_x is where they go. Parts come one after the
// other, rows in each.
template <uint X> static inline ulong x_at(constant LinearArgs& a, uint first, uint e, uint k) {
    const uint of_row = TILE_INPUTS / X, part = e / (TILE * of_row), row = e / of_row % TILE;
    return (ulong(part) * a.rows + min(first + row, a.rows - 1)) * a.padded + k + e % of_row * X;
}
template <uint X> static inline uint place_x(uint e) { return e / (TILE_INPUTS / X) * TILE_STRIDE + e % (TILE_INPUTS / X) * X; }

// The same of a packet of V inputs of w.
template <class P, uint V>
static inline P packet_at(constant LinearArgs& a, device const uchar* w, device const half* scales, uint output, uint e, uint k) {
    const ulong n = min(output + e / (TILE_INPUTS / V), a.outputs - 1);
    return packet(P(), w + n * a.pitch, scales + n * (a.padded / 32), k + e % (TILE_INPUTS / V) * V);
}
template <uint V> static inline uint place_w(uint e) { return e / (TILE_INPUTS / V) * TILE_STRIDE + e % (TILE_INPUTS / V) * V; }

// With all 128 threads, each holds its share of the next step while matrices multiply this one.
template <class T, class Q, uint PARTS, uint X, class P, uint V>
static inline void linear_tile(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const T* x, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, threadgroup T* xs, threadgroup T* ws,
    threadgroup float* out, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    const uint XS = PARTS * TILE * TILE_INPUTS / X, WS = TILE * TILE_INPUTS / V; // of a step
    const uint HELD_X = XS / 128, HELD_W = WS / 128;
    const uint first = group.y * TILE, output = group.x * TILE, threads = simds * 32;
    for (uint round = 0; round < 4; round += simds) { // one, where the threadgroup has all four simdgroups
        const uint quarter = round + simd;
        const uint down = quarter / 2 % 2 * 32, right = quarter % 2 * 32;
        Q sums;
        clear(sums);
        uint4 held_x[HELD_X];
        P held_w[HELD_W];
        for (uint k = 0; k <= a.padded; k += TILE_INPUTS) {
            if (k > 0) { // place what is held, and what could not be
                UNROLL for (uint i = 0; i < HELD_X; i++)
                    *reinterpret_cast<threadgroup uint4*>(xs + place_x<X>(thread_index + i * threads)) = held_x[i];
                UNROLL for (uint i = 0; i < HELD_W; i++) put<T, P, V>(ws + place_w<V>(thread_index + i * threads), held_w[i]);
                for (uint e = thread_index + HELD_X * threads; e < XS; e += threads)
                    *reinterpret_cast<threadgroup uint4*>(xs + place_x<X>(e)) =
                        *reinterpret_cast<device const uint4*>(x + x_at<X>(a, first, e, k - TILE_INPUTS));
                for (uint e = thread_index + HELD_W * threads; e < WS; e += threads)
                    put<T, P, V>(ws + place_w<V>(e), packet_at<P, V>(a, w, scales, output, e, k - TILE_INPUTS));
                threadgroup_barrier(mem_flags::mem_threadgroup);
            }
            if (k < a.padded) { // fetch the next
                UNROLL for (uint i = 0; i < HELD_X; i++)
                    held_x[i] = *reinterpret_cast<device const uint4*>(x + x_at<X>(a, first, thread_index + i * threads, k));
                UNROLL for (uint i = 0; i < HELD_W; i++)
                    held_w[i] = packet_at<P, V>(a, w, scales, output, thread_index + i * threads, k);
            }
            if (k > 0) {
                UNROLL for (uint part = 0; part < PARTS; part++)
                    multiply(sums, xs + (part * TILE + down) * TILE_STRIDE, ws + right * TILE_STRIDE, TILE_STRIDE);
                threadgroup_barrier(mem_flags::mem_threadgroup);
            }
        }
        const bool there = quarter < 4, scaled = unit(T(0.0f)) > 0.0f;
        threadgroup float* mine = out + simd * 256; // 8 rows of 32 outputs
        const uint y = first + down, n = output + right + lane;
        strip(sums, 0, mine);
        finish(a, mine, there, y, n, scaled, unscale, bias, residual, dst, lane);
        strip(sums, 1, mine);
        finish(a, mine, there, y + 8, n, scaled, unscale, bias, residual, dst, lane);
        strip(sums, 2, mine);
        finish(a, mine, there, y + 16, n, scaled, unscale, bias, residual, dst, lane);
        strip(sums, 3, mine);
        finish(a, mine, there, y + 24, n, scaled, unscale, bias, residual, dst, lane);
    }
}

#define LINEAR_TILE(name, T, PARTS, X, P, V) \
    kernel void linear_tile_##name( \
        constant LinearArgs& a [[buffer(0)]], \
        device const uchar* w [[buffer(1)]], \
        device const half* scales [[buffer(2)]], \
        device const T* x [[buffer(3)]], \
        device const float* unscale [[buffer(4)]], \
        device const float* bias [[buffer(5)]], \
        device const float* residual [[buffer(6)]], \
        device float* dst [[buffer(7)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint thread_index [[thread_index_in_threadgroup]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        TG_ARRAY(uint4, xs, PARTS * TILE * TILE_STRIDE / X); \
        TG_ARRAY(uint4, ws, TILE * TILE_STRIDE / X); \
        TG_ARRAY(float, out, 4 * 256); \
        linear_tile<T, QUARTER_##T, PARTS, X, P, V>( \
            a, w, scales, x, unscale, bias, residual, dst, reinterpret_cast<threadgroup T*>(xs), \
            reinterpret_cast<threadgroup T*>(ws), out, group, thread_index, simd, simds, lane); \
    }
LINEAR_TILE(f32, float, 1, 4, PacketF32, 4)
LINEAR_TILE(f16, half, 2, 8, PacketF16, 8)
LINEAR_TILE(q8, half, 1, 8, PacketQ8, 16)
LINEAR_TILE(q4, half, 1, 8, PacketQ4, 16)
