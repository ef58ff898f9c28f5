// Linear: dst[r] = act(norm(x[r])·Wᵀ + bias) + residual[r], in two ways, by the number of rows alone:
//
//	up to 48   linear_<weight>_<rows>x<outputs>: a simdgroup multiplies <rows> rows with <outputs> rows of W, in a slice of
//	           their inputs, which all stay in registers; its threadgroup adds the slices
//	more       linear_prepare_<number>, then linear_tile_<weight>: 64 rows by 64 outputs of 8×8 matrices
//
// W is as metalkern's matrix.go lays it out: rows at 16 bytes, filled up with zeros to whole groups of 32 inputs. A sum's
// order depends on K and the weight's kind, not on <rows>, <outputs> or the number of simdgroups.

struct LinearArgs {
    uint rows; uint outputs; uint inputs;
    uint padded;              // inputs with the filling
    uint pitch;               // bytes of a row of W
    uint norm; float epsilon; // see common.metal
    uint act;
    uint vector;              // x and the norm's weights may be read four at a time
    uint stride;              // numbers of a row of x, for up to 48 rows
    uint slices; uint blocks; // of K, and of BLOCK inputs in each but perhaps the last
    uint set_bits;            // 2^set_bits sets of simdgroups in a threadgroup, each with all slices
    uint bias; uint residual; // 0: absent
    uint parts;               // of a number of a tile's x: 1, or 2 halves
};

// Small integers become floats without a conversion: as the upper bits of the mantissa of a number in [1, 2).
static inline float between_one_and_two(uint mantissa) { return as_type<float>(0x3f800000u | mantissa); }

// Four numbers of W. Of 4 bits: 1 + (q+8)/16, times 16·scale, less 24·scale: exact, as is the same for 8 bits.
static inline float4 four_of_4_bits(uint w, float scale) {
    const float step = 16.0f * scale, shift = -24.0f * scale;
    return float4(fma(between_one_and_two((w & 15u) << 19), step, shift), fma(between_one_and_two((w & 0xf0u) << 15), step, shift),
                  fma(between_one_and_two((w & 0xf00u) << 11), step, shift), fma(between_one_and_two((w & 0xf000u) << 7), step, shift));
}
static inline float4 four_of_8_bits(uint word, float scale) {
    const uint w = word ^ 0x80808080u;
    const float step = 256.0f * scale, shift = -384.0f * scale;
    return float4(fma(between_one_and_two((w & 0xffu) << 15), step, shift), fma(between_one_and_two((w & 0xff00u) << 7), step, shift),
                  fma(between_one_and_two((w >> 1) & 0x7f8000u), step, shift), fma(between_one_and_two((w >> 9) & 0x7f8000u), step, shift));
}
static inline float4 four_halves(uint first, uint second) {
    const half2 a = as_type<half2>(first), b = as_type<half2>(second);
    return float4(float(a.x), float(a.y), float(b.x), float(b.y));
}

#define BLOCK 128 // inputs that a simdgroup multiplies at once: four a lane, so that lanes read side by side
#define HELD 2    // blocks of W, and of x, under way
#define SLICES 16 // at most
#define NORMED 2  // rows that a kernel normalises itself, at most, from slices that are held whole

// Quads are a lane's four inputs of a row of W in a block. Scales stay as they were read: whoever made floats of them at once
// would wait for memory there.
struct QuadQ4 { uint word; half scale; };
struct QuadQ8 { uint word; half scale; };
struct QuadF16 { uint2 words; };
struct QuadF32 { float4 values; };

static inline QuadQ4 quad(QuadQ4 q, device const uchar* row, device const half* scales, uint k) {
    q.word = *reinterpret_cast<device const ushort*>(row + k / 2);
    q.scale = scales[k / 32];
    return q;
}
static inline QuadQ8 quad(QuadQ8 q, device const uchar* row, device const half* scales, uint k) {
    q.word = *reinterpret_cast<device const uint*>(row + k);
    q.scale = scales[k / 32];
    return q;
}
static inline QuadF16 quad(QuadF16 q, device const uchar* row, device const half*, uint k) {
    q.words = *reinterpret_cast<device const uint2*>(row + 2 * k);
    return q;
}
static inline QuadF32 quad(QuadF32 q, device const uchar* row, device const half*, uint k) {
    q.values = *reinterpret_cast<device const float4*>(row + 4 * k);
    return q;
}

static inline float4 values(QuadQ4 q) { return four_of_4_bits(q.word, float(q.scale)); }
static inline float4 values(QuadQ8 q) { return four_of_8_bits(q.word, float(q.scale)); }
static inline float4 values(QuadF16 q) { return four_halves(q.words.x, q.words.y); }
static inline float4 values(QuadF32 q) { return q.values; }

// slice_inputs is how many inputs a slice has.
static inline uint slice_inputs(constant LinearArgs& a, uint slice) { return min(a.blocks * BLOCK, a.inputs - slice * a.blocks * BLOCK); }

// deviations adds v − mean, or its square, of the inputs from k to the limit to sum.
static inline float deviations(float sum, float4 v, uint k, uint limit, float mean, bool squared) {
    UNROLL for (uint i = 0; i < 4; i++) {
        const float d = k + i < limit ? v[i] - mean : 0.0f;
        sum = squared ? fma(d, d, sum) : sum + d;
    }
    return sum;
}

// joined makes a row's moments of each slice's mean and of the sum of squares about it: Chan, Golub and LeVeque, "Updating
// Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979. So slices do not wait for the row's mean.
static inline Moments joined(constant LinearArgs& a, threadgroup const float2* slices, uint step) {
    float sum = 0.0f, squares = 0.0f;
    for (uint s = 0; s < a.slices; s++) sum = fma(slices[s * step].x, float(slice_inputs(a, s)), sum);
    const float mean = sum / float(a.inputs);
    for (uint s = 0; s < a.slices; s++) {
        const float2 slice = slices[s * step];
        const float d = slice.x - mean;
        squares += fma(d * d, float(slice_inputs(a, s)), slice.y);
    }
    return moments_of(mean, 1.0f / sqrt(squares / float(a.inputs) + a.epsilon));
}

// Inputs are a lane's of HELD blocks of some rows, and of the norm's weights.
template <uint AHEAD, uint ROWS> struct Inputs { float4 x[AHEAD][ROWS]; float4 weight[AHEAD]; float4 shift[AHEAD]; };

template <uint AHEAD, uint ROWS>
static inline void fetch(
    constant LinearArgs& a, thread Inputs<AHEAD, ROWS>& in, device const float* x, device const float* weight,
    device const float* shift, uint rows, uint block, uint end, uint lane)
{
    UNROLL for (uint b = 0; b < AHEAD; b++) {
        const uint k = (block + b) * BLOCK + 4 * lane;
        const bool there = block + b < end && k < a.inputs;
        UNROLL for (uint r = 0; r < ROWS; r++)
            in.x[b][r] = there ? *reinterpret_cast<device const float4*>(x + min(r, rows - 1) * a.stride + k) : float4(0.0f);
        if (ROWS <= NORMED && a.norm != NORM_NONE && there) {
            in.weight[b] = *reinterpret_cast<device const float4*>(weight + k);
            in.shift[b] = a.norm == NORM_LAYER ? *reinterpret_cast<device const float4*>(shift + k) : float4(0.0f);
        }
    }
}

// join adds N sums of every lane, a power of two, over all lanes: lane l is left with sum l·N/32 in the first. A sum's tree
// is the same for every N.
template <uint N> static inline void join(thread float* sums, uint lane) {
    UNROLL for (uint step = 0; step < 5; step++) {
        const uint mask = 16u >> step, left = N >> (step + 1); // sums that a lane keeps, while they are several
        const bool upper = (lane & mask) != 0;
        if (left == 0) sums[0] += simd_shuffle_xor(sums[0], ushort(mask));
        UNROLL for (uint i = 0; i < left; i++) {
            const float other = simd_shuffle_xor(upper ? sums[i] : sums[i + left], ushort(mask));
            sums[i] = (upper ? sums[i + left] : sums[i]) + other;
        }
    }
}

// total adds the slices of a sum, every step-th number.
static inline float total(threadgroup const float* sums, uint slices, uint step) {
    float sum = 0.0f;
    for (uint s = 0; s < slices; s++) sum += sums[s * step];
    return sum;
}

// joint_moments are the moments of some rows, of which every simdgroup holds a slice; a set of them writes.
template <uint AHEAD, uint ROWS>
static inline void joint_moments(
    constant LinearArgs& a, thread Moments* moments, thread const Inputs<AHEAD, ROWS>& in, threadgroup float2* norms, uint slice,
    bool writes, uint lane)
{
    const uint begin = slice * a.blocks * BLOCK, count = slice_inputs(a, slice), limit = begin + count, k = begin + 4 * lane;
    UNROLL for (uint r = 0; r < ROWS; r++) {
        float mean = 0.0f, squares = 0.0f;
        if (a.norm == NORM_LAYER) {
            float sum = 0.0f;
            UNROLL for (uint b = 0; b < AHEAD; b++) sum = deviations(sum, in.x[b][r], k + b * BLOCK, limit, 0.0f, false);
            mean = simd_sum(sum) / float(count);
        }
        UNROLL for (uint b = 0; b < AHEAD; b++) squares = deviations(squares, in.x[b][r], k + b * BLOCK, limit, mean, true);
        squares = simd_sum(squares);
        if (writes && lane == 0) norms[slice * ROWS + r] = float2(mean, squares);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    UNROLL for (uint r = 0; r < ROWS; r++) moments[r] = joined(a, norms + r, ROWS);
}

template <class Q, uint ROWS, uint OUT>
static inline void linear_rows(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const float* x, device const float* weight,
    device const float* shift, device const float* bias, device const float* residual, device float* dst,
    threadgroup float* parts, threadgroup float2* norms, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    const uint SUMS = ROWS * OUT, AHEAD = ROWS <= 4 ? HELD : 1;
    const bool normed = ROWS <= NORMED && a.norm != NORM_NONE;
    // A set of simdgroups has one slice each of some outputs; where simdgroups are fewer than slices, each takes several.
    const uint sets = 1u << a.set_bits, set = simd & (sets - 1), slice = simd >> a.set_bits;
    // Threadgroups of the same outputs come one after the other, so that only the first reads W from memory.
    const uint first = group.x * ROWS, rows = min(ROWS, a.rows - first);
    const uint output = (group.y * sets + set) * OUT;
    x += ulong(first) * a.stride;

    // The weights do not wait for x.
    device const uchar* row[OUT];
    device const half* scale[OUT];
    UNROLL for (uint o = 0; o < OUT; o++) {
        const ulong n = min(output + o, a.outputs - 1);
        row[o] = w + n * a.pitch;
        scale[o] = scales + n * (a.padded / 32);
    }
    Q held[HELD][OUT];
    const uint last = (a.padded + BLOCK - 1) / BLOCK;
    uint begin = slice * a.blocks, end = min(begin + a.blocks, last);
    UNROLL for (uint b = 0; b < HELD; b++) {
        const uint k = (begin + b) * BLOCK + 4 * lane;
        UNROLL for (uint o = 0; o < OUT; o++) if (begin + b < end && k < a.padded) held[b][o] = quad(Q(), row[o], scale[o], k);
    }
    AFTER_EARLIER;
    Inputs<AHEAD, ROWS> in;
    fetch<AHEAD, ROWS>(a, in, x, weight, shift, rows, begin, end, lane);

    // Thread i finishes sum i of the sets'.
    const uint of_set = thread_index % SUMS, n = (group.y * sets + thread_index / SUMS) * OUT + of_set / ROWS, r = of_set % ROWS;
    const bool mine = thread_index < sets * SUMS && r < rows && n < a.outputs;
    const ulong at = ulong(first + r) * a.outputs + n;
    const float offset = mine && a.bias != 0 ? bias[n] : 0.0f;
    const float before = mine && a.residual != 0 ? residual[at] : 0.0f;

    Moments moments[ROWS];
    if (normed) joint_moments<AHEAD, ROWS>(a, moments, in, norms, slice, set == 0, lane);

    bool fetched = true;
    for (uint s = slice; s < a.slices; s += simds) {
        begin = s * a.blocks;
        end = min(begin + a.blocks, last);
        float sums[SUMS];
        UNROLL for (uint i = 0; i < SUMS; i++) sums[i] = 0.0f;
        for (uint base = begin; base < end; base += HELD) {
            UNROLL for (uint b = 0; b < HELD; b++) {
                if (b % AHEAD == 0) {
                    if (!fetched) fetch<AHEAD, ROWS>(a, in, x, weight, shift, rows, base + b, end, lane);
                    fetched = false;
                }
                const uint k = (base + b) * BLOCK + 4 * lane;
                if (base + b < end && k < a.padded) {
                    UNROLL for (uint i = 0; i < ROWS; i++) {
                        float4 v = in.x[b % AHEAD][i];
                        if (normed && k < a.inputs)
                            v = normalise4(v, moments[i], in.weight[b % AHEAD], in.shift[b % AHEAD]);
                        in.x[b % AHEAD][i] = v;
                    }
                    UNROLL for (uint o = 0; o < OUT; o++) {
                        const float4 c = values(held[b][o]);
                        UNROLL for (uint i = 0; i < ROWS; i++) {
                            const float4 v = in.x[b % AHEAD][i];
                            sums[o * ROWS + i] = fma(c.w, v.w, fma(c.z, v.z, fma(c.y, v.y, fma(c.x, v.x, sums[o * ROWS + i]))));
                        }
                    }
                }
                // The next of the slice, or the first of the simdgroup's next one.
                const uint next = base + HELD < end ? base + HELD + b : (s + simds) * a.blocks + b;
                const uint later = next * BLOCK + 4 * lane;
                UNROLL for (uint o = 0; o < OUT; o++)
                    if (next < last && later < a.padded) held[b][o] = quad(Q(), row[o], scale[o], later);
            }
        }
        join<SUMS>(sums, lane);
        if (lane % (32 / SUMS) == 0) parts[(set * a.slices + s) * SUMS + lane / (32 / SUMS)] = sums[0];
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (mine) {
        const float sum = total(parts + thread_index / SUMS * a.slices * SUMS + of_set, a.slices, SUMS);
        dst[at] = activate(sum + offset, a.act) + before;
    }
}

#define LINEAR(name, Q, ROWS, OUT) \
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
        TG_ARRAY(float, parts, SLICES * ROWS * OUT); \
        TG_ARRAY(float2, norms, SLICES * NORMED); \
        linear_rows<Q, ROWS, OUT>(a, w, scales, x, weight, shift, bias, residual, dst, parts, norms, group, thread_index, simd, \
                                  simds, lane); \
    }

// One output a simdgroup where a weight has few, so that all cores have some; four where it has many, for fewer reads of x.
#define LINEAR_ALL(name, Q) \
    LINEAR(name, Q, 1, 1) LINEAR(name, Q, 1, 2) LINEAR(name, Q, 1, 4) \
    LINEAR(name, Q, 2, 1) LINEAR(name, Q, 2, 2) LINEAR(name, Q, 2, 4) \
    LINEAR(name, Q, 4, 1) LINEAR(name, Q, 4, 2) LINEAR(name, Q, 4, 4) \
    LINEAR(name, Q, 8, 1) LINEAR(name, Q, 8, 2) LINEAR(name, Q, 8, 4)

LINEAR_ALL(f32, QuadF32)
LINEAR_ALL(f16, QuadF16)
LINEAR_ALL(q8, QuadQ8)
LINEAR_ALL(q4, QuadQ4)

// linear_prepare: the rows of x, normalised, in the number that tiles multiply, filled up with zeros. Halves are scaled by a
// power of two to a largest magnitude in [2¹⁴, 2¹⁵), so that no input is too large or too small for them; unscale undoes it.
// Beside weights that are exact in halves what the first half rounds away follows in a second, after all rows' first; beside
// coarser weights it would be nothing.
//
// A threadgroup has one row, and reads it once: each simdgroup holds one slice. Where slices are more or larger, or may
// not be read four at a time, it reads them again where it needs them.
#define ROW_BLOCKS 4 // of a slice that are held

// ROLLED before a loop that is to stay one.
#if defined(__clang__)
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__CUDACC__)
#define ROLLED _Pragma("unroll 1")
#else
#define ROLLED
#endif

static inline float unit(half) { return 1.0f; }
static inline float unit(float) { return 0.0f; }

// A Row is what a lane knows of its row. What is held is normalised once its moments are known.
struct Row {
    device const float* x;
    device const float* weight;
    device const float* shift;
    Moments moments;
    bool whole; // all is held
    float4 held[ROW_BLOCKS];
};

static inline uint begin_of(constant LinearArgs& a, uint slice) { return slice * a.blocks * BLOCK; }
static inline uint inputs_of(constant LinearArgs& a, uint slice) { return min(a.blocks * BLOCK, a.inputs - begin_of(a, slice)); }

// place_of is a lane's first input in a block of a slice, or the row's end if there is none.
static inline uint place_of(constant LinearArgs& a, uint slice, uint block, uint lane) {
    return slice < a.slices && block < a.blocks ? min(begin_of(a, slice) + block * BLOCK + 4 * lane, a.padded) : a.padded;
}

// four_of is input k and the next three; behind the row they are 0.
static inline float4 four_of(constant LinearArgs& a, thread const Row& row, uint k, uint vector) {
    return k < a.inputs ? load4(row.x, k, a.inputs, vector) : float4(0.0f);
}

// normal is what becomes of them.
static inline float4 normal(constant LinearArgs& a, thread const Row& row, float4 v, uint k, uint vector) {
    if (a.norm == NORM_NONE || k >= a.inputs) return v;
    const float4 shift = a.norm == NORM_LAYER ? load4(row.shift, k, a.inputs, vector) : float4(0.0f);
    return normalise4(v, row.moments, load4(row.weight, k, a.inputs, vector), shift);
}

// again is four_of, as it becomes, of what is not held.
static inline float4 again(constant LinearArgs& a, thread const Row& row, uint k) {
    return normal(a, row, four_of(a, row, k, a.vector), k, a.vector);
}

// apart adds v − mean, or its square, of the inputs from k to the limit to sum.
static inline float apart(float sum, float4 v, uint k, uint limit, float mean, bool squared) {
    UNROLL for (uint i = 0; i < 4; i++) {
        const float d = k + i < limit ? v[i] - mean : 0.0f;
        sum = squared ? fma(d, d, sum) : sum + d;
    }
    return sum;
}

// slice_sum adds what is apart in a slice.
static inline float slice_sum(constant LinearArgs& a, thread const Row& row, uint slice, float mean, bool squared, uint lane) {
    const uint limit = begin_of(a, slice) + inputs_of(a, slice);
    float sum = 0.0f;
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) sum = apart(sum, row.held[b], place_of(a, slice, b, lane), limit, mean, squared);
    } else {
        ROLLED for (uint b = 0; b < a.blocks; b++) {
            const uint k = place_of(a, slice, b, lane);
            sum = apart(sum, four_of(a, row, k, a.vector), k, limit, mean, squared);
        }
    }
    return simd_sum(sum);
}

// moments_of_slices joins each slice's mean and sum of squares about it, so that slices do not wait for the row's mean: Chan,
// Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
static inline Moments moments_of_slices(constant LinearArgs& a, threadgroup const float2* slices) {
    float sum = 0.0f, squares = 0.0f;
    for (uint s = 0; s < a.slices; s++) sum = fma(slices[s].x, float(inputs_of(a, s)), sum);
    const float mean = sum / float(a.inputs);
    for (uint s = 0; s < a.slices; s++) {
        const float2 slice = slices[s];
        const float d = slice.x - mean;
        squares += fma(d * d, float(inputs_of(a, s)), slice.y);
    }
    return moments_of(mean, 1.0f / sqrt(squares / float(a.inputs) + a.epsilon));
}

// settle finds the row's moments, and normalises what is held.
static inline void settle(constant LinearArgs& a, thread Row& row, threadgroup float2* slices, uint simd, uint simds, uint lane) {
    ROLLED for (uint slice = simd; slice < a.slices; slice += simds) {
        float mean = 0.0f;
        if (a.norm == NORM_LAYER) mean = slice_sum(a, row, slice, 0.0f, false, lane) / float(inputs_of(a, slice));
        const float squares = slice_sum(a, row, slice, mean, true, lane);
        if (lane == 0) slices[slice] = float2(mean, squares);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    row.moments = moments_of_slices(a, slices);
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) row.held[b] = normal(a, row, row.held[b], place_of(a, simd, b, lane), 1);
    }
}

static inline float larger(float largest, float4 v) {
    return max(max(largest, max(fabs(v.x), fabs(v.y))), max(fabs(v.z), fabs(v.w)));
}

// largest_of is a simdgroup's largest magnitude.
static inline float largest_of(constant LinearArgs& a, thread const Row& row, uint simd, uint simds, uint lane) {
    float largest = 0.0f;
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) largest = larger(largest, row.held[b]);
    } else {
        ROLLED for (uint slice = simd; slice < a.slices; slice += simds) {
            ROLLED for (uint b = 0; b < a.blocks; b++) {
                largest = larger(largest, again(a, row, place_of(a, slice, b, lane)));
            }
        }
    }
    return simd_max(largest);
}

static inline void put4(device half* to, float4 v) { *reinterpret_cast<device half4*>(to) = half4(half(v.x), half(v.y), half(v.z), half(v.w)); }
static inline void put4(device float* to, float4 v) { *reinterpret_cast<device float4*>(to) = v; }

// put writes four numbers at k of a row's, and at rest what they lose.
template <class T> static inline void put(constant LinearArgs& a, device T* to, device T* rest, uint k, float4 v) {
    if (k >= a.padded) return;
    put4(to + k, v);
    if (a.parts == 2) put4(rest + k, float4(v.x - float(T(v.x)), v.y - float(T(v.y)), v.z - float(T(v.z)), v.w - float(T(v.w))));
}

template <class T>
static inline void prepare(
    constant LinearArgs& a, device const float* x, device const float* weight, device const float* shift, device T* dst,
    device float* unscale, threadgroup float2* slices, threadgroup float* tops, uint group, uint simd, uint simds, uint lane)
{
    Row row;
    row.x = x + ulong(group) * a.inputs;
    row.weight = weight;
    row.shift = shift;
    row.moments = moments_of(0.0f, 1.0f);
    row.whole = a.vector != 0 && a.slices <= simds && a.blocks <= ROW_BLOCKS;
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) row.held[b] = four_of(a, row, place_of(a, simd, b, lane), 1);
    }
    if (a.norm != NORM_NONE) settle(a, row, slices, simd, simds, lane);
    float scale = 1.0f;
    if (unit(T(0.0f)) > 0.0f) {
        const float mine = largest_of(a, row, simd, simds, lane);
        if (lane == 0) tops[simd] = mine;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float largest = 0.0f;
        for (uint s = 0; s < simds; s++) largest = max(largest, tops[s]);
        const uint exponent = clamp((as_type<uint>(largest) >> 23) & 255u, 16u, 254u);
        scale = as_type<float>((268u - exponent) << 23);
        if (simd == 0 && lane == 0) unscale[group] = as_type<float>((exponent - 14u) << 23);
    }
    device T* to = dst + ulong(group) * a.padded;
    device T* rest = to + ulong(a.rows) * a.padded;
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) put(a, to, rest, place_of(a, simd, b, lane), row.held[b] * scale);
    } else {
        ROLLED for (uint slice = simd; slice < a.slices; slice += simds) {
            ROLLED for (uint b = 0; b < a.blocks; b++) {
                const uint k = place_of(a, slice, b, lane);
                put(a, to, rest, k, again(a, row, k) * scale);
            }
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
        TG_ARRAY(float2, slices, SLICES); \
        TG_ARRAY(float, tops, SLICES); \
        prepare<T>(a, x, weight, shift, dst, unscale, slices, tops, group, simd, simds, lane); \
    }
LINEAR_PREPARE(half)
LINEAR_PREPARE(float)

// Packets are what a thread reads of a row of W for a tile at once, scales as they are: 16 inputs of 4 or 8 bits, 8 of 16, 4 of 32.
struct PacketQ4 { uint2 words; half scale; };
struct PacketQ8 { uint4 words; half scale; };
struct PacketF16 { uint4 words; };
struct PacketF32 { float4 values; };

// packet reads inputs k… of the row of W that begins at row, whose scales begin at scales.
static inline PacketQ4 packet(PacketQ4 p, device const uchar* row, device const half* scales, uint k) {
    p.words = *reinterpret_cast<device const uint2*>(row + k / 2);
    p.scale = scales[k / 32];
    return p;
}
static inline PacketQ8 packet(PacketQ8 p, device const uchar* row, device const half* scales, uint k) {
    p.words = *reinterpret_cast<device const uint4*>(row + k);
    p.scale = scales[k / 32];
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

// The fours of a packet.
static inline float4 four(PacketQ4 p, uint i) { return four_of_4_bits(p.words[i / 2] >> (16 * (i % 2)), float(p.scale)); }
static inline float4 four(PacketQ8 p, uint i) { return four_of_8_bits(p.words[i], float(p.scale)); }
static inline float4 four(PacketF16 p, uint i) { return four_halves(p.words[2 * i], p.words[2 * i + 1]); }
static inline float4 four(PacketF32 p, uint) { return p.values; }

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

// finish writes 8 rows from y on of 32 outputs, of which a lane has output n, out of threadgroup memory. What it adds to them
// is asked for at once: row by row each would wait for memory.
static inline void finish(
    constant LinearArgs& a, threadgroup const float* strip, bool there, uint y, uint n, bool scaled, device const float* unscale,
    float offset, device const float* residual, device float* dst, uint lane)
{
    float before[8], by[8];
    const uint rows = there && n < a.outputs ? min(a.rows, y + 8) : 0;
    device float* to = dst + ulong(y) * a.outputs + n;
    UNROLL for (uint r = 0; r < 8; r++) {
        before[r] = a.residual != 0 && y + r < rows ? residual[ulong(y + r) * a.outputs + n] : 0.0f;
        by[r] = scaled && y + r < rows ? unscale[y + r] : 1.0f;
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    UNROLL for (uint r = 0; r < 8; r++) {
        if (y + r < rows) to[r * a.outputs] = activate(fma(strip[r * 32 + lane], by[r], offset), a.act) + before[r];
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

// A share is what a thread holds of a step: all of its own with 128 threads, and with fewer not all that it places.
template <uint XS, class P, uint WS> struct Share { uint4 x[XS]; P w[WS]; };

// With all 128 threads, each holds its shares of the next two steps while matrices multiply this one.
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
        Share<HELD_X, P, HELD_W> held[2];
        for (uint base = 0; base < a.padded + 2 * TILE_INPUTS; base += 2 * TILE_INPUTS) {
            UNROLL for (uint h = 0; h < 2; h++) {
                const uint k = base + h * TILE_INPUTS; // to fetch; to multiply are the inputs two steps before
                const bool multiplies = base > 0 && k < a.padded + 2 * TILE_INPUTS;
                if (multiplies) { // place what is held, and what could not be
                    UNROLL for (uint i = 0; i < HELD_X; i++)
                        *reinterpret_cast<threadgroup uint4*>(xs + place_x<X>(thread_index + i * threads)) = held[h].x[i];
                    UNROLL for (uint i = 0; i < HELD_W; i++)
                        put<T, P, V>(ws + place_w<V>(thread_index + i * threads), held[h].w[i]);
                    for (uint e = thread_index + HELD_X * threads; e < XS; e += threads)
                        *reinterpret_cast<threadgroup uint4*>(xs + place_x<X>(e)) =
                            *reinterpret_cast<device const uint4*>(x + x_at<X>(a, first, e, k - 2 * TILE_INPUTS));
                    for (uint e = thread_index + HELD_W * threads; e < WS; e += threads)
                        put<T, P, V>(ws + place_w<V>(e), packet_at<P, V>(a, w, scales, output, e, k - 2 * TILE_INPUTS));
                    threadgroup_barrier(mem_flags::mem_threadgroup);
                }
                if (k < a.padded) {
                    UNROLL for (uint i = 0; i < HELD_X; i++)
                        held[h].x[i] = *reinterpret_cast<device const uint4*>(x + x_at<X>(a, first, thread_index + i * threads, k));
                    UNROLL for (uint i = 0; i < HELD_W; i++)
                        held[h].w[i] = packet_at<P, V>(a, w, scales, output, thread_index + i * threads, k);
                }
                if (multiplies) {
                    UNROLL for (uint part = 0; part < PARTS; part++)
                        multiply(sums, xs + (part * TILE + down) * TILE_STRIDE, ws + right * TILE_STRIDE, TILE_STRIDE);
                    threadgroup_barrier(mem_flags::mem_threadgroup);
                }
            }
        }
        const bool there = quarter < 4, scaled = unit(T(0.0f)) > 0.0f;
        threadgroup float* mine = out + simd * 256; // 8 rows of 32 outputs
        const uint y = first + down, n = output + right + lane;
        const float offset = a.bias != 0 && n < a.outputs ? bias[n] : 0.0f;
        strip(sums, 0, mine);
        finish(a, mine, there, y, n, scaled, unscale, offset, residual, dst, lane);
        strip(sums, 1, mine);
        finish(a, mine, there, y + 8, n, scaled, unscale, offset, residual, dst, lane);
        strip(sums, 2, mine);
        finish(a, mine, there, y + 16, n, scaled, unscale, offset, residual, dst, lane);
        strip(sums, 3, mine);
        finish(a, mine, there, y + 24, n, scaled, unscale, offset, residual, dst, lane);
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
