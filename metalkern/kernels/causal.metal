// CausalAttention: keys and values of new columns go into a cache, and each new column's query attends to a prefix that rows
// share, then to its own row's columns up to itself.
//
//	few columns (a step)   causal_split: a simdgroup per block of columns and head stores what is new in it and computes,
//	                       for every query that sees it, the largest score, Σe^(s-largest) and Σe^(s-largest)·v;
//	                       causal_join adds the blocks up in order
//	many (a prefill)       causal_store, then causal_fill: a simdgroup per eight queries and head goes through all blocks
//
// A block of a prefix is read once for the rows that share it, eight queries at a time. Blocks are counted from the first
// column of the prefix and of the own cache, so they and the order of all sums do not depend on how many rows there are.
//
// The cache of one layer: for every row and head first the keys, [chunk of 8 elements][column][8], so that lanes that take a
// column each read side by side; then the values, [column][chunks·8]. Numbers are float, half, or char with one scale for
// each key and value: [row][head][keys, values][column] floats. Heads are whole chunks here; causal_pad makes them so, and
// puts them at 16 bytes, where they are not.

#define BLOCK 64 // columns; lane l scores columns l and l+32

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

// What a lane reads of a block before it needs it: K chunks of its two keys and V values. One query leaves registers for a
// whole block of 64 elements, so that memory is waited for once; eight do not.
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

// part computes the part of one block for the queries from n0 to n1 of a head, R at a time; query n sees the columns before
// limit + (n-n0)·step.
template <class C, class W, uint R, uint K, uint V>
static inline void part(
    constant CausalArgs& a, Head<C> h, device const float* qkv, device float* tops, device float* sums, uint head, uint n0, uint n1,
    uint first, uint limit, uint step, uint block, uint lane)
{
    for (uint n = n0; n < n1; n += R) {
        const uint count = min(R, n1 - n);
        const uint visible = limit + (n - n0) * step;
        if (first >= visible + (count - 1) * step) continue;
        Seen<R> seen;
        nothing_seen<R>(seen);
        see<C, W, R, K, V>(a, h, qkv + 8 * a.chunks * (ulong(n) * 3 * a.heads + head), count, first, visible, step, seen, lane);
        gather<R>(seen, a.lanes);
        UNROLL for (uint r = 0; r < R; r++) {
            if (r < count) {
                const ulong at = (ulong(n + r) * a.heads + head) * a.parts + block;
                if (lane == 0) {
                    tops[2 * at] = seen.top[r];
                    tops[2 * at + 1] = seen.total[r];
                }
                if (lane < a.chunks) {
                    device float4* to = reinterpret_cast<device float4*>(sums + (at * a.chunks + lane) * 8);
                    to[0] = seen.sums[r].a;
                    to[1] = seen.sums[r].b;
                }
            }
        }
    }
}

// Items are first the blocks of prefixes, (prefix row·heads + head)·prefix_blocks + block, then those of the own rows.
template <class C, class W, uint R, uint K, uint V>
static inline void split(
    constant CausalArgs& a, device const float* qkv, device C* own, device float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float* tops, device float* sums, uint item, uint lane)
{
    const bool shared = item < a.prefix_items;
    const uint blocks = shared ? a.prefix_blocks : a.own_blocks;
    const uint mine = shared ? item : item - a.prefix_items;
    const uint block = mine % blocks, head = mine / blocks % a.heads, row = mine / blocks / a.heads;
    const uint first = block * BLOCK;
    const bool there = shared || (row < a.rows && first < a.column + a.columns);
    if (!shared && there) {
        const uint end = min(first + BLOCK, a.column + a.columns);
        for (uint j = max(first, a.column); j < end; j++) store_column(a, own, own_scales, qkv, row, head, j, lane);
    }
    threadgroup_barrier(mem_flags::mem_device); // what a lane stored, others read
    if (!there) return;
    if (shared) {
        const Head<C> h = head_of(prefix, prefix_scales, row * a.heads + head, a.chunks, a.prefix_capacity);
        const uint n = row * a.variations * a.columns, end = min((row + 1) * a.variations, a.rows) * a.columns;
        if (R == 1) part<C, W, 1, K, V>(a, h, qkv, tops, sums, head, n, end, first, a.prefix_columns, 0, block, lane);
        else part<C, W, 8, 4, 2>(a, h, qkv, tops, sums, head, n, end, first, a.prefix_columns, 0, block, lane);
        return;
    }
    const Head<C> h = head_of<C>(own, own_scales, row * a.heads + head, a.chunks, a.capacity);
    const uint n = row * a.columns, end = n + a.columns, limit = a.column + 1;
    if (R == 1 || a.columns == 1) part<C, W, 1, K, V>(a, h, qkv, tops, sums, head, n, end, first, limit, 1, a.prefix_blocks + block, lane);
    else part<C, W, 8, 4, 2>(a, h, qkv, tops, sums, head, n, end, first, limit, 1, a.prefix_blocks + block, lane);
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

// causal_join: dst = Σ_b e^(top_b-top)·sums_b / Σ_b e^(top_b-top)·total_b, prefix blocks first; a simdgroup per query and head.
kernel void causal_join(
    constant CausalArgs& a [[buffer(0)]],
    device const float* tops [[buffer(1)]],
    device const float* sums [[buffer(2)]],
    device float* dst [[buffer(3)]],
    uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    const uint item = group * simds + simd;
    if (item >= a.rows * a.columns * a.heads) return;
    const uint seen = a.column + item / a.heads % a.columns + 1; // own columns
    const uint blocks = a.prefix_blocks + (seen + BLOCK - 1) / BLOCK;
    const ulong at = ulong(item) * a.parts;
    float top = -INFINITY;
    for (uint b = lane; b < blocks; b += 32) top = max(top, tops[2 * (at + b)]);
    top = simd_max(top);
    float total = 0.0f;
    for (uint b = lane; b < blocks; b += 32) total = fma(exp(tops[2 * (at + b)] - top), tops[2 * (at + b) + 1], total);
    total = simd_sum(total);
    const uint width = 8 * a.chunks;
    for (uint d = lane; d < a.depth; d += 32) {
        float sum = 0.0f;
        for (uint start = 0; start < blocks; start += 4) {
            float share[4], value[4];
            UNROLL for (uint u = 0; u < 4; u++) {
                const ulong b = at + min(start + u, blocks - 1);
                share[u] = tops[2 * b];
                value[u] = sums[b * width + d];
            }
            UNROLL for (uint u = 0; u < 4; u++) if (start + u < blocks) sum = fma(exp(share[u] - top), value[u], sum);
        }
        dst[ulong(item) * a.depth + d] = sum / total;
    }
}

// K and V are for one query: as many as its registers hold.
#define CAUSAL_SPLIT(name, C, W, R, K, V) \
    kernel void causal_split_##name##_##R( \
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
        split<C, W, R, K, V>(a, qkv, own, own_scales, prefix, prefix_scales, tops, sums, group * simds + simd, lane); \
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

CAUSAL_SPLIT(f32, float, RawF32, 1, 4, 4) CAUSAL_SPLIT(f32, float, RawF32, 8, 4, 4) CAUSAL_FILL(f32, float, RawF32)
CAUSAL_SPLIT(f16, half, RawF16, 1, 8, 16) CAUSAL_SPLIT(f16, half, RawF16, 8, 8, 16) CAUSAL_FILL(f16, half, RawF16)
CAUSAL_SPLIT(q8, char, RawQ8, 1, 8, 16) CAUSAL_SPLIT(q8, char, RawQ8, 8, 8, 16) CAUSAL_FILL(q8, char, RawQ8)
