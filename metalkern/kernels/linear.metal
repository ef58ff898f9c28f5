// Linear of up to 48 rows: dst[r] = act(norm(x[r])·Wᵀ + bias) + residual[r].
//
//	linear_<weight>_<rows>x<panels>   a simdgroup multiplies <rows> rows with <panels> of 8 outputs, in a slice of their inputs,
//	                                  then with the next; its threadgroup, which has all slices, adds them
//
// A sum's order depends on K and the weight's kind, not on <rows> or <panels>. linear_tile.metal has the kernels for more rows.

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

// Octets are a lane's octets of a row of W in a block. Scales stay as they were read, two in a word: whoever made floats of
// them at once would wait for memory there.
struct OctetsQ4 { uint words[GROUPS]; uint2 scales; };
struct OctetsQ8 { uint2 words[GROUPS]; uint2 scales; };
struct OctetsF16 { uint4 words[GROUPS]; };
struct OctetsF32 { float4 values[GROUPS][2]; };

// A Place is where a lane's octets and scales of a panel begin. In panels the eight rows' octets of a group are neighbours.
struct Place { device const uchar* octets; device const half* scales; };

static inline bool in_panels(thread const OctetsQ4&) { return true; }
static inline bool in_panels(thread const OctetsQ8&) { return true; }
static inline bool in_panels(thread const OctetsF16&) { return false; }
static inline bool in_panels(thread const OctetsF32&) { return false; }
static inline uint octet_bytes(thread const OctetsQ4&) { return 4; }
static inline uint octet_bytes(thread const OctetsQ8&) { return 8; }
static inline uint octet_bytes(thread const OctetsF16&) { return 16; }
static inline uint octet_bytes(thread const OctetsF32&) { return 32; }

// place is that of the panel of which output is the first.
template <class Q>
static inline Place place(thread const Q& o, constant LinearArgs& a, device const uchar* w, device const half* scales, uint output, uint lane) {
    Place p;
    p.octets = w + ulong(output) * a.pitch + (in_panels(o) ? lane : lane % 4) * octet_bytes(o);
    if (!in_panels(o)) p.octets += lane / 4 * a.pitch;
    p.scales = scales + ulong(output) * a.groups + GROUPS * (lane / 4);
    return p;
}

// ahead is the place of as many outputs, whole panels, further on.
static inline Place ahead(constant LinearArgs& a, Place p, uint outputs) {
    p.octets += outputs * a.pitch;
    p.scales += outputs * a.groups;
    return p;
}

// octet reads the g-th of a block that begins at first.
static inline void octet(thread OctetsQ4& o, uint g, device const uchar* first, bool there) {
    o.words[g] = there ? *reinterpret_cast<device const uint*>(first + 128 * g) : 0;
}
static inline void octet(thread OctetsQ8& o, uint g, device const uchar* first, bool there) {
    o.words[g] = there ? *reinterpret_cast<device const uint2*>(first + 256 * g) : uint2(0);
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

// panels reads a block of some panels, of which output is the first, as far as there are such.
template <uint PANELS, class Q>
static inline void panels(constant LinearArgs& a, thread Q (&o)[PANELS], Place p, uint output, uint block, uint lane) {
    UNROLL for (uint t = 0; t < PANELS; t++) {
        if (!even(a, EVEN_OUTPUTS) && output + 8 * t >= a.outputs) return;
        const bool there = in_panels(o[t]) || even(a, EVEN_OUTPUTS) || output + 8 * t + lane / 4 < a.outputs;
        device const uchar* first = p.octets + GROUPS * (in_panels(o[t]) ? 32 : 4) * octet_bytes(o[t]) * block;
        if (there && (even(a, EVEN_INPUTS) || (block + 1) * BLOCK <= a.padded)) {
            UNROLL for (uint g = 0; g < GROUPS; g++) octet(o[t], g, first, true);
        } else {
            UNROLL for (uint g = 0; g < GROUPS; g++) octet(o[t], g, first, there && block * BLOCK + 32 * g < a.padded);
        }
        scale(o[t], p.scales + 8 * GROUPS * block);
        p = ahead(a, p, 8);
    }
}

// values are four of octet g.
static inline float scale_at(uint2 scales, uint g) { const half2 two = as_type<half2>(scales[g / 2]); return float(two[g % 2]); }
static inline float4 values(OctetsQ4 o, uint g, uint h) { return four_of_4_bits(o.words[g] >> (16 * h), scale_at(o.scales, g)); }
static inline float4 values(OctetsQ8 o, uint g, uint h) { return four_of_8_bits(o.words[g][h], scale_at(o.scales, g)); }
static inline float4 values(OctetsF16 o, uint g, uint h) { return four_halves(o.words[g][2 * h], o.words[g][2 * h + 1]); }
static inline float4 values(OctetsF32 o, uint g, uint h) { return o.values[g][h]; }

// A norm share is the norm's weights of one of a lane's pieces.
struct NormShare { float4 weight[2]; float4 shift[2]; };

static inline void fetch_norm(constant LinearArgs& a, thread NormShare& norm, device const float* weight, device const float* shift, uint k) {
    UNROLL for (uint h = 0; h < 2; h++) {
        const bool there = even(a, EVEN_INPUTS) || k + 4 * h < a.inputs;
        norm.weight[h] = there ? *reinterpret_cast<device const float4*>(weight + k + 4 * h) : float4(0.0f);
        norm.shift[h] = there && a.norm == NORM_LAYER ? *reinterpret_cast<device const float4*>(shift + k + 4 * h) : float4(0.0f);
    }
}

// normalise gives a share of a slice of one block its norm, together with the threadgroup's other slices. The norm's weights
// are those of the first piece; of all, registers are too few.
template <uint ROWS>
static inline void normalise(
    constant LinearArgs& a, thread RowShare<ROWS>& in, thread NormShare& norm, device const float* weight, device const float* shift,
    threadgroup float2* norms, uint slice, uint lane)
{
    const uint row = lane / 4 % OF_SET(ROWS);
    UNROLL for (uint s = 0; s < SETS(ROWS); s++) {
        const float2 of = slice_moments<ROWS>(a, in, s, slice, lane);
        if (lane % 4 == 0 && lane / 4 < OF_SET(ROWS)) norms[slice * ROWS + 8 * s + row] = of;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    Moments m[SETS(ROWS)];
    UNROLL for (uint s = 0; s < SETS(ROWS); s++) m[s] = joined<ROWS>(a, norms + 8 * s + row, ROWS, lane);
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        if (p > 0) fetch_norm(a, norm, weight, shift, first_input<ROWS>(slice, lane) + 32 * p);
        UNROLL for (uint s = 0; s < SETS(ROWS); s++) {
            UNROLL for (uint h = 0; h < 2; h++) in.x[s][p][h] = normalise4(in.x[s][p][h], m[s], norm.weight[h], norm.shift[h]);
        }
    }
}

// What is multiplied, and the sums, are these everywhere but where what stands before this text brings its own for weights
// of up to 16 bits, because the GPU multiplies small matrices. Sums are a lane's own inputs' until gather.
template <uint ROWS> struct Rows { RowShare<ROWS> share; };
template <uint ROWS, uint PANELS> struct RowSums { float of[PANELS * ROWS]; };

template <uint ROWS, uint PANELS> static inline void clear(thread RowSums<ROWS, PANELS>& sums) {
    UNROLL for (uint i = 0; i < PANELS * ROWS; i++) sums.of[i] = 0.0f;
}

template <uint ROWS> static inline void take(thread Rows<ROWS>& rows, RowShare<ROWS> share, uint) { rows.share = share; }

// lane_of is the lane that has a row's piece of a group.
template <uint ROWS> static inline ushort lane_of(uint row, uint group, uint lane) {
    return ushort((row + OF_SET(ROWS) * (group / PIECES(ROWS))) * 4 + lane % 4);
}

// multiply adds the products of a block of x with one of each panel of W.
template <uint ROWS, uint PANELS, class Q>
static inline void multiply(thread RowSums<ROWS, PANELS>& sums, Rows<ROWS> rows, thread const Q (&w)[PANELS], uint lane) {
    UNROLL for (uint i = 0; i < PANELS * GROUPS; i++) {
        const uint panel = i / GROUPS, g = i % GROUPS;
        const float4 first = values(w[panel], g, 0), second = values(w[panel], g, 1);
        UNROLL for (uint r = 0; r < ROWS; r++) {
            const ushort from = lane_of<ROWS>(r % 8, g, lane);
            const float4 x = simd_shuffle(rows.share.x[r / 8][g % PIECES(ROWS)][0], from);
            const float4 y = simd_shuffle(rows.share.x[r / 8][g % PIECES(ROWS)][1], from);
            float sum = sums.of[panel * ROWS + r];
            sum = fma(first.w, x.w, fma(first.z, x.z, fma(first.y, x.y, fma(first.x, x.x, sum))));
            sums.of[panel * ROWS + r] = fma(second.w, y.w, fma(second.z, y.z, fma(second.y, y.y, fma(second.x, y.x, sum))));
        }
    }
}

// gather adds the sums of the four lanes of an output, each of which is left with some, and puts them at to: [row][output].
template <uint ROWS, uint PANELS> static inline void gather(RowSums<ROWS, PANELS> sums, threadgroup float* to, uint lane) {
    const uint N = PANELS * ROWS;
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
        if (lane % ((3 + N) / N) == 0) to[sum % ROWS * PANELS * 8 + sum / ROWS * 8 + lane / 4] = sums.of[i];
    }
}

// total adds the slices of a sum, every step-th number.
static inline float total(threadgroup const float* sums, uint slices, uint step) {
    float of[SLICES], sum = 0.0f; // all on their way before one is needed
    UNROLL for (uint s = 0; s < SLICES; s++) of[s] = s < slices ? sums[s * step] : 0.0f;
    UNROLL for (uint s = 0; s < SLICES; s++) sum = s < slices ? sum + of[s] : sum;
    return sum;
}

// A threadgroup goes through its panels in rounds of <panels>, and finishes as many rounds at once as it has memory for the sums
// of, 16 KiB.
#define BATCH(ROWS, PANELS) ((ROWS) * (PANELS) > 16 ? 1 : 32 / ((ROWS) * (PANELS)))

// A sum is where number i of a batch goes, of which output is the first.
struct Sum { uint row; uint output; };
template <uint ROWS, uint OUTPUTS> static inline Sum sum_of(uint first, uint output, uint i) {
    const uint round = i / (ROWS * OUTPUTS), in_round = i % (ROWS * OUTPUTS);
    Sum s;
    s.row = first + in_round / OUTPUTS;
    s.output = output + round * OUTPUTS + in_round % OUTPUTS;
    return s;
}

static inline bool exists(constant LinearArgs& a, Sum s) {
    return (even(a, EVEN_ROWS) || s.row < a.rows) && (even(a, EVEN_OUTPUTS) || s.output < a.outputs);
}

// An addend is what goes onto a sum, and does not wait for it: a thread has that of its first one ready. What another
// threadgroup writes is not looked at.
struct Addend { float bias; float residual; };
static inline Addend addend(constant LinearArgs& a, device const float* bias, device const float* residual, Sum s, bool mine) {
    const bool there = mine && exists(a, s);
    Addend add;
    add.bias = there && a.bias != 0 ? bias[s.output] : 0.0f;
    add.residual = there && a.residual != 0 ? residual[ulong(s.row) * a.outputs + s.output] : 0.0f;
    return add;
}

// finish_rows adds the slices of a batch's sums, and what goes onto them.
template <uint ROWS, uint OUTPUTS>
static inline void finish_rows(
    constant LinearArgs& a, threadgroup const float* parts, device const float* bias, device const float* residual, Addend add,
    device float* dst, uint first, uint output, uint rounds, uint thread_index, uint threads)
{
    const uint SUMS = ROWS * OUTPUTS;
    ROLLED for (uint i = thread_index; i < rounds * SUMS; i += threads) {
        const Sum s = sum_of<ROWS, OUTPUTS>(first, output, i);
        if (i != thread_index) add = addend(a, bias, residual, s, true);
        if (!exists(a, s)) continue;
        const float sum = total(parts + i / SUMS * (SLICES * SUMS) + i % SUMS, a.slices, SUMS);
        dst[ulong(s.row) * a.outputs + s.output] = activate(sum + add.bias, a.act) + add.residual;
        if (rounds * SUMS <= threads) break;
    }
}

// SHARES blocks of x are under way where a slice has more than one: as many as of W where rows are few.
#define SHARES(ROWS, HELD) ((ROWS) > 2 ? 1 : (HELD))

// slices_of_rows multiplies what a simdgroup has in a round, where that is more than one block, and gathers the sums of each slice.
template <class Q, class X, class S, uint ROWS, uint PANELS, uint HELD>
static inline void slices_of_rows(
    constant LinearArgs& a, thread Q (&held)[HELD][PANELS], Place first, thread RowShare<ROWS> (&in)[SHARES(ROWS, HELD)],
    device const float* x, uint rows, uint output, threadgroup float* parts, uint simd, uint simds, uint lane)
{
    const uint last = (a.padded + BLOCK - 1) / BLOCK;
    const bool alone = a.slices <= simds; // the slice of a simdgroup
    ROLLED for (uint s = simd; s < a.slices; s += simds) {
        const uint begin = s * a.blocks, end = even(a, EVEN_INPUTS) ? begin + a.blocks : min(begin + a.blocks, last);
        S sums;
        clear(sums);
        ROLLED for (uint base = begin; base < end; base += HELD) {
            UNROLL for (uint b = 0; b < HELD; b++) {
                const uint block = base + b;
                if (block >= end) break;
                X taken;
                const uint share = b % SHARES(ROWS, HELD);
                take(taken, in[share], lane);
                // Those after it of the slice, or of the simdgroup's next one.
                const uint next_slice = alone ? last : (s + simds) * a.blocks;
                const uint next = block + SHARES(ROWS, HELD) < end ? block + SHARES(ROWS, HELD) : next_slice + share;
                const uint later = block + HELD < end ? block + HELD : next_slice + b;
                if (ROWS <= 4 && next < last) fetch<ROWS>(a, in[share], x, rows, next, lane);
                multiply(sums, taken, held[b], lane);
                if (later < last) panels(a, held[b], first, output, later, lane);
                if (ROWS > 4 && next < last) fetch<ROWS>(a, in[share], x, rows, next, lane);
            }
        }
        gather(sums, parts + s * (ROWS * PANELS * 8), lane);
        if (alone) break;
    }
}

template <class Q, class X, class S, uint ROWS, uint PANELS, uint HELD>
static inline void linear_rows(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const float* x, device const float* weight,
    device const float* shift, device const float* bias, device const float* residual, device float* dst,
    threadgroup float* parts, threadgroup float2* norms, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    static_assert(BATCH(ROWS, PANELS) % HELD == 0, "a batch would begin with other weights than held[0]");
    const uint OUTPUTS = 8 * PANELS, SUMS = ROWS * OUTPUTS;
    // Threadgroups of the same outputs come one after the other, so that only the first reads W from memory. Where there is one,
    // its first row is a number that a compiler can know.
    const uint first = a.rows <= ROWS ? 0 : group.x * ROWS, rows = even(a, EVEN_ROWS) ? ROWS : min(ROWS, a.rows - first);
    uint output = group.y * a.rounds * OUTPUTS;
    x += ulong(first) * a.stride;

    // Weights do not wait for x: of one block of x, which the simdgroup keeps, those of HELD rounds; otherwise there is one round,
    // and they are those of HELD blocks.
    const bool one = a.blocks == 1 && a.slices <= simds;
    const uint begin = simd * a.blocks, blocks = even(a, EVEN_INPUTS) ? a.blocks : min(a.blocks, (a.padded + BLOCK - 1) / BLOCK - begin);
    const bool whole = even(a, EVEN_OUTPUTS);
    uint left = whole ? a.rounds : min(a.rounds, (a.outputs - output + OUTPUTS - 1) / OUTPUTS);
    uint rounds = min(left, uint(BATCH(ROWS, PANELS)));
    Q held[HELD][PANELS];
    Place next = place(held[0][0], a, w, scales, output, lane);
    UNROLL for (uint h = 0; h < HELD; h++) {
        if (h >= (one ? left : blocks)) break;
        panels(a, held[h], next, output + (one ? h * OUTPUTS : 0), begin + (one ? 0 : h), lane);
        if (one) next = ahead(a, next, OUTPUTS);
    }
    NormShare norm;
    if (a.norm != NORM_NONE) fetch_norm(a, norm, weight, shift, first_input<ROWS>(simd, lane));
    AFTER_EARLIER;
    RowShare<ROWS> in[SHARES(ROWS, HELD)];
    UNROLL for (uint i = 0; i < SHARES(ROWS, HELD); i++) {
        if (i == 0 || (!one && i < blocks)) fetch<ROWS>(a, in[i], x, rows, begin + i, lane);
    }
    Addend add = addend(a, bias, residual, sum_of<ROWS, OUTPUTS>(first, output, thread_index), thread_index < rounds * SUMS);
    if (a.norm != NORM_NONE) normalise<ROWS>(a, in[0], norm, weight, shift, norms, simd, lane);

    X taken;
    if (one) take(taken, in[0], lane);
    else slices_of_rows<Q, X, S, ROWS, PANELS, HELD>(a, held, next, in, x, rows, output, parts, simd, simds, lane);
    ROLLED for (;;) {
        ROLLED for (uint base = 0; one && base < rounds; base += HELD) {
            UNROLL for (uint h = 0; h < HELD; h++) {
                const uint i = base + h;
                if (i >= rounds) break;
                S sums;
                clear(sums);
                multiply(sums, taken, held[h], lane);
                if (i + HELD < left) panels(a, held[h], next, output + (i + HELD) * OUTPUTS, begin, lane);
                next = ahead(a, next, OUTPUTS);
                gather(sums, parts + (i * SLICES + simd) * SUMS, lane);
            }
            if (whole && a.rounds <= HELD) break;
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        finish_rows<ROWS, OUTPUTS>(a, parts, bias, residual, add, dst, first, output, rounds, thread_index, simds * 32);
        if ((whole && a.rounds <= BATCH(ROWS, PANELS)) || left == rounds) break;
        left -= rounds;
        output += rounds * OUTPUTS;
        rounds = min(left, rounds);
        add = addend(a, bias, residual, sum_of<ROWS, OUTPUTS>(first, output, thread_index), thread_index < rounds * SUMS);
        threadgroup_barrier(mem_flags::mem_threadgroup); // the sums have been read
    }
}

// HELD is how many panels, or sets of two, are under way: as many as registers allow, where that was timed.
#ifdef MK_FRAGMENTS
#define ROWS_q4(ROWS) HalfRows<ROWS, 1, true>
#define ROWS_q8(ROWS) HalfRows<ROWS, 1, false>
#define ROWS_f16(ROWS) HalfRows<ROWS, 2, false>
#define SUMS_q4 FragmentSums
#define SUMS_q8 FragmentSums
#define SUMS_f16 FragmentSums
#define HELD_q4(ROWS, PANELS) ((ROWS) > 8 ? 1 : 2)
#define HELD_f16(ROWS, PANELS) ((ROWS) > 8 || (PANELS) > 1 ? 1 : 2)
#else
#define ROWS_q4(ROWS) Rows<ROWS>
#define ROWS_q8(ROWS) Rows<ROWS>
#define ROWS_f16(ROWS) Rows<ROWS>
#define SUMS_q4 RowSums
#define SUMS_q8 RowSums
#define SUMS_f16 RowSums
#define HELD_q4(ROWS, PANELS) ((PANELS) > 1 ? 1 : 2)
#define HELD_f16(ROWS, PANELS) ((PANELS) > 1 ? 1 : 2)
#endif
#define HELD_q8(ROWS, PANELS) HELD_q4(ROWS, PANELS)
#define ROWS_f32(ROWS) Rows<ROWS>
#define SUMS_f32 RowSums
#define HELD_f32(ROWS, PANELS) ((PANELS) > 1 ? 1 : 2)

#define LINEAR(name, Q, ROWS, PANELS) \
    kernel void linear_##name##_##ROWS##x##PANELS( \
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
        TG_ARRAY(float, parts, BATCH(ROWS, PANELS) * SLICES * ROWS * PANELS * 8); \
        TG_ARRAY(float2, norms, SLICES * ROWS); \
        linear_rows<Q, ROWS_##name(ROWS), SUMS_##name<ROWS, PANELS>, ROWS, PANELS, HELD_##name(ROWS, PANELS)>( \
            a, w, scales, x, weight, shift, bias, residual, dst, parts, norms, group, thread_index, simd, simds, lane); \
    }

// Two panels, but one where a weight has few outputs, so that all cores have some.
#define LINEAR_ALL(name, Q) \
    LINEAR(name, Q, 1, 1) LINEAR(name, Q, 1, 2) \
    LINEAR(name, Q, 2, 1) LINEAR(name, Q, 2, 2) \
    LINEAR(name, Q, 4, 1) LINEAR(name, Q, 4, 2) \
    LINEAR(name, Q, 8, 1) LINEAR(name, Q, 8, 2) \
    LINEAR(name, Q, 16, 1) LINEAR(name, Q, 16, 2)

LINEAR_ALL(f32, OctetsF32)
LINEAR_ALL(f16, OctetsF16)
LINEAR_ALL(q8, OctetsQ8)
LINEAR_ALL(q4, OctetsQ4)
