// CausalAttention: keys and values of new columns go into a cache, and each new column's query attends to a prefix that rows
// share, then to its own row's columns up to itself.
//
//	one column, heads of 64 (a step)   step_split: a simdgroup per block of columns, row and head stores what is new in it
//	                                   and computes the largest score, Σe^(s-largest) and Σe^(s-largest)·v;
//	                                   step_join adds the blocks up
//	all else (a prefill)               causal_store, then causal_fill: a simdgroup per eight queries and head goes through
//	                                   all blocks
//
// A step's simdgroups of rows that share a block of a prefix are one threadgroup, so that one of them reads it from memory.
// Blocks are counted from the first column of the prefix and of the own cache, so they and the order of all sums do not
// depend on how many rows there are. A step's kernels are short, because most of their time a GPU reads them.
//
// The cache of one layer: for every row and head first the keys, [chunk of 8 elements][column][8], so that lanes that take a
// column each read side by side; then the values, [column][chunks·8]. Numbers are float, half, or char with one scale for
// each key and value: [row][head][keys, values][column] floats. Heads are whole chunks here; causal_pad makes them so, and
// puts them at 16 bytes, where they are not.

#define BLOCK 64      // columns of a prefill's blocks; lane l scores columns l and l+32
#define STEP_BLOCK 32 // of a step's
#define STEP_CHUNKS 8 // of a head

// ROLLED before a loop that is to stay one.
#if defined(__clang__)
#define ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__CUDACC__)
#define ROLLED _Pragma("unroll 1")
#else
#define ROLLED
#endif

struct CausalArgs {
    uint rows; uint columns; uint heads; uint depth;
    uint chunks;                   // of 8 elements of a head
    uint lanes;                    // the power of two from chunks on: how many lanes a value takes
    uint column; uint capacity;    // first new column, columns that the own cache has
    uint prefix_columns; uint prefix_capacity;
    uint variations;               // rows per row of the prefix
    uint prefix_blocks; uint own_blocks;
    uint abreast;                  // simdgroups of a threadgroup that take a row each
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

// step_ask begins to read the count columns from first on, at least one.
template <class C, class W>
static inline void step_ask(Head<C> h, uint first, uint count, thread StepAhead<W>& ahead, uint lane) {
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

// step_pack is a lane's chunk of a vector that all lanes have eight times over; the vector's scale.
template <class C, class W> static inline float step_pack(device const C* kind, device const float* from, thread W& packed, uint lane) {
    const Eight e = eight(raw(from + 8 * (lane % 8)));
    if (!scaled(kind)) {
        pack(e, 1.0f, packed);
        return 1.0f;
    }
    float most = max(max(max(fabs(e.a.x), fabs(e.a.y)), max(fabs(e.a.z), fabs(e.a.w))),
                     max(max(fabs(e.b.x), fabs(e.b.y)), max(fabs(e.b.z), fabs(e.b.w))));
    UNROLL for (uint mask = 1; mask < STEP_CHUNKS; mask *= 2) most = max(most, simd_shuffle_xor(most, ushort(mask)));
    pack(e, most > 0.0f ? 127.0f / most : 0.0f, packed);
    return most / 127.0f;
}

// step_grow puts the key and the value of one head into the own cache, and into what has been asked for: column last of the
// block, its last. Nothing of them is read back. What the block has no columns for gets them, too, and is not seen.
template <class C, class W>
static inline void step_grow(
    constant CausalArgs& a, device C* numbers, device float* scales, device const float* query, uint index, uint last,
    thread StepAhead<W>& ahead, uint lane)
{
    const uint width = 8 * STEP_CHUNKS * a.heads, chunk = lane % 8;
    W key, value;
    const float key_scale = step_pack<C, W>(numbers, query + width, key, lane);
    const float value_scale = step_pack<C, W>(numbers, query + 2 * width, value, lane);
    const ulong size = 8 * ulong(STEP_CHUNKS) * a.capacity;
    if (lane < STEP_CHUNKS) {
        put(numbers + 2 * index * size + 8 * (ulong(chunk) * a.capacity + a.column), key);
        put(numbers + (2 * ulong(index) + 1) * size + 8 * (ulong(STEP_CHUNKS) * a.column + chunk), value);
    }
    UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) {
        if (4 * u + lane / 8 >= last) {
            ahead.keys[u] = key;
            ahead.values[u] = value;
        }
    }
    if (scaled(numbers)) {
        device float* to = scales + 2 * ulong(index) * a.capacity + a.column;
        if (lane == 0) {
            to[0] = key_scale;
            to[a.capacity] = value_scale;
        }
        if (step_scored(lane) >= last) {
            ahead.key_scale = key_scale;
            ahead.value_scale = value_scale;
        }
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

// step_part is a block's part of one query and head, kind a pointer of the cache's numbers: both[0] its largest score and total, sums[0…31] two sums each.
template <class C, class W>
static inline void step_part(
    float scale, device const C* kind, device const float* query, uint count, thread StepAhead<W>& ahead, device float2* both,
    device float2* sums, uint lane)
{
    const Eight q = eight(raw(query + 8 * (lane % 8)));
    float scores[STEP_BLOCK / 4];
    UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) scores[u] = dot8(q, eight(ahead.keys[u]), 0.0f);
    halve<8>(scores, 4, lane);
    halve<4>(scores, 2, lane);
    halve<2>(scores, 1, lane);
    float score = scores[0] * scale; // of column step_scored now
    if (scaled(kind)) score *= ahead.key_scale;
    if (step_scored(lane) >= count) score = -INFINITY;
    const float top = max(simd_max(score), -1e30f); // finite, so that differences are numbers
    float share = exp(score - top);
    const float total = simd_sum(share);
    if (scaled(kind)) share *= ahead.value_scale;
    Eight sum;
    sum.a = sum.b = float4(0.0f);
    UNROLL for (uint u = 0; u < STEP_BLOCK / 4; u++) sum = add8(simd_shuffle(share, ushort(lane / 8 * 8 + u)), eight(ahead.values[u]), sum);
    float of[8] = {sum.a.x, sum.a.y, sum.a.z, sum.a.w, sum.b.x, sum.b.y, sum.b.z, sum.b.w};
    halve<8>(of, 16, lane);
    halve<4>(of, 8, lane);
    if (lane == 0) both[0] = float2(top, total);
    sums[4 * (lane % 8) + 2 * (lane / 16) + lane / 8 % 2] = float2(of[0], of[1]);
}

// A threadgroup takes a block and a head of a.abreast rows that share a prefix: group.x counts the prefix's blocks, then the
// rows' own; group.z the prefix's rows and, of each, its rows, a.abreast at a time. What was in the caches before does not
// wait for the queries.
template <class C, class W>
static inline void step_split(
    constant CausalArgs& a, device const float* qkv, device C* own, device float* own_scales, device const C* prefix,
    device const float* prefix_scales, device float* tops, device float* sums, uint3 group, uint simd, uint lane)
{
    const uint turns = (a.variations + a.abreast - 1) / a.abreast;
    const uint variation = group.z % turns * a.abreast + simd, row = group.z / turns * a.variations + variation, head = group.y;
    if (variation >= a.variations || row >= a.rows) return;
    const bool shared = group.x < a.prefix_blocks;
    const uint index = (shared ? group.z / turns : row) * a.heads + head;
    const Head<C> h = shared ? head_of(prefix, prefix_scales, index, STEP_CHUNKS, a.prefix_capacity)
                             : head_of<C>(own, own_scales, index, STEP_CHUNKS, a.capacity);
    const uint first = (shared ? group.x : group.x - a.prefix_blocks) * STEP_BLOCK;
    const uint count = min(uint(STEP_BLOCK), (shared ? a.prefix_columns : a.column + 1) - first);
    const bool grows = !shared && first + count > a.column;
    const uint old = grows ? count - 1 : count;
    if (a.late != 0) AFTER_EARLIER;
    StepAhead<W> ahead;
    if (old > 0) step_ask<C, W>(h, first, old, ahead, lane);
    AFTER_EARLIER;
    device const float* query = qkv + 8 * STEP_CHUNKS * (ulong(row) * 3 * a.heads + head);
    if (grows) step_grow<C, W>(a, own, own_scales, query, index, old, ahead, lane);
    const ulong at = (ulong(row) * a.heads + head) * (a.prefix_blocks + a.own_blocks) + group.x;
    step_part<C, W>(
        a.scale, h.keys, query, count, ahead, reinterpret_cast<device float2*>(tops) + at,
        reinterpret_cast<device float2*>(sums) + at * 32, lane);
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

#define SLICES 8 // of the blocks

// step_join: dst = Σ_b e^(top_b-top)·sums_b / Σ_b e^(top_b-top)·total_b; a threadgroup per row and head. A thread adds up four
// elements of every eighth block, 32 blocks at a time; then the slices are added up.
kernel void step_join(
    constant CausalArgs& a [[buffer(0)]],
    device const float* tops [[buffer(1)]],
    device const float* sums [[buffer(2)]],
    device float* dst [[buffer(3)]],
    uint item [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    TG_ARRAY(float4, slices, SLICES * 2 * STEP_CHUNKS);
    const uint blocks = a.prefix_blocks + a.own_blocks;
    device const float2* both = reinterpret_cast<device const float2*>(tops) + ulong(item) * blocks;
    device const float4* from = reinterpret_cast<device const float4*>(sums) + ulong(item) * blocks * 2 * STEP_CHUNKS;
    ROLLED for (uint t = thread_index; t < SLICES * 2 * STEP_CHUNKS; t += threads) {
        const uint slice = t / (2 * STEP_CHUNKS), place = t % (2 * STEP_CHUNKS);
        float4 value[32 / SLICES];
        UNROLL for (uint u = 0; u < 32 / SLICES; u++) value[u] = from[min(slice + u * SLICES, blocks - 1) * 2 * STEP_CHUNKS + place];
        float top = -INFINITY;
        ROLLED for (uint b = lane; b < blocks; b += 32) top = max(top, both[b].x);
        top = simd_max(top);
        float total = 0.0f;
        float4 sum = float4(0.0f);
        ROLLED for (uint first = 0; first < blocks; first += 32) {
            const float2 mine = both[min(first + lane, blocks - 1)];
            const float share = first + lane < blocks ? exp(mine.x - top) : 0.0f;
            total = fma(share, mine.y, total);
            UNROLL for (uint u = 0; u < 32 / SLICES; u++) {
                const float s = simd_shuffle(share, ushort(slice + u * SLICES));
                sum = float4(fma(s, value[u].x, sum.x), fma(s, value[u].y, sum.y), fma(s, value[u].z, sum.z), fma(s, value[u].w, sum.w));
                value[u] = from[min(first + 32 + slice + u * SLICES, blocks - 1) * 2 * STEP_CHUNKS + place];
            }
        }
        const float whole = 1.0f / simd_sum(total);
        slices[t] = sum * whole;
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint d = thread_index; d < a.depth; d += threads) {
        float sum = 0.0f;
        UNROLL for (uint s = 0; s < SLICES; s++) sum += slices[s * 2 * STEP_CHUNKS + d / 4][d % 4];
        dst[ulong(item) * a.depth + d] = sum;
    }
}

#define STEP_SPLIT(name, C, W) \
    kernel void step_split_##name( \
        constant CausalArgs& a [[buffer(0)]], \
        device const float* qkv [[buffer(1)]], \
        device C* own [[buffer(2)]], \
        device float* own_scales [[buffer(3)]], \
        device const C* prefix [[buffer(4)]], \
        device const float* prefix_scales [[buffer(5)]], \
        device float* tops [[buffer(6)]], \
        device float* sums [[buffer(7)]], \
        uint3 group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        step_split<C, W>(a, qkv, own, own_scales, prefix, prefix_scales, tops, sums, group, simd, lane); \
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

STEP_SPLIT(f32, float, RawF32) CAUSAL_FILL(f32, float, RawF32)
STEP_SPLIT(f16, half, RawF16) CAUSAL_FILL(f16, half, RawF16)
STEP_SPLIT(q8, char, RawQ8) CAUSAL_FILL(q8, char, RawQ8)
