// What linear.metal and linear_tile.metal share: the arguments, and rows of x with their moments, as lanes hold them.
//
// W is as metalkern's matrix.go lays it out: rows filled up with zeros to whole groups of 32 inputs, those of 8 and 4 bits in
// panels.

struct LinearArgs {
    uint rows; uint outputs; uint inputs;
    uint padded;              // inputs with the filling
    uint pitch; uint groups;  // of a row of W: bytes, scales with their filling
    uint norm; float epsilon; float inverse; // see common.metal; 1 / inputs
    uint act;
    uint vector;              // x and the norm's weights may be read four at a time
    uint stride;              // numbers of a row of x as it is multiplied
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

#define BLOCK 128 // inputs that a simdgroup multiplies at once: GROUPS of 32
#define GROUPS 4
#define SLICES 16 // at most

// Lane l has, of each group, inputs 8·(l%4) to 8·(l%4)+7 of row l/4 of a panel of W: its octet. Of x it has the same inputs,
// of row l/4 too where there are eight rows; where there are fewer, lanes share out the groups: a piece is the lane's octet
// of one group. Sixteen rows are two sets of eight.
#define SETS(ROWS) ((ROWS) > 8 ? 2 : 1)
#define OF_SET(ROWS) ((ROWS) > 8 ? 8 : (ROWS))
#define PIECES(ROWS) (OF_SET(ROWS) > 1 ? OF_SET(ROWS) / 2 : 1)

// The first group of which a lane has a piece.
template <uint ROWS> static inline uint first_group(uint lane) { return lane / 4 / OF_SET(ROWS) * PIECES(ROWS) % GROUPS; }

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

