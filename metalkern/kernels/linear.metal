// Linear: dst[r] = act(norm(x[r])·Wᵀ + bias) + residual[r], in two ways, by the number of rows alone:
//
//	up to 48   linear_<weight>_<rows>x<panels>: a simdgroup multiplies <rows> rows with <panels> of 8 outputs, in a slice of
//	           their inputs, then with the next; its threadgroup, which has all slices, adds them
//	more       linear_prepare_<number>, then linear_tile_<weight>_<rows>x<outputs>: so many of each, by small matrices
//
// W is as metalkern's matrix.go lays it out: rows filled up with zeros to whole groups of 32 inputs, those of 8 and 4 bits in
// panels. A sum's order depends on K and the weight's kind, not on <rows> or <panels>.

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
    uint wide;                // bias, residual and dst may be read and written four outputs at a time
    uint parts;               // of a number of a tile's x: 1, or 2 halves
    uint rounds;              // of its panels that a threadgroup goes through
    uint even;                // what of a product with few rows leaves no rest: see EVEN_…
};

// Whoever knows these need not look where something ends. They are facts about K, the outputs and the rows: K is whole blocks, and
// whole slices; outputs are whole rounds of all threadgroups, rows whole sets of a kernel's.
#define EVEN_INPUTS 1
#define EVEN_OUTPUTS 2
#define EVEN_ROWS 4
static inline bool even(constant LinearArgs& a, uint what) { return (SETTLED(a.even) & what) != 0; }

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
#define SLICES 16 // at most

// Lane l has, of each group, inputs 8·(l%4) to 8·(l%4)+7 of row l/4 of a panel of W: its octet. Of x it has the same inputs,
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
                in.x[s][p][h] = even(a, EVEN_INPUTS) || k + next < a.inputs ? *reinterpret_cast<device const float4*>(first + next) : float4(0.0f);
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

// deviations are the sums of x − pivot and of its square, over the inputs of a block.
template <uint ROWS> static inline float2 deviations(constant LinearArgs& a, RowShare<ROWS> in, uint set, uint block, float pivot, uint lane) {
    float sums[PIECES(ROWS)], squares[PIECES(ROWS)];
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        sums[p] = squares[p] = 0.0f;
        UNROLL for (uint h = 0; h < 2; h++) {
            const uint k = first_input<ROWS>(block, lane) + 32 * p + 4 * h;
            const float4 d = even(a, EVEN_INPUTS) || k < a.inputs ? in.x[set][p][h] - pivot : float4(0.0f);
            UNROLL for (uint i = 0; i < 4; i++) {
                sums[p] += d[i];
                squares[p] = fma(d[i], d[i], squares[p]);
            }
        }
    }
    const float sum = sum_over_row<ROWS>(sums);
    return float2(sum, sum_over_row<ROWS>(squares));
}

static inline uint begin_of(constant LinearArgs& a, uint slice) { return slice * a.blocks * BLOCK; }
static inline uint inputs_of(constant LinearArgs& a, uint slice) {
    return even(a, EVEN_INPUTS) ? a.blocks * BLOCK : min(a.blocks * BLOCK, a.inputs - begin_of(a, slice));
}

// Moments take one walk: sums are of what is apart from a pivot, which is one of the numbers summed. So a row far from zero
// keeps its digits, and the squares about the mean, at least the pivot's own, are no small rest of larger numbers. Slices do
// not wait for the row's mean. Both after Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
// Sample Variances", 1979.

// slice_moments are the mean of a slice of one block and the sum of squares about it.
template <uint ROWS> static inline float2 slice_moments(constant LinearArgs& a, RowShare<ROWS> in, uint set, uint slice, uint lane) {
    if (a.norm != NORM_LAYER) return float2(0.0f, deviations<ROWS>(a, in, set, slice, 0.0f, lane).y);
    const float pivot = simd_shuffle(in.x[set][0][0].x, ushort(lane / 4 % OF_SET(ROWS) * 4));
    const float2 d = deviations<ROWS>(a, in, set, slice, pivot, lane);
    const uint count = a.inputs - slice * BLOCK;
    const float mean = even(a, EVEN_INPUTS) || count >= BLOCK ? d.x * (1.0f / BLOCK) : d.x / float(count);
    return float2(pivot + mean, max(fma(-d.x, mean, d.y), 0.0f));
}

// joined makes a row's moments of its slices'. The lanes of the row share out the slices as they do the octets of a block.
template <uint ROWS> static inline Moments joined(constant LinearArgs& a, threadgroup const float2* slices, uint step, uint lane) {
    const float pivot = slices[0].x;
    float sums[PIECES(ROWS)], squares[PIECES(ROWS)];
    UNROLL for (uint p = 0; p < PIECES(ROWS); p++) {
        const uint s = 4 * (first_group<ROWS>(lane) + p) + lane % 4;
        const bool there = s < a.slices;
        const float2 of = there ? slices[s * step] : float2(0.0f);
        const float d = of.x - pivot, count = float(inputs_of(a, s));
        sums[p] = there ? d * count : 0.0f;
        squares[p] = there ? fma(d * d, count, of.y) : 0.0f;
    }
    const float sum = sum_over_row<ROWS>(sums), apart = sum * a.inverse;
    const float square = max(fma(-sum, apart, sum_over_row<ROWS>(squares)), 0.0f);
    return moments_of(pivot + apart, rsqrt(fma(square, a.inverse, a.epsilon)));
}

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

// linear_prepare: the rows of x, normalised, in the number that tiles multiply, filled up with zeros. Halves are scaled by a
// power of two to a largest magnitude in [2¹⁴, 2¹⁵), so that no input is too large or too small for them; unscale undoes it.
// Beside weights that are exact in halves what the first half rounds away follows in a second, after all rows' first; beside
// coarser weights it would be nothing.
//
// A threadgroup has one row, and reads it once: each simdgroup holds one slice. Where slices are more or larger, or may
// not be read four at a time, it reads them again where it needs them.
#define ROW_BLOCKS 4 // of a slice that are held

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

// settle finds the row's moments, with the bits of normalise where that has slices of one block too, and normalises what is held.
static inline void settle(constant LinearArgs& a, thread Row& row, threadgroup float2* slices, uint simd, uint simds, uint lane) {
    ROLLED for (uint slice = simd; slice < a.slices; slice += simds) {
        float2 of = float2(0.0f);
        if (a.blocks == 1 && a.vector != 0) {
            RowShare<1> in;
            fetch<1>(a, in, row.x, 1, slice, lane);
            of = slice_moments<1>(a, in, 0, slice, lane);
        } else {
            if (a.norm == NORM_LAYER) of.x = slice_sum(a, row, slice, 0.0f, false, lane) / float(inputs_of(a, slice));
            of.y = slice_sum(a, row, slice, of.x, true, lane);
        }
        if (lane == 0) slices[slice] = of;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    row.moments = joined<1>(a, slices, 1, lane);
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
    if (a.parts == 1) return;
    UNROLL for (uint i = 0; i < 4; i++) {
        const T most = T(v[i]); // one by one: of four together a compiler kept the digits that are to be lost
        rest[k + i] = T(v[i] - float(most));
    }
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

// linear_tile_<weight>_<rows>x<outputs>: a threadgroup's tile, by small matrices. A step multiplies 64 bytes of each row: 32
// halves or 16 floats, in pieces of 16 bytes. While matrices multiply a step out of one buffer in threadgroup memory, the next
// step is placed in the other; the two after it are on their way into registers. Each simdgroup has 32 rows by 32 outputs, and
// all together 64 outputs at once, because there is no room for more. The order of sums is that of K, whatever the tile.
#define TILE_OUTPUTS 64 // at once
#define TILE_PIECES 4   // of a row in a step
#define TILE_STRIDE 5   // pieces of a row in threadgroup memory: eight rows meet in no memory bank
#define TILE_AHEAD 2    // steps in registers

// Packets are what becomes a piece of W. Scales stay as they were read: whoever made floats of them at once would wait for
// memory there.
struct PacketQ4 { uint word; half scale; };
struct PacketQ8 { uint2 words; half scale; };
struct PacketPlain { uint4 words; };

// numbers_from and scales_from are where a row of W and its scales begin.
static inline ulong numbers_from(PacketQ4, constant LinearArgs& a, uint row) { return row_in_panels(row, a.pitch, 16); }
static inline ulong numbers_from(PacketQ8, constant LinearArgs& a, uint row) { return row_in_panels(row, a.pitch, 32); }
static inline ulong numbers_from(PacketPlain, constant LinearArgs& a, uint row) { return ulong(row) * a.pitch; }
static inline ulong scales_from(PacketQ4, constant LinearArgs& a, uint row) { return scales_in_panels(row, a.groups); }
static inline ulong scales_from(PacketQ8, constant LinearArgs& a, uint row) { return scales_in_panels(row, a.groups); }
static inline ulong scales_from(PacketPlain, constant LinearArgs&, uint) { return 0; }

// packet reads piece n of the row of W that begins at row, whose scales begin at scales.
static inline PacketQ4 packet(PacketQ4 p, device const uchar* row, device const half* scales, uint n) {
    p.word = *reinterpret_cast<device const uint*>(row + n / 4 * 128 + n % 4 * 4);
    p.scale = scales[scale_in_panels(n / 4)];
    return p;
}
static inline PacketQ8 packet(PacketQ8 p, device const uchar* row, device const half* scales, uint n) {
    p.words = *reinterpret_cast<device const uint2*>(row + n / 4 * 256 + n % 4 * 8);
    p.scale = scales[scale_in_panels(n / 4)];
    return p;
}
static inline PacketPlain packet(PacketPlain p, device const uchar* row, device const half*, uint n) {
    p.words = *reinterpret_cast<device const uint4*>(row + 16 * n);
    return p;
}

#ifndef MK_TILE_UNITS
// small_halves are two small integers, the lower bits of halves in [1024, 2048), less what stands above them, times scale.
static inline half2 small_halves(uint word, uint mask, uint less, half2 scale) {
    return (as_type<half2>((word & mask) | 0x64006400u) - as_type<half2>(less)) * scale;
}
static inline uint firsts(half2 a, half2 b) { return as_type<uint>(half2(a.x, b.x)); }
static inline uint seconds(half2 a, half2 b) { return as_type<uint>(half2(a.y, b.y)); }

static inline uint4 eight_of_4_bits(uint word, half factor) {
    const half2 scale = half2(factor);
    const uint mask = 0x000f000fu, less = 0x64086408u; // 1024 + 8
    const half2 a = small_halves(word, mask, less, scale), b = small_halves(word >> 4, mask, less, scale);
    const half2 c = small_halves(word >> 8, mask, less, scale), d = small_halves(word >> 12, mask, less, scale);
    return uint4(firsts(a, b), firsts(c, d), seconds(a, b), seconds(c, d));
}
static inline uint2 four_of_bytes(uint word, half2 scale) {
    const uint w = word ^ 0x80808080u, mask = 0x00ff00ffu, less = 0x64806480u; // 1024 + 128
    const half2 a = small_halves(w, mask, less, scale), b = small_halves(w >> 8, mask, less, scale);
    return uint2(firsts(a, b), seconds(a, b));
}
static inline uint4 eight_of_8_bits(uint first, uint second, half factor) {
    const half2 scale = half2(factor);
    const uint2 a = four_of_bytes(first, scale), b = four_of_bytes(second, scale);
    return uint4(a.x, a.y, b.x, b.y);
}
#endif

static inline uint4 piece(PacketQ4 p) { return eight_of_4_bits(p.word, p.scale); }
static inline uint4 piece(PacketQ8 p) { return eight_of_8_bits(p.words.x, p.words.y, p.scale); }
static inline uint4 piece(PacketPlain p) { return p.words; }

// A quarter is 32 rows by 32 outputs in a simdgroup's registers.
struct Quarter { simdgroup_matrix<float, 8, 8> sums[4][4]; };

static inline void clear(thread Quarter& q) {
    UNROLL for (uint i = 0; i < 4; i++) {
        UNROLL for (uint j = 0; j < 4; j++) q.sums[i][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
    }
}

// multiply adds the products of a step: 32 rows from x on with 32 rows from w on.
template <class T> static inline void multiply(thread Quarter& q, threadgroup const T* x, threadgroup const T* w, uint stride) {
    UNROLL for (uint k = 0; k < TILE_PIECES * 16 / sizeof(T); k += 8) {
        simdgroup_matrix<T, 8, 8> left[4], right[4];
        UNROLL for (uint i = 0; i < 4; i++) simdgroup_load(left[i], x + 8 * i * stride + k, stride);
        UNROLL for (uint j = 0; j < 4; j++) simdgroup_load(right[j], w + 8 * j * stride + k, stride, ulong2(0, 0), true);
        UNROLL for (uint i = 0; i < 4; i++) {
            UNROLL for (uint j = 0; j < 4; j++) simdgroup_multiply_accumulate(q.sums[i][j], left[i], right[j], q.sums[i][j]);
        }
    }
}

// strip puts rows 8·i… of a quarter at to.
static inline void strip(thread Quarter& q, uint i, threadgroup float* to, uint stride) {
    UNROLL for (uint j = 0; j < 4; j++) simdgroup_store(q.sums[i][j], to + 8 * j, stride);
}

// store4 writes the first count of four numbers, all at once where a pointer allows it.
static inline void store4(device float* to, float4 v, uint count, uint wide) {
    if (wide != 0) {
        *reinterpret_cast<device float4*>(to) = v;
    } else {
        UNROLL for (uint i = 0; i < 4; i++)
            if (i < count) to[i] = v[i];
    }
}

#define BLOCK_STRIDE 36 // numbers of a row of 32 outputs in threadgroup memory

// finish writes HEIGHT rows of 32 outputs, from row y and output n on, out of threadgroup memory. A lane has four outputs of
// every fourth row. What it adds to them is asked for at once: row by row each would wait for memory. Activations are few in
// the kernel's text, which is read anew at every launch.
template <uint HEIGHT>
static inline void finish(
    constant LinearArgs& a, threadgroup float* block, uint y, uint n, bool scaled, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, uint lane)
{
    const uint EACH = HEIGHT / 4;
    const float mine = scaled && lane < HEIGHT && y + lane < a.rows ? unscale[y + lane] : 1.0f;
    y += lane / 8;
    n += lane % 8 * 4;
    block += lane / 8 * BLOCK_STRIDE + lane % 8 * 4;
    const uint end = n < a.outputs ? a.rows : 0;
    float4 before[EACH];
    UNROLL for (uint i = 0; i < EACH; i++)
        before[i] = a.residual != 0 && y + 4 * i < end ? load4(residual + ulong(y + 4 * i) * a.outputs, n, a.outputs, a.wide) : float4(0.0f);
    const float4 offset = a.bias != 0 && n < a.outputs ? load4(bias, n, a.outputs, a.wide) : float4(0.0f);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    ROLLED for (uint i = 0; i < EACH; i++) {
        threadgroup float4* at = reinterpret_cast<threadgroup float4*>(block + 4 * i * BLOCK_STRIDE);
        const float by = simd_shuffle(mine, ushort(4 * i + lane / 8));
        const float4 v = *at;
        *at = float4(activate(fma(v.x, by, offset.x), a.act), activate(fma(v.y, by, offset.y), a.act),
                     activate(fma(v.z, by, offset.z), a.act), activate(fma(v.w, by, offset.w), a.act));
    }
    UNROLL for (uint i = 0; i < EACH; i++) {
        const float4 v = *reinterpret_cast<threadgroup const float4*>(block + 4 * i * BLOCK_STRIDE) + before[i];
        if (y + 4 * i < end) store4(dst + ulong(y + 4 * i) * a.outputs + n, v, a.outputs - n, a.wide);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
}

// A share is what a thread holds of a step: all of its own where the threadgroup has the threads that it was made for.
template <uint XS, class P, uint WS> struct Share { uint4 x[XS]; P w[WS]; };

// A Tile knows where the pieces of its steps are. In threadgroup memory those of x come first, part after part.
template <uint ROWS, uint PARTS, class P> struct Tile {
    device const uint4* x;
    device const uchar* w;
    device const half* scales;
    uint first; uint output; // row, output
    uint pieces;             // of a row of x
    uint steps;
};

// x_row is where the row of x begins of which a step has the e-th piece; w_row and scale_row are where a row of W does.
template <uint ROWS, uint PARTS, class P>
static inline device const uint4* x_row(constant LinearArgs& a, thread const Tile<ROWS, PARTS, P>& t, uint e) {
    const uint row = e / TILE_PIECES % ROWS, part = e / TILE_PIECES / ROWS;
    return t.x + (ulong(part) * a.rows + min(t.first + row, a.rows - 1)) * t.pieces;
}
template <uint ROWS, uint PARTS, class P>
static inline device const uchar* w_row(constant LinearArgs& a, thread const Tile<ROWS, PARTS, P>& t, uint e) {
    return t.w + numbers_from(P(), a, min(t.output + e / TILE_PIECES, a.outputs - 1));
}
template <uint ROWS, uint PARTS, class P>
static inline device const half* scale_row(constant LinearArgs& a, thread const Tile<ROWS, PARTS, P>& t, uint e) {
    return t.scales + scales_from(P(), a, min(t.output + e / TILE_PIECES, a.outputs - 1));
}

// place is where a piece goes in threadgroup memory.
static inline uint place(uint e) { return e / TILE_PIECES * TILE_STRIDE + e % TILE_PIECES; }

// Sources are where a thread's pieces come from.
template <uint XS, uint WS> struct Sources { device const uint4* x[XS]; device const uchar* w[WS]; device const half* scales[WS]; };

// fetch_x and fetch_w ask for a thread's share of a step. What lies behind the last is the last again, which nobody multiplies.
template <class P, uint XS, uint WS>
static inline void fetch_x(thread Share<XS, P, WS>& held, thread const Sources<XS, WS>& from, uint step, uint steps, uint thread_index) {
    const uint n = min(step, steps - 1) * TILE_PIECES + thread_index % TILE_PIECES;
    UNROLL for (uint i = 0; i < XS; i++) held.x[i] = from.x[i][n];
}
template <class P, uint XS, uint WS>
static inline void fetch_w(thread Share<XS, P, WS>& held, thread const Sources<XS, WS>& from, uint step, uint steps, uint thread_index) {
    const uint n = min(step, steps - 1) * TILE_PIECES + thread_index % TILE_PIECES;
    UNROLL for (uint i = 0; i < WS; i++) held.w[i] = packet(P(), from.w[i], from.scales[i], n);
}

// place_step puts a step into threadgroup memory, what is held and what could not be, and asks for a later one in its place.
template <uint ROWS, uint PARTS, class P, uint XS, uint WS>
static inline void place_step(
    constant LinearArgs& a, thread const Tile<ROWS, PARTS, P>& t, thread Share<XS, P, WS>& held, thread const Sources<XS, WS>& from,
    threadgroup uint4* to, uint step, uint later, uint thread_index, uint threads)
{
    threadgroup uint4* to_w = to + PARTS * ROWS * TILE_STRIDE;
    UNROLL for (uint i = 0; i < XS; i++) to[place(thread_index + i * threads)] = held.x[i];
    UNROLL for (uint i = 0; i < WS; i++) to_w[place(thread_index + i * threads)] = piece(held.w[i]);
    fetch_x(held, from, later, t.steps, thread_index);
    fetch_w(held, from, later, t.steps, thread_index);
    if (threads == 2 * ROWS) return; // all was held
    const uint n = min(step, t.steps - 1) * TILE_PIECES + thread_index % TILE_PIECES;
    for (uint e = thread_index + XS * threads; e < PARTS * ROWS * TILE_PIECES; e += threads) to[place(e)] = x_row(a, t, e)[n];
    for (uint e = thread_index + WS * threads; e < TILE_OUTPUTS * TILE_PIECES; e += threads)
        to_w[place(e)] = piece(packet(P(), w_row(a, t, e), scale_row(a, t, e), n));
}

template <class T, uint ROWS, uint OUTPUTS, uint PARTS, class P>
static inline void linear_tile(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const T* x, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, threadgroup uint4* memory,
    uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    const uint SIMDS = ROWS / 16, XS = PARTS * ROWS * TILE_PIECES / (32 * SIMDS), WS = TILE_OUTPUTS * TILE_PIECES / (32 * SIMDS);
    const uint NUMBERS = 16 / sizeof(T), STRIDE = TILE_STRIDE * NUMBERS, BUFFER = (PARTS * ROWS + TILE_OUTPUTS) * TILE_STRIDE;
    const uint HEIGHT = 16; // of a quarter, as much as there is room for at once
#ifdef __CUDACC__
    simds = SIMDS; // there no kernel has so many registers that 256 threads would not fit
#endif
    const uint threads = simds * 32;
    Tile<ROWS, PARTS, P> t;
    t.x = reinterpret_cast<device const uint4*>(x);
    t.w = w;
    t.scales = scales;
    t.first = group.y * ROWS;
    t.output = group.x * OUTPUTS;
    t.pieces = a.padded / NUMBERS;
    t.steps = t.pieces / TILE_PIECES;
    const uint end = min(t.output + OUTPUTS, a.outputs);
    for (; t.output < end; t.output += TILE_OUTPUTS) {
        Sources<XS, WS> from;
        UNROLL for (uint i = 0; i < XS; i++) from.x[i] = x_row(a, t, thread_index + i * threads);
        UNROLL for (uint i = 0; i < WS; i++) {
            from.w[i] = w_row(a, t, thread_index + i * threads);
            from.scales[i] = scale_row(a, t, thread_index + i * threads);
        }
        for (uint round = 0; round < SIMDS; round += simds) { // one, where the threadgroup has all simdgroups
            const uint quarter = round + simd;
            const uint down = quarter / 2 * 32 % ROWS, right = quarter % 2 * 32;
            Quarter sums;
            clear(sums);
            Share<XS, P, WS> held[TILE_AHEAD];
            UNROLL for (uint h = 0; h < TILE_AHEAD; h++) fetch_w(held[h], from, h, t.steps, thread_index); // W does not wait for x
            AFTER_EARLIER;
            UNROLL for (uint h = 0; h < TILE_AHEAD; h++) fetch_x(held[h], from, h, t.steps, thread_index);
            place_step(a, t, held[0], from, memory, 0, TILE_AHEAD, thread_index, threads);
            for (uint base = 0; base < t.steps; base += TILE_AHEAD) {
                UNROLL for (uint h = 0; h < TILE_AHEAD; h++) {
                    const uint step = base + h;
                    if (h == 0 || step < t.steps) {
                        threadgroup_barrier(mem_flags::mem_threadgroup);
                        threadgroup const T* now = reinterpret_cast<threadgroup const T*>(memory + h % 2 * BUFFER);
                        UNROLL for (uint part = 0; part < PARTS; part++)
                            multiply(sums, now + (part * ROWS + down) * STRIDE, now + (PARTS * ROWS + right) * STRIDE, STRIDE);
                        place_step(a, t, held[(h + 1) % TILE_AHEAD], from, memory + (h + 1) % 2 * BUFFER, step + 1, step + 1 + TILE_AHEAD,
                                   thread_index, threads);
                    }
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
            threadgroup float* mine = reinterpret_cast<threadgroup float*>(memory) + simd * HEIGHT * BLOCK_STRIDE;
            UNROLL for (uint i = 0; i < 32; i += HEIGHT) {
                UNROLL for (uint j = 0; j < HEIGHT; j += 8) strip(sums, (i + j) / 8, mine + j * BLOCK_STRIDE, BLOCK_STRIDE);
                finish<HEIGHT>(a, mine, quarter < SIMDS ? t.first + down + i : a.rows, t.output + right, unit(T(0.0f)) > 0.0f,
                               unscale, bias, residual, dst, lane);
            }
            threadgroup_barrier(mem_flags::mem_threadgroup); // before the next round
        }
    }
}

// The same where a GPU's matrices have another shape than Metal's 8×8, and what stands before this text brings a UnitTile of its
// own for halves: of how many rows a simdgroup has 32 outputs, how their sums are made and put into threadgroup memory. W goes
// past that: of a step of 64 inputs, a lane has two pieces.
#ifdef MK_TILE_UNITS
struct PairQ4 { uint2 words; half scale; };
struct PairQ8 { uint4 words; half scale; };
struct PairPlain { uint4 words[2]; };
#define PAIR_PacketQ4 PairQ4
#define PAIR_PacketQ8 PairQ8
#define PAIR_PacketPlain PairPlain
static inline ulong numbers_from(PairQ4, constant LinearArgs& a, uint row) { return numbers_from(PacketQ4(), a, row); }
static inline ulong numbers_from(PairQ8, constant LinearArgs& a, uint row) { return numbers_from(PacketQ8(), a, row); }
static inline ulong numbers_from(PairPlain, constant LinearArgs& a, uint row) { return numbers_from(PacketPlain(), a, row); }
static inline ulong scales_from(PairQ4, constant LinearArgs& a, uint row) { return scales_from(PacketQ4(), a, row); }
static inline ulong scales_from(PairQ8, constant LinearArgs& a, uint row) { return scales_from(PacketQ8(), a, row); }
static inline ulong scales_from(PairPlain, constant LinearArgs& a, uint row) { return scales_from(PacketPlain(), a, row); }

// pair reads the n-th two pieces of a row of W: packets 2·n and 2·n + 1.
static inline PairQ4 pair(PairQ4 p, device const uchar* row, device const half* scales, uint n) {
    p.words = *reinterpret_cast<device const uint2*>(row + n / 2 * 128 + n % 2 * 8);
    p.scale = scales[scale_in_panels(n / 2)];
    return p;
}
static inline PairQ8 pair(PairQ8 p, device const uchar* row, device const half* scales, uint n) {
    p.words = *reinterpret_cast<device const uint4*>(row + n / 2 * 256 + n % 2 * 16);
    p.scale = scales[scale_in_panels(n / 2)];
    return p;
}
static inline PairPlain pair(PairPlain p, device const uchar* row, device const half*, uint n) {
    UNROLL for (uint i = 0; i < 2; i++) p.words[i] = reinterpret_cast<device const uint4*>(row + 32 * n)[i];
    return p;
}
static inline uint4 piece(PairQ4 p, uint i) { return eight_of_4_bits(p.words[i], p.scale); }
static inline uint4 piece(PairQ8 p, uint i) { return eight_of_8_bits(p.words[2 * i], p.words[2 * i + 1], p.scale); }
static inline uint4 piece(PairPlain p, uint i) { return p.words[i]; }

template <class U, class P>
static inline void linear_tile_units(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const half* x, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, threadgroup uint4* memory,
    uint2 group, uint thread_index, uint simd, uint, uint lane)
{
    const uint HEIGHT = 32; // finished at once
    U sums;
    const uint first = group.y * U::ROWS, output = group.x * U::OUTPUTS;
    multiply<P>(sums, a, w, scales, x, first, output, memory, thread_index, simd, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup float* mine = reinterpret_cast<threadgroup float*>(memory) + simd * U::HEIGHT * BLOCK_STRIDE;
    UNROLL for (uint y = 0; y < U::HEIGHT; y += 8) strip(sums, y / 8, mine + y * BLOCK_STRIDE, BLOCK_STRIDE);
    ROLLED for (uint y = 0; y < U::HEIGHT; y += HEIGHT)
        finish<HEIGHT>(a, mine + y * BLOCK_STRIDE, first + down(sums, simd) + y, output + right(sums, simd), true,
                       unscale, bias, residual, dst, lane);
}
#define TILE_half(ROWS, OUTPUTS, PARTS, P) linear_tile_units<UnitTile<OUTPUTS, PARTS>, PAIR_##P>
#define TILE_MEMORY_half(ROWS, PARTS) MK_TILE_MEMORY(ROWS, PARTS)
#else
#define TILE_half(ROWS, OUTPUTS, PARTS, P) linear_tile<half, ROWS, OUTPUTS, PARTS, P>
#define TILE_MEMORY_half(ROWS, PARTS) TILE_MEMORY_float(ROWS, PARTS)
#endif
#define TILE_float(ROWS, OUTPUTS, PARTS, P) linear_tile<float, ROWS, OUTPUTS, PARTS, P>
#define TILE_MEMORY_float(ROWS, PARTS) (2 * (PARTS * ROWS + TILE_OUTPUTS) * TILE_STRIDE)

#define LINEAR_TILE(name, T, ROWS, OUTPUTS, PARTS, P) \
    kernel void linear_tile_##name##_##ROWS##x##OUTPUTS( \
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
        TG_ARRAY(uint4, memory, TILE_MEMORY_##T(ROWS, PARTS)); \
        TILE_##T(ROWS, OUTPUTS, PARTS, P)( \
            a, w, scales, x, unscale, bias, residual, dst, memory, group, thread_index, simd, simds, lane); \
    }
LINEAR_TILE(f32, float, 64, 64, 1, PacketPlain)
LINEAR_TILE(f32, float, 128, 64, 1, PacketPlain)
LINEAR_TILE(f16, half, 64, 64, 2, PacketPlain)
LINEAR_TILE(q8, half, 64, 64, 1, PacketQ8)
LINEAR_TILE(q8, half, 64, 128, 1, PacketQ8)
LINEAR_TILE(q4, half, 64, 64, 1, PacketQ4)
LINEAR_TILE(q4, half, 64, 128, 1, PacketQ4)
