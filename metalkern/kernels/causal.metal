// CausalAttention: keys and values of new columns go into a cache, and each new column's query attends to a prefix that rows
// share, then to its own row's columns up to itself.
//
//	one column, heads of 64 (a step)   step_split: a simdgroup per block of columns and head takes all rows that share it, and
//	                                   stores what is new in it; its threadgroup adds up some blocks. Where these are not all,
//	                                   step_join adds up the rest
//	many, heads of 64 (a prefill)      causal_store, then causal_tile: a simdgroup goes through all blocks with 16 queries, by
//	                                   products of matrices
//	all else                           causal_store, then causal_fill: a simdgroup per eight queries and head goes through all
//	                                   blocks
//
// A block of a prefix is read from memory once for all rows that share it. Blocks are counted from the first column of the
// prefix and of the own cache, and how many are added up at once depends on how many there are, so the order of all sums
// does not depend on the rows. A step's kernels are short, because most of their time a GPU reads them.
//
// The cache of one layer: for every row and head first the keys, [chunk of 8 elements][column][8], so that lanes that take a
// column each read side by side; then the values, [column][chunks·8]. Numbers are float, half, or char with one scale for
// each key and value: [row][head][keys, values][column] floats. Heads are whole chunks here; causal_pad makes them so, and
// puts them at 16 bytes, where they are not.

#define BLOCK 64      // columns of a prefill's blocks; lane l scores columns l and l+32
#define STEP_BLOCK 32 // of a step's
#define STEP_CHUNKS 8 // of a head

struct CausalArgs {
    uint rows; uint columns; uint heads; uint depth;
    uint chunks;                   // of 8 elements of a head
    uint lanes;                    // the power of two from chunks on: how many lanes a value takes
    uint column; uint capacity;    // first new column, columns that the own cache has
    uint prefix_columns; uint prefix_capacity;
    uint variations;               // rows per row of the prefix
    uint prefix_blocks; uint own_blocks;
    uint span;                     // blocks that a threadgroup of a step takes, at most
    uint pieces;                   // threadgroups for all blocks of a row and head
    uint shared_pieces;            // of them, those for blocks that rows share; one alone takes all blocks
    uint abreast_bits;             // 2^abreast_bits rows are in such a threadgroup, at most
    uint own_bits;                 // 2^own_bits in another
    uint turn_bits;                // 2^turn_bits threadgroups have the rows of one row of the prefix
    uint group_bits; uint row_bits; // 2^… threadgroups for all rows: of a shared piece, and of another
    uint late;                     // columns before the new ones may be an earlier dispatch's that is still at work
    uint once;                     // a step's simdgroups have a block each at most
    float scale;
};

template <class C> struct Head {
    device const C* keys;
    device const C* values;
    device const float* key_scales;
    device const float* value_scales;
    uint capacity;
};

template <class C>
static inline Head<C> head_of(device const C* numbers, device const float* scales, uint index, uint chunks, uint capacity) {
    Head<C> h;
    const ulong size = ulong(capacity) * chunks * 8;
    h.keys = numbers + 2 * index * size;
    h.values = h.keys + size;
    h.key_scales = scales + 2 * ulong(index) * capacity;
    h.value_scales = h.key_scales + capacity;
    h.capacity = capacity;
    return h;
}

// Eight elements of a head, and what a lane reads of a cache to have them: it stays so until it is needed, because floats
// would take two or four times the registers.
struct Eight { float4 a; float4 b; };
struct RawF32 { float4 a; float4 b; };
struct RawF16 { uint4 words; };
struct RawQ8 { uint2 words; };

static inline RawF32 raw(device const float* p) {
    RawF32 r;
    r.a = *reinterpret_cast<device const float4*>(p);
    r.b = *reinterpret_cast<device const float4*>(p + 4);
    return r;
}
static inline RawF16 raw(device const half* p) {
    RawF16 r;
    r.words = *reinterpret_cast<device const uint4*>(p);
    return r;
}
static inline RawQ8 raw(device const char* p) {
    RawQ8 r;
    r.words = *reinterpret_cast<device const uint2*>(p);
    return r;
}

static inline Eight eight(RawF32 r) {
    Eight e;
    e.a = r.a;
    e.b = r.b;
    return e;
}
static inline float4 floats(uint low, uint high) {
    const half2 a = as_type<half2>(low), b = as_type<half2>(high);
    return float4(float(a.x), float(a.y), float(b.x), float(b.y));
}
static inline Eight eight(RawF16 r) {
    Eight e;
    e.a = floats(r.words.x, r.words.y);
    e.b = floats(r.words.z, r.words.w);
    return e;
}
static inline float4 floats(uint w) {
    return float4(float(int(w << 24) >> 24), float(int(w << 16) >> 24), float(int(w << 8) >> 24), float(int(w) >> 24));
}
static inline Eight eight(RawQ8 r) {
    Eight e;
    e.a = floats(r.words.x);
    e.b = floats(r.words.y);
    return e;
}

static inline float dot8(Eight x, Eight y, float sum) {
    sum = fma(x.a.w, y.a.w, fma(x.a.z, y.a.z, fma(x.a.y, y.a.y, fma(x.a.x, y.a.x, sum))));
    return fma(x.b.w, y.b.w, fma(x.b.z, y.b.z, fma(x.b.y, y.b.y, fma(x.b.x, y.b.x, sum))));
}
static inline Eight add8(float s, Eight x, Eight sum) {
    sum.a = float4(fma(s, x.a.x, sum.a.x), fma(s, x.a.y, sum.a.y), fma(s, x.a.z, sum.a.z), fma(s, x.a.w, sum.a.w));
    sum.b = float4(fma(s, x.b.x, sum.b.x), fma(s, x.b.y, sum.b.y), fma(s, x.b.z, sum.b.z), fma(s, x.b.w, sum.b.w));
    return sum;
}

// Whether a cache's numbers have scales.
static inline bool scaled(device const float*) { return false; }
static inline bool scaled(device const half*) { return false; }
static inline bool scaled(device const char*) { return true; }

// What has been seen of some columns by R queries. Sums are those of one chunk of elements, of the columns that this lane's
// share of the simdgroup took.
template <uint R> struct Seen {
    float top[R];
    float total[R];
    Eight sums[R];
};

template <uint R> static inline void nothing_seen(thread Seen<R>& seen) {
    UNROLL for (uint r = 0; r < R; r++) {
        seen.top[r] = -INFINITY;
        seen.total[r] = 0.0f;
        seen.sums[r].a = float4(0.0f);
        seen.sums[r].b = float4(0.0f);
    }
}

// What a lane reads of a block before it needs it: K chunks of its two keys and V values.
template <class W, uint K, uint V> struct Ahead {
    W k0[K];
    W k1[K];
    W v[V];
};

// A value takes a.lanes lanes, so the simdgroup takes 32/a.lanes values at a time, this lane the one that is number
// lane/a.lanes of them. value reads element chunk of number i.
template <class C>
static inline uint value_at(constant CausalArgs& a, Head<C> h, uint first, uint end, uint i, uint lane) {
    const uint side = 32 / a.lanes, chunk = min(lane % a.lanes, a.chunks - 1);
    return 8 * (min(first + i * side + lane / a.lanes, end - 1) * a.chunks + chunk);
}

// see adds the block of columns from first on to what count ≤ R queries have seen. Query r sees columns before
// limit + r·step; the last one at least the block's first.
template <class C, class W, uint R, uint K, uint V>
static inline void see(
    constant CausalArgs& a, Head<C> h, device const float* query, uint count, uint first, uint limit, uint step,
    thread Seen<R>& seen, uint lane)
{
    const uint end = min(first + BLOCK, limit + (count - 1) * step);
    const uint j0 = min(first + lane, end - 1), j1 = min(first + 32 + lane, end - 1);
    const ulong pitch = 24 * ulong(a.heads) * a.chunks; // from one query to the next
    Ahead<W, K, V> ahead;
    UNROLL for (uint u = 0; u < K; u++) {
        const ulong c = ulong(min(u, a.chunks - 1)) * h.capacity;
        ahead.k0[u] = raw(h.keys + 8 * (c + j0));
        ahead.k1[u] = raw(h.keys + 8 * (c + j1));
    }
    UNROLL for (uint u = 0; u < V; u++) ahead.v[u] = raw(h.values + value_at(a, h, first, end, u, lane));
    float s0[R], s1[R];
    UNROLL for (uint r = 0; r < R; r++) s0[r] = s1[r] = 0.0f;
    for (uint start = 0; start < a.chunks; start += K) {
        UNROLL for (uint u = 0; u < K; u++) {
            const Eight x0 = eight(ahead.k0[u]), x1 = eight(ahead.k1[u]);
            UNROLL for (uint r = 0; r < R; r++) {
                if (r < count && start + u < a.chunks) {
                    const Eight q = eight(raw(query + r * pitch + 8 * (start + u)));
                    s0[r] = dot8(q, x0, s0[r]);
                    s1[r] = dot8(q, x1, s1[r]);
                }
            }
            if (start + K < a.chunks) {
                const ulong c = ulong(min(start + K + u, a.chunks - 1)) * h.capacity;
                ahead.k0[u] = raw(h.keys + 8 * (c + j0));
                ahead.k1[u] = raw(h.keys + 8 * (c + j1));
            }
        }
    }
    float scale0 = 1.0f, scale1 = 1.0f, value0 = 1.0f, value1 = 1.0f;
    if (scaled(h.keys)) {
        scale0 = h.key_scales[j0];
        scale1 = h.key_scales[j1];
        value0 = h.value_scales[j0];
        value1 = h.value_scales[j1];
    }
    UNROLL for (uint r = 0; r < R; r++) {
        if (r < count) {
            const uint visible = limit + r * step;
            s0[r] = first + lane < visible ? s0[r] * scale0 * a.scale : -INFINITY;
            s1[r] = first + 32 + lane < visible ? s1[r] * scale1 * a.scale : -INFINITY;
            // Where a query sees none of the block all is -∞; a finite top keeps differences numbers.
            const float top = max(max(seen.top[r], -1e30f), simd_max(max(s0[r], s1[r])));
            const float fade = exp(seen.top[r] - top);
            s0[r] = exp(s0[r] - top);
            s1[r] = exp(s1[r] - top);
            seen.total[r] = fma(seen.total[r], fade, simd_sum(s0[r] + s1[r]));
            seen.top[r] = top;
            seen.sums[r].a *= fade;
            seen.sums[r].b *= fade;
            s0[r] *= value0;
            s1[r] *= value1;
        }
    }
    const uint side = 32 / a.lanes;
    for (uint from = 0; from * side < BLOCK && first + from * side < end; from += V) {
        UNROLL for (uint u = 0; u < V; u++) {
            const uint place = (from + u) * side + lane / a.lanes;
            const Eight x = eight(ahead.v[u]);
            UNROLL for (uint r = 0; r < R; r++) {
                if (r < count) {
                    const float p0 = simd_shuffle(s0[r], ushort(place % 32)), p1 = simd_shuffle(s1[r], ushort(place % 32));
                    if (place < BLOCK) seen.sums[r] = add8(place < 32 ? p0 : p1, x, seen.sums[r]);
                }
            }
            if ((from + V) * side < BLOCK) ahead.v[u] = raw(h.values + value_at(a, h, first, end, from + V + u, lane));
        }
    }
}

// gather adds up, for each query, the sums of all the lanes that took the same chunk.
template <uint R> static inline void gather(thread Seen<R>& seen, uint lanes) {
    for (uint mask = lanes; mask < 32; mask *= 2) {
        UNROLL for (uint r = 0; r < R; r++) {
            UNROLL for (uint i = 0; i < 4; i++) {
                seen.sums[r].a[i] += simd_shuffle_xor(seen.sums[r].a[i], ushort(mask));
                seen.sums[r].b[i] += simd_shuffle_xor(seen.sums[r].b[i], ushort(mask));
            }
        }
    }
}

// The other way: a lane's eight elements as a cache holds them, and their way there. inverse undoes the scale.
static inline uint pair(float a, float b) { return as_type<uint>(half2(half(a), half(b))); }
static inline uint four(float4 v, float inverse) {
    return (uint(int(rint(v.x * inverse))) & 255u) | (uint(int(rint(v.y * inverse))) & 255u) << 8 |
           (uint(int(rint(v.z * inverse))) & 255u) << 16 | uint(int(rint(v.w * inverse))) << 24;
}
static inline void pack(Eight e, float, thread RawF32& r) {
    r.a = e.a;
    r.b = e.b;
}
static inline void pack(Eight e, float, thread RawF16& r) {
    r.words = uint4(pair(e.a.x, e.a.y), pair(e.a.z, e.a.w), pair(e.b.x, e.b.y), pair(e.b.z, e.b.w));
}
static inline void pack(Eight e, float inverse, thread RawQ8& r) { r.words = uint2(four(e.a, inverse), four(e.b, inverse)); }
static inline void put(device float* to, RawF32 r) {
    *reinterpret_cast<device float4*>(to) = r.a;
    *reinterpret_cast<device float4*>(to + 4) = r.b;
}
static inline void put(device half* to, RawF16 r) { *reinterpret_cast<device uint4*>(to) = r.words; }
static inline void put(device char* to, RawQ8 r) { *reinterpret_cast<device uint2*>(to) = r.words; }

// pack_vector packs a lane's eight of a vector that so many lanes have, a power of two; the vector's scale.
template <class C, class W> static inline float pack_vector(device const C* kind, Eight e, uint lanes, thread W& packed) {
    if (!scaled(kind)) {
        pack(e, 1.0f, packed);
        return 1.0f;
    }
    float most = max(max(max(fabs(e.a.x), fabs(e.a.y)), max(fabs(e.a.z), fabs(e.a.w))),
                     max(max(fabs(e.b.x), fabs(e.b.y)), max(fabs(e.b.z), fabs(e.b.w))));
    for (uint mask = 1; mask < lanes; mask *= 2) most = max(most, simd_shuffle_xor(most, ushort(mask)));
    pack(e, most > 0.0f ? 127.0f / most : 0.0f, packed);
    return most / 127.0f;
}

// store puts new keys and values into the own cache, an eight by each thread: group.x counts rows, heads, keys and values.
template <class C, class W>
static inline void store(
    constant CausalArgs& a, device C* numbers, device float* scales, device const float* qkv, uint2 group, uint thread_index, uint threads)
{
    const uint i = group.y * threads + thread_index, chunk = i % a.lanes, n = i / a.lanes, column = a.column + n;
    const uint kind = group.x % 2, index = group.x / 2, row = index / a.heads, head = index % a.heads, width = 8 * a.heads * a.chunks;
    const bool there = n < a.columns && chunk < a.chunks;
    Eight e;
    e.a = e.b = float4(0.0f);
    if (there) e = eight(raw(qkv + ((ulong(row) * a.columns + n) * 3 + 1 + kind) * width + 8 * (head * a.chunks + chunk)));
    W packed;
    const float scale = pack_vector(numbers, e, a.lanes, packed);
    if (!there) return;
    device C* to = numbers + ulong(group.x) * a.capacity * a.chunks * 8;
    put(to + 8 * (kind == 0 ? ulong(chunk) * a.capacity + column : ulong(column) * a.chunks + chunk), packed);
    if (scaled(numbers) && chunk == 0) scales[ulong(group.x) * a.capacity + column] = scale;
}

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

// fill computes eight queries of a row through all blocks.
template <class C, class W>
static inline void fill(
    constant CausalArgs& a, device const float* qkv, device const C* own, device const float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float* dst, uint item, uint lane)
{
    const uint strips = (a.columns + 7) / 8;
    const uint strip = item % strips, head = item / strips % a.heads, row = item / strips / a.heads;
    if (row >= a.rows) return;
    const uint count = min(8u, a.columns - 8 * strip), n = row * a.columns + 8 * strip;
    device const float* query = qkv + 8 * a.chunks * (ulong(n) * 3 * a.heads + head);
    Seen<8> seen;
    nothing_seen<8>(seen);
    if (a.prefix_columns > 0) {
        const Head<C> h = head_of(prefix, prefix_scales, row / a.variations * a.heads + head, a.chunks, a.prefix_capacity);
        for (uint first = 0; first < a.prefix_columns; first += BLOCK) see<C, W, 8, 4, 2>(a, h, query, count, first, a.prefix_columns, 0, seen, lane);
    }
    const Head<C> h = head_of(own, own_scales, row * a.heads + head, a.chunks, a.capacity);
    const uint limit = a.column + 8 * strip + 1;
    for (uint first = 0; first < limit + count - 1; first += BLOCK) see<C, W, 8, 4, 2>(a, h, query, count, first, limit, 1, seen, lane);
    gather<8>(seen, a.lanes);
    UNROLL for (uint r = 0; r < 8; r++) {
        if (r < count) {
            device float* to = dst + (ulong(n + r) * a.heads + head) * a.depth;
            UNROLL for (uint i = 0; i < 4; i++) {
                const uint d = 8 * lane + i;
                if (d < a.depth) to[d] = seen.sums[r].a[i] / seen.total[r];
                if (d + 4 < a.depth) to[d + 4] = seen.sums[r].b[i] / seen.total[r];
            }
        }
    }
}

// A prefill's tile: 16 queries of a head a simdgroup, which go through all blocks of columns as matrices. The threadgroup's
// simdgroups read a block together, and the next while they multiply one. Of a matrix with a row per query lane l has, of
// rows l/4 and l/4+8, two in each eight numbers: v[h][2·j+i] is number 8·j + l%4·2 + i of row l/4 + 8·h.
#define STRIP 16           // queries of a simdgroup
#define TILE_SIMDS 4       // simdgroups of a threadgroup, at most
#define SCRATCH_STRIDE 36  // of a simdgroup's own 16×32 numbers
#define COLUMNS_half 64    // of a block
#define COLUMNS_float 32
#define STRIDE_half 72     // of a column in threadgroup memory: eight columns meet in no memory bank
#define STRIDE_float 68

template <uint N> struct Rows { float v[2][N / 4]; };

// Left is such a matrix as the left operand of product. Where a GPU's matrices are of another shape than Metal's 8×8, what
// stands before this text may bring a Left of its own beside halves.
template <uint N> struct Left { simdgroup_matrix<float, 8, 8> part[2][N / 8]; };

static inline uint scratch_at(uint h, uint j, uint lane) { return (lane / 4 + 8 * h) * SCRATCH_STRIDE + 8 * j + lane % 4 * 2; }

template <uint N> static inline void take(thread Left<N>& left, thread const Rows<N>& rows, threadgroup float* scratch, uint lane) {
    UNROLL for (uint n = 0; n < N; n += 32) {
        UNROLL for (uint h = 0; h < 2; h++) {
            UNROLL for (uint j = 0; j < 4; j++)
                *reinterpret_cast<threadgroup float2*>(scratch + scratch_at(h, j, lane)) =
                    float2(rows.v[h][n / 4 + 2 * j], rows.v[h][n / 4 + 2 * j + 1]);
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
        UNROLL for (uint h = 0; h < 2; h++) {
            UNROLL for (uint j = 0; j < 4; j++)
                simdgroup_load(left.part[h][n / 8 + j], scratch + 8 * h * SCRATCH_STRIDE + 8 * j, SCRATCH_STRIDE);
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

// product: out = left·right, right with a row of numbers per column of left; turned: with a row per column of out.
template <bool TURNED, class T, uint N, uint M>
static inline void product(
    thread Rows<M>& out, thread Left<N>& left, threadgroup const T* right, uint stride, threadgroup float* scratch, uint lane)
{
    UNROLL for (uint m = 0; m < M; m += 32) {
        simdgroup_matrix<float, 8, 8> sums[2][4];
        UNROLL for (uint j = 0; j < 4; j++) sums[0][j] = sums[1][j] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
        UNROLL for (uint n = 0; n < N; n += 8) {
            UNROLL for (uint j = 0; j < 4; j++) {
                const uint place = TURNED ? (m + 8 * j) * stride + n : n * stride + m + 8 * j;
                simdgroup_matrix<T, 8, 8> part;
                simdgroup_load(part, right + place, stride, ulong2(0, 0), TURNED);
                simdgroup_multiply_accumulate(sums[0][j], left.part[0][n / 8], part, sums[0][j]);
                simdgroup_multiply_accumulate(sums[1][j], left.part[1][n / 8], part, sums[1][j]);
            }
        }
        UNROLL for (uint h = 0; h < 2; h++) {
            UNROLL for (uint j = 0; j < 4; j++) simdgroup_store(sums[h][j], scratch + 8 * h * SCRATCH_STRIDE + 8 * j, SCRATCH_STRIDE);
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
        UNROLL for (uint h = 0; h < 2; h++) {
            UNROLL for (uint j = 0; j < 4; j++) {
                const float2 two = *reinterpret_cast<threadgroup const float2*>(scratch + scratch_at(h, j, lane));
                out.v[h][m / 4 + 2 * j] = two.x;
                out.v[h][m / 4 + 2 * j + 1] = two.y;
            }
        }
        simdgroup_barrier(mem_flags::mem_threadgroup);
    }
}

#define LEFT_float Left
#define SCRATCH_float (STRIP * SCRATCH_STRIDE)
#ifdef MK_LEFT_HALF
#define LEFT_half LeftHalf
#define SCRATCH_half 2
#else
#define LEFT_half Left
#define SCRATCH_half SCRATCH_float
#endif

// place puts eight numbers into threadgroup memory.
static inline void place(threadgroup float* to, RawF32 r) {
    *reinterpret_cast<threadgroup float4*>(to) = r.a;
    *reinterpret_cast<threadgroup float4*>(to + 4) = r.b;
}
static inline void place(threadgroup half* to, RawF16 r) { *reinterpret_cast<threadgroup uint4*>(to) = r.words; }
static inline void place(threadgroup half* to, RawQ8 r) {
    const Eight e = eight(r);
    *reinterpret_cast<threadgroup uint4*>(to) = uint4(pair(e.a.x, e.a.y), pair(e.a.z, e.a.w), pair(e.b.x, e.b.y), pair(e.b.z, e.b.w));
}

// A Span is some columns of a head, from first to end; what is behind its end is the last one again.
template <class C> struct Span { Head<C> head; uint first; uint end; };

// key, value and scale read the e-th of the eights of a block's keys, values, and scales, the keys' before the values'.
template <uint COLUMNS, class C> static inline uint key_at(Span<C> s, uint e) {
    return 8 * (e / COLUMNS * s.head.capacity + min(s.first + e % COLUMNS, s.end - 1));
}
template <class C> static inline uint value_at(Span<C> s, uint e) {
    return 8 * (min(s.first + e / STEP_CHUNKS, s.end - 1) * STEP_CHUNKS + e % STEP_CHUNKS);
}
template <uint COLUMNS, class C> static inline float scale_at(Span<C> s, uint e) {
    const uint column = min(s.first + e % COLUMNS, s.end - 1);
    return e < COLUMNS ? s.head.key_scales[column] : s.head.value_scales[column];
}

// What a thread holds of a block, all of its share where the threadgroup has all simdgroups.
template <class W, uint EIGHTS> struct Share { W keys[EIGHTS]; W values[EIGHTS]; float scale; };

// tile_span is block number b of all that a tile sees, of which own columns of the row's.
template <uint COLUMNS, class C>
static inline Span<C> tile_span(constant CausalArgs& a, Head<C> prefix, Head<C> own, uint shared, uint columns, uint b) {
    Span<C> s;
    s.head = own;
    s.first = (b - shared) * COLUMNS;
    s.end = columns;
    if (b < shared) {
        s.head = prefix;
        s.first = b * COLUMNS;
        s.end = a.prefix_columns;
    }
    return s;
}

// What a lane knows of its two queries. unit is what the sums are to be multiplied with.
struct Softmax {
    float factor[2];
    float top[2];
    float total[2]; // of this lane's columns
    float unit;
    Rows<64> sums;
};

// soften makes shares of scores, and of the sums what they are beside a new largest one. Query h sees columns before
// visible[h]; scales are those of the block's keys, then values.
template <bool SCALED, uint COLUMNS>
static inline void soften(
    thread Softmax& x, thread Rows<COLUMNS>& s, thread const uint* visible, uint first, threadgroup const float* scales, uint lane)
{
    float unit = x.unit;
    if (SCALED) {
        UNROLL for (uint k = 0; k < COLUMNS / 4; k++) unit = max(unit, scales[COLUMNS + k / 2 * 8 + lane % 4 * 2 + k % 2]);
        unit = max(unit, simd_shuffle_xor(unit, ushort(1)));
        unit = max(unit, simd_shuffle_xor(unit, ushort(2)));
    }
    const float inverse = 1.0f / unit;
    UNROLL for (uint h = 0; h < 2; h++) {
        float top = max(x.top[h], -1e30f); // finite, so that differences are numbers
        UNROLL for (uint k = 0; k < COLUMNS / 4; k++) {
            const uint column = k / 2 * 8 + lane % 4 * 2 + k % 2;
            float score = s.v[h][k] * x.factor[h];
            if (SCALED) score *= scales[column];
            s.v[h][k] = first + column < visible[h] ? score : -INFINITY;
            top = fmax(top, s.v[h][k]);
        }
        top = max(top, simd_shuffle_xor(top, ushort(1)));
        top = max(top, simd_shuffle_xor(top, ushort(2)));
        float fade = power(x.top[h] - top), total = 0.0f;
        UNROLL for (uint k = 0; k < COLUMNS / 4; k++) {
            const float share = power(s.v[h][k] - top);
            total += share;
            s.v[h][k] = SCALED ? share * (scales[COLUMNS + k / 2 * 8 + lane % 4 * 2 + k % 2] * inverse) : share;
        }
        x.total[h] = fma(x.total[h], fade, total);
        x.top[h] = top;
        if (SCALED) fade *= x.unit * inverse;
        UNROLL for (uint k = 0; k < 16; k++) x.sums.v[h][k] *= fade;
    }
    x.unit = unit;
}

// ask_queries reads a lane's queries of the 16 from begin on, each times a power of two that brings its largest number into
// [1, 2), so that halves can hold them.
static inline void ask_queries(
    constant CausalArgs& a, thread Softmax& x, thread Rows<64>& q, device const float* qkv, uint head, uint row, uint begin, uint lane)
{
    UNROLL for (uint h = 0; h < 2; h++) {
        const ulong n = ulong(row) * a.columns + min(begin + lane / 4 + 8 * h, a.columns - 1);
        device const float* from = qkv + 64 * (n * 3 * a.heads + head) + lane % 4 * 2;
        float largest = 0.0f;
        UNROLL for (uint j = 0; j < 8; j++) {
            const float2 two = *reinterpret_cast<device const float2*>(from + 8 * j);
            q.v[h][2 * j] = two.x;
            q.v[h][2 * j + 1] = two.y;
            largest = max(largest, max(fabs(two.x), fabs(two.y)));
        }
        largest = max(largest, simd_shuffle_xor(largest, ushort(1)));
        largest = max(largest, simd_shuffle_xor(largest, ushort(2)));
        const uint exponent = clamp((as_type<uint>(largest) >> 23) & 255u, 1u, 253u);
        UNROLL for (uint k = 0; k < 16; k++) q.v[h][k] *= as_type<float>((254u - exponent) << 23);
        x.factor[h] = a.scale * 1.44269504f * as_type<float>(exponent << 23); // so that powers of two will do
        x.top[h] = -INFINITY;
        x.total[h] = 0.0f;
        UNROLL for (uint k = 0; k < 16; k++) x.sums.v[h][k] = 0.0f;
    }
    x.unit = 1.0f;
}

// fetch asks for a thread's share of a block; put_block places it in threadgroup memory, and what could not be held.
template <uint COLUMNS, class C, class W, uint HELD>
static inline void fetch(thread Share<W, HELD>& share, Span<C> s, uint thread_index, uint threads) {
    UNROLL for (uint i = 0; i < HELD; i++) share.keys[i] = raw(s.head.keys + key_at<COLUMNS>(s, thread_index + i * threads));
    UNROLL for (uint i = 0; i < HELD; i++) share.values[i] = raw(s.head.values + value_at(s, thread_index + i * threads));
    if (scaled(s.head.keys) && thread_index < 2 * COLUMNS) share.scale = scale_at<COLUMNS>(s, thread_index);
}

template <uint STRIDE, uint COLUMNS, class T, class C, class W, uint HELD>
static inline void put_block(
    threadgroup T* keys, threadgroup T* values, threadgroup float* scales, thread const Share<W, HELD>& share, Span<C> s,
    uint thread_index, uint threads)
{
    UNROLL for (uint i = 0; i < HELD; i++) {
        const uint e = thread_index + i * threads;
        place(keys + e % COLUMNS * STRIDE + e / COLUMNS * 8, share.keys[i]);
        place(values + e / STEP_CHUNKS * STRIDE + e % STEP_CHUNKS * 8, share.values[i]);
    }
    for (uint e = thread_index + HELD * threads; e < COLUMNS * STEP_CHUNKS; e += threads) {
        place(keys + e % COLUMNS * STRIDE + e / COLUMNS * 8, raw(s.head.keys + key_at<COLUMNS>(s, e)));
        place(values + e / STEP_CHUNKS * STRIDE + e % STEP_CHUNKS * 8, raw(s.head.values + value_at(s, e)));
    }
    if (scaled(s.head.keys)) {
        if (thread_index < 2 * COLUMNS) scales[thread_index] = share.scale;
        for (uint e = thread_index + threads; e < 2 * COLUMNS; e += threads) scales[e] = scale_at<COLUMNS>(s, e);
    }
}

// Q and P are queries and shares as left operands.
template <class T, class C, class W, class Q, class P, bool SCALED, uint COLUMNS, uint STRIDE>
static inline void fill_tile(
    constant CausalArgs& a, device const float* qkv, device const C* own, device const float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float* dst, threadgroup T* keys, threadgroup T* values, threadgroup float* scales,
    threadgroup float* scratch, uint2 group, uint thread_index, uint simd, uint simds, uint lane)
{
    simd = simd_broadcast_first(simd);
    const uint head = group.x % a.heads, row = group.x / a.heads, queries = STRIP * simds, threads = 32 * simds;
    // The last columns' tiles take longest, so they come first.
    const uint tile = (a.columns + queries - 1) / queries - 1 - group.y, begin = tile * queries + STRIP * simd;
    const uint columns = a.column + min((tile + 1) * queries, a.columns);
    const uint shared = (a.prefix_columns + COLUMNS - 1) / COLUMNS, blocks = shared + (columns + COLUMNS - 1) / COLUMNS;
    const Head<C> of_own = head_of(own, own_scales, row * a.heads + head, STEP_CHUNKS, a.capacity);
    const Head<C> of_prefix = head_of(prefix, prefix_scales, row / a.variations * a.heads + head, STEP_CHUNKS, a.prefix_capacity);
    Share<W, COLUMNS * STEP_CHUNKS / (32 * TILE_SIMDS)> share;
    fetch<COLUMNS>(share, tile_span<COLUMNS>(a, of_prefix, of_own, shared, columns, 0), thread_index, threads);
    Softmax x;
    Q left;
    {
        Rows<64> q;
        ask_queries(a, x, q, qkv, head, row, begin, lane);
        take(left, q, scratch, lane);
    }
    for (uint b = 0; b < blocks; b++) {
        const Span<C> span = tile_span<COLUMNS>(a, of_prefix, of_own, shared, columns, b);
        put_block<STRIDE, COLUMNS>(keys, values, scales, share, span, thread_index, threads);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        if (b + 1 < blocks) fetch<COLUMNS>(share, tile_span<COLUMNS>(a, of_prefix, of_own, shared, columns, b + 1), thread_index, threads);
        if (begin < a.columns && (b < shared || span.first < a.column + begin + STRIP)) {
            uint visible[2];
            UNROLL for (uint h = 0; h < 2; h++) visible[h] = b < shared ? a.prefix_columns : a.column + begin + lane / 4 + 8 * h + 1;
            Rows<COLUMNS> shares;
            product<true>(shares, left, keys, STRIDE, scratch, lane);
            soften<SCALED, COLUMNS>(x, shares, visible, span.first, scales, lane);
            P weights;
            take(weights, shares, scratch, lane);
            Rows<64> sums;
            product<false>(sums, weights, values, STRIDE, scratch, lane);
            UNROLL for (uint h = 0; h < 2; h++) {
                UNROLL for (uint k = 0; k < 16; k++) x.sums.v[h][k] += sums.v[h][k];
            }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    UNROLL for (uint h = 0; h < 2; h++) {
        float total = x.total[h];
        total += simd_shuffle_xor(total, ushort(1));
        total += simd_shuffle_xor(total, ushort(2));
        const float by = x.unit / total;
        const uint query = begin + lane / 4 + 8 * h;
        device float* to = dst + ((ulong(row) * a.columns + query) * a.heads + head) * 64 + lane % 4 * 2;
        UNROLL for (uint k = 0; k < 16; k++) {
            if (query < a.columns) to[k / 2 * 8 + k % 2] = x.sums.v[h][k] * by;
        }
    }
}

// causal_pad: heads of depth elements become whole chunks, filled up with zeros. A thread per element.
kernel void causal_pad(
    constant CausalArgs& a [[buffer(0)]],
    device const float* qkv [[buffer(1)]],
    device float* dst [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]])
{
    const ulong i = ulong(group) * threads + thread_index;
    const uint width = 8 * a.chunks;
    if (i >= ulong(a.rows) * a.columns * 3 * a.heads * width) return;
    const uint d = uint(i % width);
    dst[i] = d < a.depth ? qkv[i / width * a.depth + d] : 0.0f;
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

#define CAUSAL_FILL(name, C, W) \
    kernel void causal_store_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device C* own [[buffer(2)]], \
        device float* own_scales [[buffer(3)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint thread_index [[thread_index_in_threadgroup]], \
        uint2 threads [[threads_per_threadgroup]]) \
    { \
        store<C, W>(a, own, own_scales, qkv, group, thread_index, threads.x); \
    } \
    kernel void causal_fill_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device const C* own [[buffer(2)]], \
        device const float* own_scales [[buffer(3)]], \
        device const C* prefix [[buffer(4)]], \
        device const float* prefix_scales [[buffer(5)]], \
        device float* dst [[buffer(6)]], \
        uint group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        fill<C, W>(a, qkv, own, own_scales, prefix, prefix_scales, dst, group * simds + simd, lane); \
    }

#define CAUSAL_TILE(name, T, C, W, SCALED) \
    kernel void causal_tile_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device const C* own [[buffer(2)]], \
        device const float* own_scales [[buffer(3)]], \
        device const C* prefix [[buffer(4)]], \
        device const float* prefix_scales [[buffer(5)]], \
        device float* dst [[buffer(6)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint thread_index [[thread_index_in_threadgroup]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        TG_ARRAY(T, keys, COLUMNS_##T * STRIDE_##T); \
        TG_ARRAY(T, values, COLUMNS_##T * STRIDE_##T); \
        TG_ARRAY(float, scales, 2 * COLUMNS_##T); \
        TG_ARRAY(float, scratch, TILE_SIMDS * SCRATCH_##T); \
        fill_tile<T, C, W, LEFT_##T<64>, LEFT_##T<COLUMNS_##T>, SCALED, COLUMNS_##T, STRIDE_##T>( \
            a, qkv, own, own_scales, prefix, prefix_scales, dst, keys, values, scales, scratch + simd * SCRATCH_##T, group, \
            thread_index, simd, simds, lane); \
    }

STEP_SPLIT(f32, float) CAUSAL_FILL(f32, float, RawF32) CAUSAL_TILE(f32, float, float, RawF32, false)
STEP_SPLIT(f16, half) CAUSAL_FILL(f16, half, RawF16) CAUSAL_TILE(f16, half, half, RawF16, false)
STEP_SPLIT(q8, char) CAUSAL_FILL(q8, char, RawQ8) CAUSAL_TILE(q8, half, char, RawQ8, true)
