// CausalAttention, as causal_common.metal has it, of many columns, and of heads that are not of 64.

#define BLOCK 64 // columns; lane l scores columns l and l+32

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

CAUSAL_FILL(f32, float, RawF32) CAUSAL_TILE(f32, float, float, RawF32, false)
CAUSAL_FILL(f16, half, RawF16) CAUSAL_TILE(f16, half, half, RawF16, false)
CAUSAL_FILL(q8, char, RawQ8) CAUSAL_TILE(q8, half, char, RawQ8, true)
