// CausalAttention: keys and values of new columns go into a cache, and each new column's query attends to a prefix that rows
// share, then to its own row's columns up to itself.
//
//	few columns (a step)   causal_split: a simdgroup per block of columns and head stores what is new in it and computes,
//	                       for every query that sees it, the largest score, Σe^(s-largest) and Σe^(s-largest)·v;
//	                       causal_join adds the blocks up
//	many (a prefill)       causal_store, then causal_fill: a simdgroup per eight queries and head goes through all blocks
//
// Rows that share a block of a prefix have a simdgroup each for it, side by side in a threadgroup, so that one reads it from
// memory and the others from the core's cache. Blocks are counted from the first column of the prefix and of the own cache, so
// they and the order of all sums do not depend on how many rows there are.
//
// The cache of one layer: for every row and head first the keys, [chunk of 8 elements][column][8], so that lanes that take a
// column each read side by side; then the values, [column][chunks·8]. Numbers are float, half, or char with one scale for
// each key and value: [row][head][keys, values][column] floats. Heads are whole chunks here; causal_pad makes them so, and
// puts them at 16 bytes, where they are not.

// A step's blocks are small, so that all cores have many of them under way; a prefill's are twice that. Lane l scores columns
// l and, of the larger ones, l+32.
#define BLOCK 32
#define FILL_BLOCK 64

struct CausalArgs {
    uint rows; uint columns; uint heads; uint depth;
    uint chunks;                   // of 8 elements of a head
    uint lanes;                    // the power of two from chunks on: how many lanes a value takes
    uint column; uint capacity;    // first new column, columns that the own cache has
    uint prefix_columns; uint prefix_capacity;
    uint variations;               // rows per row of the prefix
    uint prefix_blocks; uint own_blocks;
    uint prefix_items;             // prefix blocks of all heads and prefix rows
    uint parts;                    // blocks that there is room for, for each query and head
    uint late;                     // columns before the new ones may be an earlier dispatch's that is still at work
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

// Columns of a head from first to end, not more than a block; none where first is end.
template <class C> struct Block {
    Head<C> head;
    uint first;
    uint end;
};

template <class C> static inline Block<C> block_of(Head<C> head, uint first, uint end) {
    Block<C> b;
    b.head = head;
    b.first = first;
    b.end = end;
    return b;
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

// Whether a cache's numbers have scales, and how one number is stored; inverse undoes the scale.
static inline bool scaled(device const float*) { return false; }
static inline bool scaled(device const half*) { return false; }
static inline bool scaled(device const char*) { return true; }
static inline void put(device float* to, float v, float) { *to = v; }
static inline void put(device half* to, float v, float) { *to = half(v); }
static inline void put(device char* to, float v, float inverse) { *to = char(int(rint(v * inverse))); }

// store_vector puts one vector at to, element d at (d/8)·stride + d%8, by one simdgroup.
template <class C>
static inline void store_vector(device C* to, device float* scale, device const float* from, ulong stride, uint depth, uint lane) {
    float inverse = 1.0f;
    if (scaled(to)) {
        float largest = 0.0f;
        for (uint d = lane; d < depth; d += 32) largest = max(largest, fabs(from[d]));
        largest = simd_max(largest);
        inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
        if (lane == 0) *scale = largest / 127.0f;
    }
    for (uint d = lane; d < depth; d += 32) put(to + (d / 8) * stride + d % 8, from[d], inverse);
}

// store_column puts the key and the value of one head into a column of the own cache.
template <class C>
static inline void store_column(
    constant CausalArgs& a, device C* numbers, device float* scales, device const float* qkv, uint row, uint head, uint column, uint lane)
{
    const ulong index = 2 * (ulong(row) * a.heads + head);
    const ulong size = ulong(a.capacity) * a.chunks * 8;
    device C* keys = numbers + index * size;
    device C* values = keys + size;
    device float* scale = scales + index * a.capacity + column;
    const uint width = 8 * a.heads * a.chunks;
    device const float* from = qkv + (ulong(row) * a.columns + column - a.column) * 3 * width + 8 * head * a.chunks;
    store_vector(keys + 8 * ulong(column), scale, from + width, 8 * ulong(a.capacity), 8 * a.chunks, lane);
    store_vector(values + 8 * ulong(column) * a.chunks, scale + a.capacity, from + 2 * width, ulong(8), 8 * a.chunks, lane);
}

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

// What a lane reads of a block of 32·S columns before it needs it: K chunks of its S keys and V values. In halves that is
// the whole block of a step's, with heads of 64 elements, so that memory is waited for once.
template <class W, uint S, uint K, uint V> struct Ahead {
    W keys[K][S];
    W values[V];
};

// A value takes a.lanes lanes, so the simdgroup takes 32/a.lanes values at a time, this lane the one that is number
// lane/a.lanes of them. value_at is where element chunk of number i lies.
template <class C>
static inline uint value_at(constant CausalArgs& a, Block<C> b, uint i, uint lane) {
    const uint side = 32 / a.lanes, chunk = min(lane % a.lanes, a.chunks - 1);
    return 8 * (min(b.first + i * side + lane / a.lanes, b.end - 1) * a.chunks + chunk);
}

template <class C, class W, uint S, uint K, uint V>
static inline void ask_keys(constant CausalArgs& a, Block<C> b, uint chunk, uint u, thread Ahead<W, S, K, V>& ahead, uint lane) {
    const ulong c = ulong(min(chunk + u, a.chunks - 1)) * b.head.capacity;
    UNROLL for (uint i = 0; i < S; i++) ahead.keys[u][i] = raw(b.head.keys + 8 * (c + min(b.first + 32 * i + lane, b.end - 1)));
}

// ask begins to read a block, unless it is none.
template <class C, class W, uint S, uint K, uint V>
static inline void ask(constant CausalArgs& a, Block<C> b, thread Ahead<W, S, K, V>& ahead, uint lane) {
    if (b.first == b.end) return;
    UNROLL for (uint u = 0; u < K; u++) ask_keys<C, W, S, K, V>(a, b, 0, u, ahead, lane);
    UNROLL for (uint u = 0; u < V; u++) ahead.values[u] = raw(b.head.values + value_at(a, b, u, lane));
}

// see adds a block of up to 32·S columns, which has been asked for, to what count ≤ R queries have seen. Query r sees columns
// before limit + r·step.
template <class C, class W, uint R, uint S, uint K, uint V>
static inline void see(
    constant CausalArgs& a, Block<C> b, device const float* query, uint count, uint limit, uint step,
    thread Ahead<W, S, K, V>& ahead, thread Seen<R>& seen, uint lane)
{
    const ulong pitch = 24 * ulong(a.heads) * a.chunks; // from one query to the next
    float shares[R][S];
    UNROLL for (uint r = 0; r < R; r++) {
        UNROLL for (uint i = 0; i < S; i++) shares[r][i] = 0.0f;
    }
    for (uint start = 0; start < a.chunks; start += K) {
        UNROLL for (uint u = 0; u < K; u++) {
            Eight x[S];
            UNROLL for (uint i = 0; i < S; i++) x[i] = eight(ahead.keys[u][i]);
            UNROLL for (uint r = 0; r < R; r++) {
                if (r < count && start + u < a.chunks) {
                    const Eight q = eight(raw(query + r * pitch + 8 * (start + u)));
                    UNROLL for (uint i = 0; i < S; i++) shares[r][i] = dot8(q, x[i], shares[r][i]);
                }
            }
            if (start + K < a.chunks) ask_keys<C, W, S, K, V>(a, b, start + K, u, ahead, lane);
        }
    }
    float key_scales[S], value_scales[S];
    UNROLL for (uint i = 0; i < S; i++) {
        const uint j = min(b.first + 32 * i + lane, b.end - 1);
        key_scales[i] = scaled(b.head.keys) ? b.head.key_scales[j] : 1.0f;
        value_scales[i] = scaled(b.head.keys) ? b.head.value_scales[j] : 1.0f;
    }
    UNROLL for (uint r = 0; r < R; r++) {
        if (r < count) {
            const uint visible = limit + r * step;
            float most = -INFINITY, sum = 0.0f;
            UNROLL for (uint i = 0; i < S; i++) {
                shares[r][i] = b.first + 32 * i + lane < visible ? shares[r][i] * key_scales[i] * a.scale : -INFINITY;
                most = max(most, shares[r][i]);
            }
            // Where a query sees none of the block all is -∞; a finite top keeps differences numbers.
            const float top = max(max(seen.top[r], -1e30f), simd_max(most));
            const float fade = exp(seen.top[r] - top);
            UNROLL for (uint i = 0; i < S; i++) {
                shares[r][i] = exp(shares[r][i] - top);
                sum += shares[r][i];
                shares[r][i] *= value_scales[i];
            }
            seen.total[r] = fma(seen.total[r], fade, simd_sum(sum));
            seen.top[r] = top;
            seen.sums[r].a *= fade;
            seen.sums[r].b *= fade;
        }
    }
    const uint side = 32 / a.lanes;
    for (uint from = 0; from * side < 32 * S && b.first + from * side < b.end; from += V) {
        UNROLL for (uint u = 0; u < V; u++) {
            const uint start = (from + u) * side, place = start + lane / a.lanes; // all in the same 32 columns
            const Eight x = eight(ahead.values[u]);
            UNROLL for (uint r = 0; r < R; r++) {
                if (r < count && start < 32 * S) {
                    const float p = simd_shuffle(start < 32 ? shares[r][0] : shares[r][S - 1], ushort(place % 32));
                    seen.sums[r] = add8(p, x, seen.sums[r]);
                }
            }
            if ((from + V) * side < 32 * S) ahead.values[u] = raw(b.head.values + value_at(a, b, from + V + u, lane));
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

// query_of is where the query of a head is in qkv, row and column in one number.
static inline device const float* query_of(constant CausalArgs& a, device const float* qkv, uint n, uint head) {
    return qkv + 8 * a.chunks * (ulong(n) * 3 * a.heads + head);
}

// part computes the part of a block, which has been asked for, for each query of a row and head; query i sees the columns
// before limit + i·step.
template <class C, class W, uint K, uint V>
static inline void part(
    constant CausalArgs& a, Block<C> b, device const float* qkv, device float* tops, device float* sums, uint row, uint head,
    uint limit, uint step, uint index, thread Ahead<W, 1, K, V>& ahead, uint lane)
{
    for (uint i = 0; i < a.columns; i++) {
        const uint visible = limit + i * step, n = row * a.columns + i;
        if (b.first >= visible) continue;
        if (i > 0) ask<C, W, 1, K, V>(a, b, ahead, lane);
        Seen<1> seen;
        nothing_seen<1>(seen);
        see<C, W, 1, 1, K, V>(a, b, query_of(a, qkv, n, head), 1, visible, 0, ahead, seen, lane);
        gather<1>(seen, a.lanes);
        const ulong at = (ulong(n) * a.heads + head) * a.parts + index;
        if (lane == 0) {
            tops[2 * at] = seen.top[0];
            tops[2 * at + 1] = seen.total[0];
        }
        if (lane < a.chunks) {
            device float4* to = reinterpret_cast<device float4*>(sums + (at * a.chunks + lane) * 8);
            to[0] = seen.sums[0].a;
            to[1] = seen.sums[0].b;
        }
    }
}

// Items are first ((prefix row·heads + head)·prefix_blocks + block)·variations + variation, so that the rows that share a
// block read it side by side, one of them from memory; then (row·heads + head)·own_blocks + block. What was in the caches
// before does not wait for the queries.
template <class C, class W, uint K, uint V>
static inline void split(
    constant CausalArgs& a, device const float* qkv, device C* own, device float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float* tops, device float* sums, uint item, uint lane)
{
    const bool shared = item < a.prefix_items;
    const uint blocks = shared ? a.prefix_blocks : a.own_blocks, variations = shared ? a.variations : 1;
    const uint mine = (shared ? item : item - a.prefix_items) / variations;
    const uint index = mine % blocks, head = mine / blocks % a.heads, sequence = mine / blocks / a.heads;
    const uint row = sequence * variations + item % variations;
    const bool there = row < a.rows;
    const Head<C> h = shared ? head_of(prefix, prefix_scales, sequence * a.heads + head, a.chunks, a.prefix_capacity)
                             : head_of<C>(own, own_scales, sequence * a.heads + head, a.chunks, a.capacity);
    const uint first = index * BLOCK, end = min(first + BLOCK, shared ? a.prefix_columns : a.column + a.columns);
    const uint old = min(end, shared ? a.prefix_columns : max(first, a.column));
    if (a.late != 0) AFTER_EARLIER;
    Ahead<W, 1, K, V> ahead;
    if (there) ask<C, W, 1, K, V>(a, block_of(h, first, old), ahead, lane);
    AFTER_EARLIER;
    if (!there) return;
    if (old < end) {
        for (uint j = old; j < end; j++) store_column(a, own, own_scales, qkv, row, head, j, lane);
        simdgroup_barrier(mem_flags::mem_device); // what a lane stored, others read
        ask<C, W, 1, K, V>(a, block_of(h, first, end), ahead, lane);
    }
    part<C, W, K, V>(
        a, block_of(h, first, end), qkv, tops, sums, row, head, shared ? end : a.column + 1, shared ? 0 : 1,
        shared ? index : a.prefix_blocks + index, ahead, lane);
}

// see_all adds the columns of a head before end to what count queries have seen.
template <class C, class W>
static inline void see_all(
    constant CausalArgs& a, Head<C> h, device const float* query, uint count, uint end, uint limit, uint step,
    thread Ahead<W, 2, 4, 2>& ahead, thread Seen<8>& seen, uint lane)
{
    for (uint first = 0; first < end; first += FILL_BLOCK) {
        const Block<C> b = block_of(h, first, min(first + FILL_BLOCK, end));
        ask<C, W, 2, 4, 2>(a, b, ahead, lane);
        see<C, W, 8, 2, 4, 2>(a, b, query, count, limit, step, ahead, seen, lane);
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
    Ahead<W, 2, 4, 2> ahead;
    Seen<8> seen;
    nothing_seen<8>(seen);
    const uint limit = a.column + 8 * strip + 1, end = limit + count - 1;
    if (a.prefix_columns > 0) {
        const Head<C> h = head_of(prefix, prefix_scales, row / a.variations * a.heads + head, a.chunks, a.prefix_capacity);
        see_all<C, W>(a, h, query, count, a.prefix_columns, a.prefix_columns, 0, ahead, seen, lane);
    }
    see_all<C, W>(a, head_of(own, own_scales, row * a.heads + head, a.chunks, a.capacity), query, count, end, limit, 1, ahead, seen, lane);
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

#define SLICES 8       // of the blocks of a head
#define MOST_DEPTH 256 // of a head
#define AT_ONCE 6      // blocks of a slice that are read before one is needed

// causal_join: dst = Σ_b e^(top_b-top)·sums_b / Σ_b e^(top_b-top)·total_b, prefix blocks first; a threadgroup per query and
// head. A thread adds up four elements of a slice, every eighth block; then the slices are added up.
kernel void causal_join(
    constant CausalArgs& a [[buffer(0)]],
    device const float* tops [[buffer(1)]],
    device const float* sums [[buffer(2)]],
    device float* dst [[buffer(3)]],
    uint item [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    TG_ARRAY(float4, slices, SLICES * MOST_DEPTH / 4);
    const uint own = a.column + item / a.heads % a.columns + 1;
    const uint blocks = a.prefix_blocks + (own + BLOCK - 1) / BLOCK;
    const uint fours = 2 * a.chunks;
    const ulong at = ulong(item) * a.parts;
    device const float2* both = reinterpret_cast<device const float2*>(tops) + at;
    device const float4* from = reinterpret_cast<device const float4*>(sums) + at * fours;
    // Of the first blocks all is on its way before anything is needed.
    const uint slice = thread_index / fours, place = thread_index % fours;
    float4 value[AT_ONCE];
    float score[AT_ONCE];
    UNROLL for (uint u = 0; u < AT_ONCE; u++) {
        const uint b = min(slice + u * SLICES, blocks - 1);
        value[u] = from[b * fours + place];
        score[u] = both[b].x;
    }
    float top = -INFINITY;
    for (uint b = lane; b < blocks; b += 32) top = max(top, both[b].x);
    top = simd_max(top);
    float total = 0.0f;
    for (uint b = lane; b < blocks; b += 32) total = fma(exp(both[b].x - top), both[b].y, total);
    total = simd_sum(total);
    for (uint t = thread_index; t < SLICES * fours; t += threads) {
        float4 sum = float4(0.0f);
        for (uint start = t / fours; start < blocks; start += AT_ONCE * SLICES) {
            const bool held = t == thread_index && start == slice;
            UNROLL for (uint u = 0; u < AT_ONCE; u++) {
                const uint b = start + u * SLICES;
                if (b < blocks) {
                    const float4 v = held ? value[u] : from[b * fours + t % fours];
                    const float s = exp((held ? score[u] : both[b].x) - top);
                    sum = float4(fma(s, v.x, sum.x), fma(s, v.y, sum.y), fma(s, v.z, sum.z), fma(s, v.w, sum.w));
                }
            }
        }
        slices[t] = sum;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    device float* to = dst + ulong(item) * a.depth;
    for (uint d = thread_index; d < a.depth; d += threads) {
        float sum = 0.0f;
        UNROLL for (uint s = 0; s < SLICES; s++) sum += slices[s * fours + d / 4][d % 4];
        to[d] = sum / total;
    }
}

// K and V are as many as registers hold.
#define CAUSAL_SPLIT(name, C, W, K, V) \
    kernel void causal_split_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device C* own [[buffer(2)]], \
        device float* own_scales [[buffer(3)]], \
        device const C* prefix [[buffer(4)]], \
        device const float* prefix_scales [[buffer(5)]], \
        device float* tops [[buffer(6)]], \
        device float* sums [[buffer(7)]], \
        uint group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        split<C, W, K, V>(a, qkv, own, own_scales, prefix, prefix_scales, tops, sums, group * simds + simd, lane); \
    }

#define CAUSAL_FILL(name, C, W) \
    kernel void causal_store_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device C* own [[buffer(2)]], \
        device float* own_scales [[buffer(3)]], \
        uint group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        const uint item = group * simds + simd; \
        if (item >= a.rows * a.columns * a.heads) return; \
        const uint n = item / a.heads; \
        store_column(a, own, own_scales, qkv, n / a.columns, item % a.heads, a.column + n % a.columns, lane); \
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

CAUSAL_SPLIT(f32, float, RawF32, 4, 4) CAUSAL_FILL(f32, float, RawF32)
CAUSAL_SPLIT(f16, half, RawF16, 8, 8) CAUSAL_FILL(f16, half, RawF16)
CAUSAL_SPLIT(q8, char, RawQ8, 8, 8) CAUSAL_FILL(q8, char, RawQ8)
