// A step of CausalAttention, as causal_common.metal has it: one column, heads of 64. The kernels are short, because most of
// their time a GPU reads them.

#define STEP_BLOCK 32 // columns

// A step's block as the lanes of a simdgroup take it: lane 8·p + c chunk c of columns p, p+4, … of the 32, so that a query's
// chunk stays in its registers, and the scales of the column whose score it will have. All is asked for before anything is
// needed.
template <class W> struct StepAhead {
    W keys[STEP_BLOCK / 4];
    W values[STEP_BLOCK / 4];
    float key_scale;
    float value_scale;
};

static inline uint step_scored(uint lane) { return 4 * (lane % 8) + lane / 8; }

// step_ask begins to read the count columns from first on; none leave what is ahead open.
template <class C, class W>
static inline void step_ask(Head<C> h, uint first, uint count, thread StepAhead<W>& ahead, uint lane) {
    if (count == 0) return;
    device const C* keys = h.keys + 8 * (ulong(lane % 8) * h.capacity + first);
    device const C* values = h.values + 8 * (ulong(STEP_CHUNKS) * first + lane % 8);
    UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) {
        const uint j = min(4 * u + lane / 8, count - 1);
        ahead.keys[u] = raw(keys + 8 * j);
        ahead.values[u] = raw(values + 8 * STEP_CHUNKS * j);
    }
    if (scaled(h.keys)) {
        const uint j = first + min(step_scored(lane), count - 1);
        ahead.key_scale = h.key_scales[j];
        ahead.value_scale = h.value_scales[j];
    }
}

// StepNew is what a lane needs of a new key and value, which are asked for together with the queries, and how the cache holds
// them.
template <class W> struct StepNew {
    Eight key; Eight value;
    W packed_key; W packed_value;
    float key_scale; float value_scale;
};

template <class W>
static inline void step_ask_new(constant CausalArgs& a, device const float* query, thread StepNew<W>& fresh, uint lane) {
    fresh.key = eight(raw(query + 8 * STEP_CHUNKS * a.heads + 8 * (lane % 8)));
    fresh.value = eight(raw(query + 16 * STEP_CHUNKS * a.heads + 8 * (lane % 8)));
}

// step_grow puts a new key and value into what has been asked for, kind a pointer of the cache's numbers: column last of the
// block, its last. What the block has no columns for gets them, too, and is not seen.
template <class C, class W>
static inline void step_grow(device const C* kind, thread StepNew<W>& fresh, uint last, thread StepAhead<W>& ahead, uint lane) {
    fresh.key_scale = pack_vector(kind, fresh.key, STEP_CHUNKS, fresh.packed_key);
    fresh.value_scale = pack_vector(kind, fresh.value, STEP_CHUNKS, fresh.packed_value);
    UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) {
        if (4 * u + lane / 8 >= last) {
            ahead.keys[u] = fresh.packed_key;
            ahead.values[u] = fresh.packed_value;
        }
    }
    if (scaled(kind) && step_scored(lane) >= last) {
        ahead.key_scale = fresh.key_scale;
        ahead.value_scale = fresh.value_scale;
    }
}

// step_keep puts the key and the value of a head into the own cache, from which this dispatch does not read them.
template <class C, class W>
static inline void step_keep(constant CausalArgs& a, device C* numbers, device float* scales, thread const StepNew<W>& fresh, uint index, uint lane) {
    const uint chunk = lane % 8;
    const ulong size = 8 * ulong(STEP_CHUNKS) * a.capacity;
    if (lane < STEP_CHUNKS) {
        put(numbers + 2 * index * size + 8 * (ulong(chunk) * a.capacity + a.column), fresh.packed_key);
        put(numbers + (2 * ulong(index) + 1) * size + 8 * (ulong(STEP_CHUNKS) * a.column + chunk), fresh.packed_value);
    }
    if (scaled(numbers) && lane == 0) {
        device float* to = scales + 2 * ulong(index) * a.capacity + a.column;
        to[0] = fresh.key_scale;
        to[a.capacity] = fresh.value_scale;
    }
}

// halve adds up, over the lanes that differ in the bit mask, the N first of v: lanes without the bit get the lower half of the
// sums, the others the upper.
template <uint N> static inline void halve(thread float* v, uint mask, uint lane) {
    const bool upper = (lane & mask) != 0;
    UNROLL for (uint i = 0; i < N / 2; i++) {
        const float other = simd_shuffle_xor(upper ? v[i] : v[i + N / 2], ushort(mask));
        v[i] = (upper ? v[i + N / 2] : v[i]) + other;
    }
}

#define STEP_WHOLE 16 // blocks of a threadgroup, at most
#define STEP_SLOTS 64 // rows times blocks of one, at most
#define STEP_ROWS 8   // rows of one, at most

static inline Eight near_eight(threadgroup const float* p) {
    Eight e;
    e.a = *reinterpret_cast<threadgroup const float4*>(p);
    e.b = *reinterpret_cast<threadgroup const float4*>(p + 4);
    return e;
}

// StepQueries are a threadgroup's rows' queries of a head, times the scale.
struct StepQueries { threadgroup const float* at; };

static inline void step_point(thread StepQueries&, uint, uint, uint) {}

static inline void step_queries(
    thread StepQueries& q, device const float* from, uint pitch, uint rows, float scale, threadgroup float* room, uint thread_index,
    uint threads)
{
    for (uint i = thread_index; i < 64 * rows; i += threads) room[i] = from[i / 64 * pitch + i % 64] * scale;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    q.at = room;
}

// step_part is a block's part of rows from row on, kind a pointer of the cache's numbers: of row r to both[r·span], and 32 pairs
// of sums from sums[r·span·32] on.
template <class C, class W>
static inline void step_part(
    device const C* kind, thread const StepQueries& queries, uint row, uint rows, uint count, uint span, thread StepAhead<W>& ahead,
    threadgroup float2* both, threadgroup float2* sums, uint lane)
{
    ROLLED for (uint r = row; r < row + rows; r++) {
        const Eight q = near_eight(queries.at + 64 * r + 8 * (lane % 8));
        float scores[STEP_BLOCK / 4];
        UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) scores[u] = dot8(q, eight(ahead.keys[u]), 0.0f);
        halve<8>(scores, 4, lane);
        halve<4>(scores, 2, lane);
        halve<2>(scores, 1, lane);
        float score = scores[0]; // of column step_scored now
        if (scaled(kind)) score *= ahead.key_scale;
        if (step_scored(lane) >= count) score = -INFINITY;
        const float top = max(simd_max(score), -1e30f); // finite, so that differences are numbers
        float share = power(score - top);
        const float total = simd_sum(share);
        if (lane == 0) both[r * span] = float2(top, total);
        if (scaled(kind)) share *= ahead.value_scale;
        Eight sum;
        sum.a = sum.b = float4(0.0f);
        UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) sum = add8(simd_shuffle(share, ushort(lane / 8 * 8 + u)), eight(ahead.values[u]), sum);
        float of[8] = {sum.a.x, sum.a.y, sum.a.z, sum.a.w, sum.b.x, sum.b.y, sum.b.z, sum.b.w};
        halve<8>(of, 16, lane);
        halve<4>(of, 8, lane);
        sums[r * span * 32 + 4 * (lane % 8) + 2 * (lane / 16) + lane / 8 % 2] = float2(of[0], of[1]);
    }
}

// Where a GPU multiplies small matrices, what stands before this text may bring another way to hold a block, queries, and a
// new column.
#define AHEAD_f32 StepAhead<RawF32>
#define QUERIES_f32 StepQueries
#define NEW_f32 StepNew<RawF32>
#ifdef MK_STEP_UNITS
#define AHEAD_f16 StepUnits<RawF16>
#define AHEAD_q8 StepUnits<RawQ8>
#define QUERIES_f16 UnitQueries
#define QUERIES_q8 UnitQueries
#define NEW_f16 UnitNew<RawF16>
#define NEW_q8 UnitNew<RawQ8>
#else
#define AHEAD_f16 StepAhead<RawF16>
#define AHEAD_q8 StepAhead<RawQ8>
#define QUERIES_f16 StepQueries
#define QUERIES_q8 StepQueries
#define NEW_f16 StepNew<RawF16>
#define NEW_q8 StepNew<RawQ8>
#endif

// A StepTask is a block and those of a threadgroup's rows that see it: all, of a prefix; else one.
template <class C> struct StepTask {
    Head<C> head;
    uint index;          // of the head in its cache
    uint block;          // of the threadgroup's
    uint row; uint rows; // of the threadgroup's
    uint first; uint old; uint count; // columns: the first, how many the cache has, and how many there are with the new one
};

// step_task is number t of a threadgroup's, of which shared are a prefix's blocks. Of those, and of the own ones, begin is the
// first; 2^bits tasks are a block of the own ones.
template <class C>
static inline StepTask<C> step_task(
    constant CausalArgs& a, device const C* own, device const float* own_scales, device const C* prefix, device const float* prefix_scales,
    uint begin, uint shared, uint prefix_row, uint first_row, uint rows, uint bits, uint head, uint t)
{
    const bool of_prefix = t < shared;
    const uint past = t - shared;
    StepTask<C> task;
    task.row = of_prefix ? 0 : past & ((1u << bits) - 1);
    task.rows = of_prefix ? rows : 1;
    task.block = of_prefix ? t : shared + (past >> bits);
    task.index = (of_prefix ? prefix_row : min(first_row + task.row, a.rows - 1)) * a.heads + head;
    task.head = head_of(of_prefix ? prefix : own, of_prefix ? prefix_scales : own_scales, task.index, STEP_CHUNKS,
                        of_prefix ? a.prefix_capacity : a.capacity);
    task.first = (begin + (of_prefix ? t : past >> bits)) * STEP_BLOCK;
    task.count = min(uint(STEP_BLOCK), (of_prefix ? a.prefix_columns : a.column + 1) - task.first);
    task.old = of_prefix ? task.count : min(task.count, a.column - task.first);
    return task;
}

// step_merge adds up count blocks: lane 8·p + d has of both and of sums, which begins at its two numbers, blocks p, p+4, …. All
// lanes get two numbers' sums, and the row's largest score and total.
static inline float2 step_merge(threadgroup const float2* both, threadgroup const float2* sums, uint count, thread float2& whole, uint lane) {
    float2 mine[STEP_WHOLE / 4], of[STEP_WHOLE / 4];
    UNROLL for (uint u = 0; u < STEP_WHOLE / 4; u++) {
        const uint b = min(4 * u + lane / 8, count - 1);
        mine[u] = both[b];
        of[u] = sums[b * 32];
    }
    float top = mine[0].x, total = 0.0f;
    UNROLL for (uint u = 1; u < STEP_WHOLE / 4; u++) top = max(top, mine[u].x);
    top = max(top, simd_shuffle_xor(top, ushort(8)));
    top = max(top, simd_shuffle_xor(top, ushort(16)));
    float2 sum = float2(0.0f);
    UNROLL for (uint u = 0; u < STEP_WHOLE / 4; u++) {
        const float share = 4 * u + lane / 8 < count ? power(mine[u].x - top) : 0.0f;
        total = fma(share, mine[u].y, total);
        sum = float2(fma(share, of[u].x, sum.x), fma(share, of[u].y, sum.y));
    }
    for (uint mask = 8; mask < 32; mask *= 2) {
        total += simd_shuffle_xor(total, ushort(mask));
        sum += float2(simd_shuffle_xor(sum.x, ushort(mask)), simd_shuffle_xor(sum.y, ushort(mask)));
    }
    whole = float2(top, total);
    return sum;
}

// A threadgroup takes up to a.span blocks of a head, of the prefix and several rows that share it, or of some rows' own; where
// there is one threadgroup for all blocks, it takes both kinds, and its sums are the result. What was in the caches before
// does not wait for the queries.
template <class C, class A, class Q, class N>
static inline void step_split(
    constant CausalArgs& a, device const float* qkv, device C* own, device float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float2* tops, device float* sums, device float* dst, threadgroup float* room,
    threadgroup float2* both, threadgroup float2* parts, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    simd = simd_broadcast_first(simd);
    const uint shared_groups = a.shared_pieces << a.group_bits, head = group.y;
    const bool single = group.x >= shared_groups;
    const uint at = single ? group.x - shared_groups : group.x, bits = single ? a.row_bits : a.group_bits;
    const uint z = at & ((1u << bits) - 1), begin = (at >> bits) * a.span, prefix_row = z >> a.turn_bits;
    const uint variation = min((z & ((1u << a.turn_bits) - 1)) << a.abreast_bits, a.variations);
    const uint row_bits = single ? a.own_bits : a.abreast_bits;
    const uint first_row = min(single ? z << row_bits : prefix_row * a.variations + variation, a.rows);
    const uint rows = min(min(1u << row_bits, single ? a.rows : a.variations - variation), a.rows - first_row);
    if (rows == 0) return;
    const uint blocks = min(a.span, (single ? a.own_blocks : a.pieces == 1 ? a.prefix_blocks + a.own_blocks : a.prefix_blocks) - begin);
    const uint shared = single ? 0 : min(blocks, a.prefix_blocks);
    const uint tasks = shared + ((blocks - shared) << row_bits), piece = (at >> bits) + (single ? a.shared_pieces : 0);
    const uint pitch = 3 * 64 * a.heads;
    device const float* query = qkv + ulong(first_row) * pitch + 64 * head;
    Q queries;
    step_point(queries, pitch, rows, lane);
    if (a.late != 0) AFTER_EARLIER;
    ROLLED for (uint t = 0; t < tasks; t += simds) {
        const StepTask<C> task =
            step_task<C>(a, own, own_scales, prefix, prefix_scales, begin, shared, prefix_row, first_row, rows, row_bits, head,
                         min(t + simd, tasks - 1));
        const bool busy = t + simd < tasks && task.row < rows;
        A ahead;
        step_ask(task.head, task.first, task.old, ahead, lane);
        AFTER_EARLIER;
        const bool grows = busy && task.old < task.count;
        N fresh;
        if (grows) step_ask_new(a, query + task.row * pitch, fresh, lane);
        if (t == 0) step_queries(queries, query, pitch, rows, a.scale * 1.44269504f, room, thread_index, 32 * simds);
        if (busy) {
            if (grows) step_grow(task.head.keys, fresh, task.old, ahead, lane);
            step_part(
                task.head.keys, queries, task.row, task.rows, task.count, a.span, ahead, both + task.block, parts + 32 * task.block, lane);
            if (grows) step_keep(a, own, own_scales, fresh, task.index, lane);
        }
        if (SETTLED(a.once) != 0) break;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint i = simd; i < 4 * rows; i += simds) { // a quarter of a row each
        const uint slot = i / 4 * a.span, d = i % 4 * 16 + lane % 8 * 2;
        const ulong item = ulong(first_row + i / 4) * a.heads + head;
        float2 whole;
        const float2 sum = step_merge(both + slot, parts + 32 * slot + d / 2, blocks, whole, lane);
        if (lane >= 8) continue;
        if (a.pieces == 1) {
            const float by = 1.0f / whole.y;
            dst[item * 64 + d] = sum.x * by;
            dst[item * 64 + d + 1] = sum.y * by;
        } else {
            *reinterpret_cast<device float2*>(sums + (item * a.pieces + piece) * 64 + d) = sum;
            if (d == 0) tops[item * a.pieces + piece] = whole;
        }
    }
}

// step_join: dst = Σ_p 2^(top_p-top)·sums_p / Σ_p 2^(top_p-top)·total_p over the pieces; a simdgroup has half a row and head.
kernel void step_join(
    constant CausalArgs& a [[buffer(0)]],
    device const float2* tops [[buffer(1)]],
    device const float* sums [[buffer(2)]],
    device float* dst [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    const uint half_row = group * simds + simd, item = half_row / 2, d = half_row % 2 * 32 + lane;
    device const float2* both = tops + ulong(item) * a.pieces;
    device const float* from = sums + ulong(item) * a.pieces * 64 + d;
    AFTER_EARLIER;
    if (item >= a.rows * a.heads) return;
    float2 mine[8]; // all lanes read them all, so that none waits for another
    float value[8], total = 0.0f, sum = 0.0f;
    UNROLL for (uint u = 0; u < 8; u++) {
        mine[u] = both[min(u, a.pieces - 1)];
        value[u] = from[min(u, a.pieces - 1) * 64];
    }
    float top = mine[0].x;
    UNROLL for (uint u = 1; u < 8; u++) top = max(top, mine[u].x);
    ROLLED for (uint p = 8; p < a.pieces; p++) top = max(top, both[p].x);
    ROLLED for (uint first = 0; first < a.pieces; first += 8) {
        UNROLL for (uint u = 0; u < 8; u++) {
            const float share = first + u < a.pieces ? power(mine[u].x - top) : 0.0f;
            total = fma(share, mine[u].y, total);
            sum = fma(share, value[u], sum);
        }
        if (first + 8 < a.pieces) {
            UNROLL for (uint u = 0; u < 8; u++) {
                mine[u] = both[min(first + 8 + u, a.pieces - 1)];
                value[u] = from[min(first + 8 + u, a.pieces - 1) * 64];
            }
        }
    }
    dst[ulong(item) * 64 + d] = sum / total;
}

#define STEP_SPLIT(name, C) \
    kernel void step_split_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device C* own [[buffer(2)]], \
        device float* own_scales [[buffer(3)]], \
        device const C* prefix [[buffer(4)]], \
        device const float* prefix_scales [[buffer(5)]], \
        device float2* tops [[buffer(6)]], \
        device float* sums [[buffer(7)]], \
        device float* dst [[buffer(8)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint thread_index [[thread_index_in_threadgroup]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        TG_ARRAY(float, room, STEP_ROWS * 64); \
        TG_ARRAY(float2, both, STEP_SLOTS); \
        TG_ARRAY(float2, parts, STEP_SLOTS * 32); \
        step_split<C, AHEAD_##name, QUERIES_##name, NEW_##name>( \
            a, qkv, own, own_scales, prefix, prefix_scales, tops, sums, dst, room, both, parts, group, thread_index, simd, simds, \
            lane); \
    }

STEP_SPLIT(f32, float)
STEP_SPLIT(f16, half)
STEP_SPLIT(q8, char)
