// Linear of more rows than linear.metal takes.
//
//	linear_prepare_<number>                 makes the rows ready
//	linear_tile_<weight>_<rows>x<outputs>   multiplies so many of each, by small matrices
//
// A sum's order depends on K and the weight's kind, not on <rows> or <outputs>.

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
    return slice < a.slices && block < a.blocks ? min(begin_of(a, slice) + block * BLOCK + 4 * lane, a.stride) : a.stride;
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

// put4 writes four numbers at k of a row.
static inline void put4(constant LinearArgs& a, device float* x, uint row, uint, uint k, float4 v) {
    *reinterpret_cast<device float4*>(x + ulong(row) * a.stride + k) = v;
}
#ifndef MK_TILE_WARPGROUPS
static inline void put4(constant LinearArgs& a, device half* x, uint row, uint part, uint k, float4 v) {
    device half* to = x + (ulong(part) * a.rows + row) * a.stride + k;
    *reinterpret_cast<device half4*>(to) = half4(half(v.x), half(v.y), half(v.z), half(v.w));
}
#endif

// put writes four numbers at k of a row, and as a second part what they lose.
template <class T> static inline void put(constant LinearArgs& a, device T* x, uint row, uint k, float4 v) {
    if (k >= a.stride) return;
    put4(a, x, row, 0, k, v);
    if (a.parts == 1) return;
    float4 lost;
    UNROLL for (uint i = 0; i < 4; i++) {
        const T most = T(v[i]); // one by one: of four together a compiler kept the digits that are to be lost
        lost[i] = v[i] - float(most);
    }
    put4(a, x, row, 1, k, lost);
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
    if (row.whole) {
        UNROLL for (uint b = 0; b < ROW_BLOCKS; b++) put(a, dst, group, place_of(a, simd, b, lane), row.held[b] * scale);
    } else {
        ROLLED for (uint slice = simd; slice < a.slices; slice += simds) {
            ROLLED for (uint b = 0; b < a.blocks; b++) {
                const uint k = place_of(a, slice, b, lane);
                put(a, dst, group, k, again(a, row, k) * scale);
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

template <class U, class P>
static inline void linear_tile_units(
    constant LinearArgs& a, device const uchar* w, device const half* scales, device const half* x, device const float* unscale,
    device const float* bias, device const float* residual, device float* dst, threadgroup uint4* memory,
    uint2 group, uint thread_index, uint simd, uint, uint lane)
{
    U sums;
    const uint first = group.y * U::ROWS, output = group.x * U::OUTPUTS;
    multiply<P>(sums, a, w, scales, x, first, output, memory, thread_index, simd, lane);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup float* all = reinterpret_cast<threadgroup float*>(memory);
    put_sums(sums, all, BLOCK_STRIDE, simd, lane);
    threadgroup float* mine = all + (right(sums, simd) / 32 * U::ROWS + down(sums, simd)) * BLOCK_STRIDE;
    ROLLED for (uint y = 0; y < U::HEIGHT; y += U::FINISHED)
        finish<U::FINISHED>(a, mine + y * BLOCK_STRIDE, first + down(sums, simd) + y, output + right(sums, simd), true,
                            unscale, bias, residual, dst, lane);
}
#endif

#if defined(MK_TILE_WARPGROUPS)
#define TILE_half(ROWS, OUTPUTS, PARTS, P) linear_tile_units<GroupTile<PAIR_##P, PARTS>, PAIR_##P>
#define TILE_ARRAY_half(ROWS, OUTPUTS, PARTS, P) MK_TILE_ARRAY(memory, PARTS, PAIR_##P)
#elif defined(MK_TILE_UNITS)
#define TILE_half(ROWS, OUTPUTS, PARTS, P) linear_tile_units<UnitTile<OUTPUTS, PARTS>, PAIR_##P>
#define TILE_ARRAY_half(ROWS, OUTPUTS, PARTS, P) TG_ARRAY(uint4, memory, MK_TILE_MEMORY(ROWS, PARTS))
#else
#define TILE_half(ROWS, OUTPUTS, PARTS, P) linear_tile<half, ROWS, OUTPUTS, PARTS, P>
#define TILE_ARRAY_half(ROWS, OUTPUTS, PARTS, P) TILE_ARRAY_float(ROWS, OUTPUTS, PARTS, P)
#endif
#define TILE_float(ROWS, OUTPUTS, PARTS, P) linear_tile<float, ROWS, OUTPUTS, PARTS, P>
#define TILE_ARRAY_float(ROWS, OUTPUTS, PARTS, P) TG_ARRAY(uint4, memory, 2 * (PARTS * ROWS + TILE_OUTPUTS) * TILE_STRIDE)

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
        TILE_ARRAY_##T(ROWS, OUTPUTS, PARTS, P); \
        TILE_##T(ROWS, OUTPUTS, PARTS, P)( \
            a, w, scales, x, unscale, bias, residual, dst, memory, group, thread_index, simd, simds, lane); \
    }
LINEAR_TILE(f32, float, 64, 64, 1, PacketPlain)
LINEAR_TILE(f32, float, 128, 64, 1, PacketPlain)
#ifdef MK_TILE_WARPGROUPS
LINEAR_TILE(f16, half, 80, 64, 2, PacketPlain)
LINEAR_TILE(q8, half, 80, 64, 1, PacketQ8)
LINEAR_TILE(q4, half, 80, 64, 1, PacketQ4)
#else
LINEAR_TILE(f16, half, 64, 64, 2, PacketPlain)
LINEAR_TILE(q8, half, 64, 64, 1, PacketQ8)
LINEAR_TILE(q8, half, 64, 128, 1, PacketQ8)
LINEAR_TILE(q4, half, 64, 64, 1, PacketQ4)
LINEAR_TILE(q4, half, 64, 128, 1, PacketQ4)
#endif
