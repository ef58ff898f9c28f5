// Linear: dst[r] = act(norm(x[r])·Wᵀ + bias) + residual[r], in two ways, by the number of rows alone:
//
//	up to 48   linear_<weight>_<rows>x<tiles>: a simdgroup multiplies <rows> rows with <tiles> times 8 outputs, in a slice of
//	           their inputs; its threadgroup, which has all slices, adds them
//	more       linear_prepare_<number>, then linear_tile_<weight>: 64 rows by 64 outputs of 8×8 matrices
//
// W is as metalkern's matrix.go lays it out: rows at 16 bytes, filled up with zeros to whole groups of 32 inputs. A sum's
// order depends on K and the weight's kind, not on <rows> or <tiles>.

struct LinearArgs {
    uint rows; uint outputs; uint inputs;
    uint padded;              // inputs with the filling
    uint pitch; uint groups;  // of a row of W: bytes, scales with their filling
    uint norm; float epsilon; float inverse; // see common.metal; 1 / inputs
    uint act;
    uint vector;              // x and the norm's weights may be read four at a time
    uint stride;              // numbers of a row of x, for up to 48 rows
    uint slices; uint blocks; // of K, and of BLOCK inputs in each but perhaps the last
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

#define BLOCK 128 // inputs that a simdgroup multiplies at once: GROUPS of 32
#define GROUPS 4
#define HELD(TILES) ((TILES) > 1 ? 1 : 2) // blocks of W under way
#define SLICES 16 // at most
#define PREPARED 4 // rows that a threadgroup normalises for others, at most

// Lane l has, of each group, inputs 8·(l%4) to 8·(l%4)+7 of row l/4 of a tile of W: its octet. Of x it has the same inputs,
// of row l/4 too where there are eight rows; where there are fewer, lanes share out the groups: a piece is the lane's octet
// of one group. Sixteen rows are two sets of eight.
#define SETS(ROWS) ((ROWS) > 8 ? 2 : 1)
#define OF_SET(ROWS) ((ROWS) > 8 ? 8 : (ROWS))
#define PIECES(ROWS) (OF_SET(ROWS) > 1 ? OF_SET(ROWS) / 2 : 1)

// The first group of which a lane has a piece, and the lane that has a row's piece of a group.
template <uint ROWS> static inline uint first_group(uint lane) { return lane / 4 / OF_SET(ROWS) * PIECES(ROWS) % GROUPS; }
template <uint ROWS> static inline ushort lane_of(uint row, uint group, uint lane) {
    return ushort((row + OF_SET(ROWS) * (group / PIECES(ROWS))) * 4 + lane % 4);
}

// Octets are a lane's octets of a row of W in a block. Scales stay as they were read, two in a word: whoever made floats of
// them at once would wait for memory there.
struct OctetsQ4 { uint words[GROUPS]; uint2 scales; };
struct OctetsQ8 { uint2 words[GROUPS]; uint2 scales; };
struct OctetsF16 { uint4 words[GROUPS]; };
struct OctetsF32 { float4 values[GROUPS][2]; };

// first_octet is where a lane's first octet of a row is that begins at row, k inputs on; octet reads the g-th of a block.
static inline device const uchar* first_octet(OctetsQ4, device const uchar* row, uint k) { return row + k / 2; }
static inline device const uchar* first_octet(OctetsQ8, device const uchar* row, uint k) { return row + k; }
static inline device const uchar* first_octet(OctetsF16, device const uchar* row, uint k) { return row + 2 * k; }
static inline device const uchar* first_octet(OctetsF32, device const uchar* row, uint k) { return row + 4 * k; }
static inline void octet(thread OctetsQ4& o, uint g, device const uchar* first, bool there) {
    o.words[g] = there ? *reinterpret_cast<device const uint*>(first + 16 * g) : 0;
}
static inline void octet(thread OctetsQ8& o, uint g, device const uchar* first, bool there) {
    o.words[g] = there ? *reinterpret_cast<device const uint2*>(first + 32 * g) : uint2(0);
}
static inline void octet(thread OctetsF16& o, uint g, device const uchar* first, bool there) {
    o.words[g] = there ? *reinterpret_cast<device const uint4*>(first + 64 * g) : uint4(0);
}
static inline void octet(thread OctetsF32& o, uint g, device const uchar* first, bool there) {
    UNROLL for (uint h = 0; h < 2; h++)
        o.values[g][h] = there ? *reinterpret_cast<device const float4*>(first + 128 * g + 16 * h) : float4(0.0f);
}

// scale reads those of a block.
static inline void scale(thread OctetsQ4& o, device const half* first) { o.scales = *reinterpret_cast<device const uint2*>(first); }
static inline void scale(thread OctetsQ8& o, device const half* first) { o.scales = *reinterpret_cast<device const uint2*>(first); }
static inline void scale(thread OctetsF16&, device const half*) {}
static inline void scale(thread OctetsF32&, device const half*) {}

template <class Q>
static inline void octets(constant LinearArgs& a, thread Q& o, device const uchar* row, device const half* scales, uint block, uint lane) {
    device const uchar* first = first_octet(o, row, block * BLOCK + 8 * (lane % 4));
    UNROLL for (uint g = 0; g < GROUPS; g++) octet(o, g, first, block * BLOCK + 32 * g < a.padded);
    scale(o, scales + GROUPS * block);
}

// values are four of octet g.
static inline float scale_at(uint2 scales, uint g) { const half2 two = as_type<half2>(scales[g / 2]); return float(two[g % 2]); }
static inline float4 values(OctetsQ4 o, uint g, uint h) { return four_of_4_bits(o.words[g] >> (16 * h), scale_at(o.scales, g)); }
static inline float4 values(OctetsQ8 o, uint g, uint h) { return four_of_8_bits(o.words[g][h], scale_at(o.scales, g)); }
static inline float4 values(OctetsF16 o, uint g, uint h) { return four_halves(o.words[g][2 * h], o.words[g][2 * h + 1]); }
static inline float4 values(OctetsF32 o, uint g, uint h) { return o.values[g][h]; }

// A row share is what a lane has of a block of x.
template <uint ROWS> struct RowShare { float4 x[SETS(ROWS)][PIECES(ROWS)][2]; };

// first_input is the first of a block that a lane has.
template <uint ROWS> static inline uint first_input(uint block, uint lane) { return block * BLOCK + 32 * first_group<ROWS>(lane) + 8 * (lane % 4); }

template <uint ROWS>
static inline void fetch(constant LinearArgs& a, thread RowShare<ROWS>& in, device const float* x, uint rows, uint block, uint lane) {
    const uint k = first_input<ROWS>(block, lane);
    UNROLL for (uint s = 0; s < SETS(ROWS); s++) {
        device const float* first = x + ulong(min(8 * s + lane / 4 % OF_SET(ROWS), rows - 1)) * a.stride + k;
        UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
            UNROLL for (uint h = 0; h < 2; h++) {
                const uint next = 32 * p + 4 * h;
                in.x[s][p][h] = k + next < a.inputs ? *reinterpret_cast<device const float4*>(first + next) : float4(0.0f);
            }
        }
    }
}

// sum_over_row adds what the lanes of a row have, a number for every group: groups as pairs, then lanes.
template <uint ROWS> static inline float sum_over_row(thread float (&sums)[PIECES(ROWS)]) {
    UNROLL for (uint left = PIECES(ROWS) / 2; left > 0; left /= 2) {
        UNROLL for (uint p = 0; p < left; p++) sums[p] = sums[2 * p] + sums[2 * p + 1];
    }
    float sum = sums[0];
    UNROLL for (uint mask = 4 * OF_SET(ROWS); mask < (ROWS > 1 ? 32 : 16); mask *= 2) sum += simd_shuffle_xor(sum, ushort(mask));
    sum += simd_shuffle_xor(sum, ushort(1));
    return sum + simd_shuffle_xor(sum, ushort(2));
}

// deviations are the sum of x − mean, or of its square, over the inputs of a block.
template <uint ROWS> static inline float deviations(constant LinearArgs& a, RowShare<ROWS> in, uint set, uint block, float mean, bool squared, uint lane) {
    float sums[PIECES(ROWS)];
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        sums[p] = 0.0f;
        UNROLL for (uint h = 0; h < 2; h++) {
            const uint k = first_input<ROWS>(block, lane) + 32 * p + 4 * h;
            const float4 d = k < a.inputs ? in.x[set][p][h] - mean : float4(0.0f);
            UNROLL for (uint i = 0; i < 4; i++) sums[p] = squared ? fma(d[i], d[i], sums[p]) : sums[p] + d[i];
        }
    }
    return sum_over_row<ROWS>(sums);
}

// slice_inputs is how many inputs a slice of one block has.
static inline float slice_inputs(constant LinearArgs& a, uint slice) { return float(min(uint(BLOCK), a.inputs - slice * BLOCK)); }

// joined makes a row's moments of every slice's mean, and sum of squares about it: Chan, Golub and LeVeque, "Updating
// Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979. So slices do not wait for the row's mean. The
// lanes of the row share out the slices as they do the octets of a block.
template <uint ROWS> static inline Moments joined(constant LinearArgs& a, threadgroup const float2* slices, uint step, uint lane) {
    float2 of[PIECES(ROWS)];
    float sums[PIECES(ROWS)];
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        const uint s = 4 * (first_group<ROWS>(lane) + p) + lane % 4;
        of[p] = s < a.slices ? slices[s * step] : float2(0.0f);
        sums[p] = s < a.slices ? of[p].x * slice_inputs(a, s) : 0.0f;
    }
    const float mean = sum_over_row<ROWS>(sums) * a.inverse;
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        const uint s = 4 * (first_group<ROWS>(lane) + p) + lane % 4;
        const float d = of[p].x - mean;
        sums[p] = s < a.slices ? fma(d * d, slice_inputs(a, s), of[p].y) : 0.0f;
    }
    return moments_of(mean, rsqrt(fma(sum_over_row<ROWS>(sums), a.inverse, a.epsilon)));
}

// slice_moments are the mean of a slice of one block and the sum of squares about it.
template <uint ROWS> static inline float2 slice_moments(constant LinearArgs& a, RowShare<ROWS> in, uint set, uint slice, uint lane) {
    float mean = 0.0f;
    if (a.norm == NORM_LAYER) {
        const uint count = a.inputs - slice * BLOCK;
        const float sum = deviations<ROWS>(a, in, set, slice, 0.0f, false, lane);
        mean = count >= BLOCK ? sum * (1.0f / BLOCK) : sum / float(count);
    }
    return float2(mean, deviations<ROWS>(a, in, set, slice, mean, true, lane));
}

// A norm share is the norm's weights of a lane's pieces.
template <uint ROWS> struct NormShare { float4 weight[PIECES(ROWS)][2]; float4 shift[PIECES(ROWS)][2]; };

template <uint ROWS>
static inline void fetch_norm(
    constant LinearArgs& a, thread NormShare<ROWS>& norm, device const float* weight, device const float* shift, uint slice, uint lane)
{
    const uint k = first_input<ROWS>(slice, lane);
    weight += k;
    shift += k;
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        UNROLL for (uint h = 0; h < 2; h++) {
            const uint next = 32 * p + 4 * h;
            const bool there = k + next < a.inputs;
            norm.weight[p][h] = there ? *reinterpret_cast<device const float4*>(weight + next) : float4(0.0f);
            norm.shift[p][h] = there && a.norm == NORM_LAYER ? *reinterpret_cast<device const float4*>(shift + next) : float4(0.0f);
        }
    }
}

// normalise gives a share of a slice of one block its norm, together with the threadgroup's other slices.
template <uint ROWS>
static inline void normalise(
    constant LinearArgs& a, thread RowShare<ROWS>& in, device const float* weight, device const float* shift,
    threadgroup float2* norms, uint slice, uint lane)
{
    const uint row = lane / 4 % OF_SET(ROWS);
    UNROLL for (uint s = 0; s < SETS(ROWS); s++) {
        const float2 of = slice_moments<ROWS>(a, in, s, slice, lane);
        if (lane % 4 == 0 && lane / 4 < OF_SET(ROWS)) norms[slice * ROWS + 8 * s + row] = of;
    }
    NormShare<ROWS> norm;
    if (PIECES(ROWS) == 1) fetch_norm<ROWS>(a, norm, weight, shift, slice, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (PIECES(ROWS) > 1) fetch_norm<ROWS>(a, norm, weight, shift, slice, lane); // registers are few
    UNROLL for (uint s = 0; s < SETS(ROWS); s++) {
        const Moments m = joined<ROWS>(a, norms + 8 * s + row, ROWS, lane);
        UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
            UNROLL for (uint h = 0; h < 2; h++) in.x[s][p][h] = normalise4(in.x[s][p][h], m, norm.weight[p][h], norm.shift[p][h]);
        }
    }
}

// What is multiplied, and the sums, are these everywhere but where what stands before this text brings its own for weights
// of up to 16 bits, because the GPU multiplies small matrices. Sums are a lane's own inputs' until gather.
template <uint ROWS> struct Rows { RowShare<ROWS> share; };
template <uint ROWS, uint TILES> struct RowSums { float of[TILES * ROWS]; };

template <uint ROWS, uint TILES> static inline void clear(thread RowSums<ROWS, TILES>& sums) {
    UNROLL for (uint i = 0; i < TILES * ROWS; i++) sums.of[i] = 0.0f;
}

template <uint ROWS> static inline void take(thread Rows<ROWS>& rows, RowShare<ROWS> share, uint) { rows.share = share; }

// multiply adds the products of a block of x with one of a tile of W.
template <uint ROWS, uint TILES, class Q>
static inline void multiply(thread RowSums<ROWS, TILES>& sums, uint tile, Rows<ROWS> rows, Q w, uint lane) {
    UNROLL for (uint g = 0; g < GROUPS; g++) {
        const float4 first = values(w, g, 0), second = values(w, g, 1);
        UNROLL for (uint r = 0; r < ROWS; r++) {
            const ushort from = lane_of<ROWS>(r % 8, g, lane);
            const float4 x = simd_shuffle(rows.share.x[r / 8][g % PIECES(ROWS)][0], from);
            const float4 y = simd_shuffle(rows.share.x[r / 8][g % PIECES(ROWS)][1], from);
            float sum = sums.of[tile * ROWS + r];
            sum = fma(first.w, x.w, fma(first.z, x.z, fma(first.y, x.y, fma(first.x, x.x, sum))));
            sums.of[tile * ROWS + r] = fma(second.w, y.w, fma(second.z, y.z, fma(second.y, y.y, fma(second.x, y.x, sum))));
        }
    }
}

// gather adds the sums of the four lanes of an output, each of which is left with some, and puts them at to: [row][output].
template <uint ROWS, uint TILES> static inline void gather(RowSums<ROWS, TILES> sums, threadgroup float* to, uint lane) {
    const uint N = TILES * ROWS;
    UNROLL for (uint step = 0; step < 2; step++) {
        const uint mask = 2u >> step, left = N >> (step + 1); // sums that a lane keeps, while they are several
        const bool upper = (lane & mask) != 0;
        if (left == 0) sums.of[0] += simd_shuffle_xor(sums.of[0], ushort(mask));
        UNROLL for (uint i = 0; i < left; i++) {
            const float other = simd_shuffle_xor(upper ? sums.of[i] : sums.of[i + left], ushort(mask));
            sums.of[i] = (upper ? sums.of[i + left] : sums.of[i]) + other;
        }
    }
    UNROLL for (uint i = 0; i < (N + 3) / 4; i++) {
        const uint sum = lane % 4 * N / 4 + i;
        if (lane % ((3 + N) / N) == 0) to[sum % ROWS * TILES * 8 + sum / ROWS * 8 + lane / 4] = sums.of[i];
    }
}

// total adds the slices of a sum, every step-th number.
static inline float total(threadgroup const float* sums, uint slices, uint step) {
    float of[SLICES], sum = 0.0f; // all on their way before one is needed
    UNROLL for (uint s = 0; s < SLICES; s++) of[s] = s < slices ? sums[s * step] : 0.0f;
    UNROLL for (uint s = 0; s < SLICES; s++) sum += of[s];
    return sum;
}

template <class Q, class X, class S, uint ROWS, uint TILES>
static inline void linear_rows(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const float* x, device const float* weight,
    device const float* shift, device const float* bias, device const float* residual, device float* dst,
    threadgroup float* parts, threadgroup float2* norms, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    const uint OUTPUTS = 8 * TILES, SUMS = ROWS * OUTPUTS;
    // Threadgroups of the same outputs come one after the other, so that only the first reads W from memory.
    const uint first = group.x * ROWS, rows = min(ROWS, a.rows - first), output = group.y * OUTPUTS;
    x += ulong(first) * a.stride;

    // The weights do not wait for x. Where simdgroups are fewer than slices, each takes several.
    device const uchar* row[TILES];
    device const half* row_scales[TILES];
    UNROLL for (uint t = 0; t < TILES; t++) {
        const ulong n = min(output + 8 * t + lane / 4, a.outputs - 1);
        row[t] = w + n * a.pitch;
        row_scales[t] = scales + n * a.groups;
    }
    Q held[HELD(TILES)][TILES];
    const uint last = (a.padded + BLOCK - 1) / BLOCK;
    uint begin = simd * a.blocks, end = min(begin + a.blocks, last);
    UNROLL for (uint b = 0; b < HELD(TILES); b++) {
        UNROLL for (uint t = 0; t < TILES; t++)
            if (begin + b < end) octets(a, held[b][t], row[t], row_scales[t], begin + b, lane);
    }
    AFTER_EARLIER;
    RowShare<ROWS> in;
    fetch<ROWS>(a, in, x, rows, begin, lane);

    // Thread i finishes sum i; what it adds does not wait for the sums.
    const uint r = thread_index / OUTPUTS, n = output + thread_index % OUTPUTS;
    const bool mine = r < rows && n < a.outputs;
    const float offset = mine && a.bias != 0 ? bias[n] : 0.0f;
    const float before = mine && a.residual != 0 ? residual[ulong(first + r) * a.outputs + n] : 0.0f;

    if (a.norm != NORM_NONE) normalise<ROWS>(a, in, weight, shift, norms, simd, lane);

    for (uint s = simd; s < a.slices; s += simds) {
        begin = s * a.blocks;
        end = min(begin + a.blocks, last);
        S sums;
        clear(sums);
        for (uint base = begin; base < end; base += HELD(TILES)) {
            UNROLL for (uint b = 0; b < HELD(TILES); b++) {
                const uint block = base + b;
                if (block >= end) break;
                X taken;
                take(taken, in, lane);
                // The next of the slice, or the first of the simdgroup's next one.
                const uint next = block + 1 < end ? block + 1 : (s + simds) * a.blocks;
                const uint later = block + HELD(TILES) < end ? block + HELD(TILES) : (s + simds) * a.blocks + b;
                if (ROWS <= 4 && next < last) fetch<ROWS>(a, in, x, rows, next, lane);
                UNROLL for (uint t = 0; t < TILES; t++) {
                    multiply(sums, t, taken, held[b][t], lane);
                    if (later < last) octets(a, held[b][t], row[t], row_scales[t], later, lane);
                }
                if (ROWS > 4 && next < last) fetch<ROWS>(a, in, x, rows, next, lane);
            }
        }
        gather(sums, parts + s * SUMS, lane);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = thread_index; i < SUMS; i += simds * 32) {
        const uint y = i / OUTPUTS, z = output + i % OUTPUTS;
        if (y >= rows || z >= a.outputs) continue;
        const ulong at = ulong(first + y) * a.outputs + z;
        const bool held_before = i == thread_index;
        const float bias_of = held_before ? offset : a.bias != 0 ? bias[z] : 0.0f;
        const float earlier = held_before ? before : a.residual != 0 ? residual[at] : 0.0f;
        dst[at] = activate(total(parts + i, a.slices, SUMS) + bias_of, a.act) + earlier;
    }
}

#ifdef MK_FRAGMENTS
#define ROWS_q4(ROWS) HalfRows<ROWS, 1, true>
#define ROWS_q8(ROWS) HalfRows<ROWS, 1, false>
#define ROWS_f16(ROWS) HalfRows<ROWS, 2, false>
#define SUMS_q4 FragmentSums
#define SUMS_q8 FragmentSums
#define SUMS_f16 FragmentSums
#else
#define ROWS_q4(ROWS) Rows<ROWS>
#define ROWS_q8(ROWS) Rows<ROWS>
#define ROWS_f16(ROWS) Rows<ROWS>
#define SUMS_q4 RowSums
#define SUMS_q8 RowSums
#define SUMS_f16 RowSums
#endif
#define ROWS_f32(ROWS) Rows<ROWS>
#define SUMS_f32 RowSums

#define LINEAR(name, Q, ROWS, TILES) \
    kernel void linear_##name##_##ROWS##x##TILES( \
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
        TG_ARRAY(float, parts, SLICES * ROWS * TILES * 8); \
        TG_ARRAY(float2, norms, SLICES * ROWS); \
        linear_rows<Q, ROWS_##name(ROWS), SUMS_##name<ROWS, TILES>, ROWS, TILES>( \
            a, w, scales, x, weight, shift, bias, residual, dst, parts, norms, group, thread_index, simd, simds, lane); \
    }

// One tile where a weight has few outputs, so that all cores have some; four where it has many, for fewer reads of x.
#define LINEAR_ALL(name, Q) \
    LINEAR(name, Q, 1, 1) LINEAR(name, Q, 1, 2) LINEAR(name, Q, 1, 4) \
    LINEAR(name, Q, 2, 1) LINEAR(name, Q, 2, 2) LINEAR(name, Q, 2, 4) \
    LINEAR(name, Q, 4, 1) LINEAR(name, Q, 4, 2) LINEAR(name, Q, 4, 4) \
    LINEAR(name, Q, 8, 1) LINEAR(name, Q, 8, 2) LINEAR(name, Q, 8, 4) \
    LINEAR(name, Q, 16, 1) LINEAR(name, Q, 16, 2)

LINEAR_ALL(f32, OctetsF32)
LINEAR_ALL(f16, OctetsF16)
LINEAR_ALL(q8, OctetsQ8)
LINEAR_ALL(q4, OctetsQ4)

// row_slices are the moments of a row by one simdgroup, with the bits that normalise finds by many.
static inline Moments row_slices(constant LinearArgs& a, device const float* x, threadgroup float2* slices, uint lane) {
    for (uint s = 0; s < a.slices; s++) {
        RowShare<1> in;
        fetch<1>(a, in, x, 1, s, lane);
        const float2 of = slice_moments<1>(a, in, 0, s, lane);
        if (lane == 0) slices[s] = of;
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
    return joined<1>(a, slices, 1, lane);
}

// linear_normalise: a few rows of x, normalised and filled up with zeros, for kernels above that cannot do so themselves. One
// simdgroup per row.
kernel void linear_normalise(
    constant LinearArgs& a [[buffer(0)]],
    device const float* x [[buffer(1)]],
    device const float* weight [[buffer(2)]],
    device const float* shift [[buffer(3)]],
    device float* dst [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    TG_ARRAY(float2, slices, PREPARED * SLICES);
    const uint row = group * simds + simd;
    if (row >= a.rows) return;
    device const float* from = x + ulong(row) * a.inputs;
    Moments m = moments_of(0.0f, 1.0f);
    if (a.norm != NORM_NONE && a.blocks == 1 && a.vector != 0) m = row_slices(a, from, slices + simd * SLICES, lane);
    else if (a.norm != NORM_NONE) m = row_moments(from, a.inputs, a.norm, a.epsilon, a.vector, lane);
    for (uint k = 4 * lane; k < a.padded; k += BLOCK) {
        float4 v = float4(0.0f);
        if (k < a.inputs) {
            v = load4(from, k, a.inputs, a.vector);
            const float4 b = a.norm == NORM_LAYER ? load4(shift, k, a.inputs, a.vector) : float4(0.0f);
            if (a.norm != NORM_NONE) v = normalise4(v, m, load4(weight, k, a.inputs, a.vector), b);
        }
        *reinterpret_cast<device float4*>(dst + ulong(row) * a.padded + k) = v;
    }
}

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
    return packet(P(), w + n * a.pitch, scales + n * a.groups, k + e % (TILE_INPUTS / V) * V);
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
