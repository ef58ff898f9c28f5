// Attention: dst[r] = Σ_j softmax_j(scale·q[r]·k[j] + bias)·v[j], one simdgroup per row and head. Keys are few, a text's: 16 or
// 32 at a time, with the largest score so far taken out.
//
//	heads of 64, four elements at a time   attention_64: eight lanes take a key and its value, which do not wait for the query
//	all else                               attention_any: a lane takes a key; then each lane sums up its elements of the values

struct AttentionArgs {
    uint rows; uint keys; uint heads; uint depth; // depth: of a head, at most 256
    uint q_stride; uint kv_stride;
    float scale;
    uint bias;   // 0: absent; [heads, rows+keys-1] otherwise
    uint vector; // q and k may be read four at a time
    uint late;   // k and v may be an earlier dispatch's that is still at work
};

template <uint PARTS> // of 32 elements of a head
static inline void attend(
    constant AttentionArgs& a, device const float* q, device const float* k, device const float* v, device const float* bias,
    device float* dst, uint item, uint lane)
{
    if (item >= a.rows * a.heads) return;
    const uint row = item / a.heads, head = item % a.heads;
    device const float* query = q + ulong(row) * a.q_stride + head * a.depth;
    device const float* value = v + head * a.depth;
    float sums[PARTS];
    UNROLL for (uint i = 0; i < PARTS; i++) sums[i] = 0.0f;
    float top = -INFINITY, total = 0.0f;
    for (uint first = 0; first < a.keys; first += 32) {
        const uint j = min(first + lane, a.keys - 1);
        device const float* key = k + ulong(j) * a.kv_stride + head * a.depth;
        float score = 0.0f;
        for (uint start = 0; start < a.depth; start += 16) {
            float4 x[4], y[4]; // all on their way before one is needed
            UNROLL for (uint u = 0; u < 4; u++) {
                const uint d = start + 4 * u;
                x[u] = d < a.depth ? load4(query, d, a.depth, a.vector) : float4(0.0f);
                y[u] = d < a.depth ? load4(key, d, a.depth, a.vector) : float4(0.0f);
            }
            UNROLL for (uint u = 0; u < 4; u++)
                score = fma(x[u].w, y[u].w, fma(x[u].z, y[u].z, fma(x[u].y, y[u].y, fma(x[u].x, y[u].x, score))));
        }
        score *= a.scale;
        if (a.bias != 0) score += bias[head * (a.rows + a.keys - 1) + (j + a.rows - 1 - row)];
        if (first + lane >= a.keys) score = -INFINITY;
        const float higher = max(top, simd_max(score));
        const float fade = exp(top - higher), share = exp(score - higher);
        total = fma(total, fade, simd_sum(share));
        top = higher;
        UNROLL for (uint i = 0; i < PARTS; i++) sums[i] *= fade;
        for (uint start = 0; start < min(32u, a.keys - first); start += 8) {
            float values[8][PARTS];
            UNROLL for (uint u = 0; u < 8; u++) {
                device const float* from = value + ulong(min(first + start + u, a.keys - 1)) * a.kv_stride;
                UNROLL for (uint i = 0; i < PARTS; i++) values[u][i] = lane + 32 * i < a.depth ? from[lane + 32 * i] : 0.0f;
            }
            UNROLL for (uint u = 0; u < 8; u++) {
                const float s = simd_shuffle(share, ushort(start + u)); // 0 behind the last key
                UNROLL for (uint i = 0; i < PARTS; i++) sums[i] = fma(s, values[u][i], sums[i]);
            }
        }
    }
    UNROLL for (uint i = 0; i < PARTS; i++)
        if (lane + 32 * i < a.depth) dst[ulong(item) * a.depth + lane + 32 * i] = sums[i] / total;
}

kernel void attention_any(
    constant AttentionArgs& a [[buffer(0)]],
    device const float* q [[buffer(1)]],
    device const float* k [[buffer(2)]],
    device const float* v [[buffer(3)]],
    device const float* bias [[buffer(4)]],
    device float* dst [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    attend<8>(a, q, k, v, bias, dst, group * simds + simd, lane);
}

// Eight elements of a head.
struct Eight { float4 a; float4 b; };

static inline Eight eight(device const float* p) {
    Eight e;
    e.a = *reinterpret_cast<device const float4*>(p);
    e.b = *reinterpret_cast<device const float4*>(p + 4);
    return e;
}
static inline float dot8(Eight x, Eight y) {
    const float sum = fma(x.a.w, y.a.w, fma(x.a.z, y.a.z, fma(x.a.y, y.a.y, x.a.x * y.a.x)));
    return fma(x.b.w, y.b.w, fma(x.b.z, y.b.z, fma(x.b.y, y.b.y, fma(x.b.x, y.b.x, sum))));
}
static inline Eight add8(float s, Eight x, Eight sum) {
    sum.a = float4(fma(s, x.a.x, sum.a.x), fma(s, x.a.y, sum.a.y), fma(s, x.a.z, sum.a.z), fma(s, x.a.w, sum.a.w));
    sum.b = float4(fma(s, x.b.x, sum.b.x), fma(s, x.b.y, sum.b.y), fma(s, x.b.z, sum.b.z), fma(s, x.b.w, sum.b.w));
    return sum;
}

// 4·N keys and values as the lanes of a simdgroup take them: lane 8·p + c elements 8·c… of numbers p, p+4, …. The eight lanes of
// a key all know its score, so that nothing has to be handed round between the scores and the sums.
template <uint N> struct Ahead { Eight keys[N]; Eight values[N]; };

template <uint N>
static inline void ask(
    constant AttentionArgs& a, device const float* k, device const float* v, uint first, thread Ahead<N>& ahead, uint lane)
{
    UNROLL for (uint u = 0; u < N; u++) {
        const ulong j = ulong(min(first + 4 * u + lane / 8, a.keys - 1)) * a.kv_stride;
        ahead.keys[u] = eight(k + j);
        ahead.values[u] = eight(v + j);
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

template <uint N>
static inline void attend_64(
    constant AttentionArgs& a, device const float* q, device const float* k, device const float* v, device const float* bias,
    device float* dst, uint2 group, uint lane)
{
    const uint head = group.x, row = group.y, part = 64 * head + 8 * (lane % 8);
    Eight sum;
    sum.a = sum.b = float4(0.0f);
    float top = -INFINITY, total = 0.0f;
    for (uint first = 0; first < a.keys; first += 4 * N) {
        Ahead<N> ahead;
        ask<N>(a, k + part, v + part, first, ahead, lane);
        AFTER_EARLIER;
        const Eight query = eight(q + ulong(row) * a.q_stride + part);
        float scores[N];
        UNROLL for (uint u = 0; u < N; u++) scores[u] = dot8(query, ahead.keys[u]);
        for (uint mask = 1; mask < 8; mask *= 2) {
            UNROLL for (uint u = 0; u < N; u++) scores[u] += simd_shuffle_xor(scores[u], ushort(mask));
        }
        float higher = top;
        UNROLL for (uint u = 0; u < N; u++) {
            const uint j = first + 4 * u + lane / 8;
            scores[u] *= a.scale;
            if (a.bias != 0) scores[u] += bias[head * (a.rows + a.keys - 1) + (min(j, a.keys - 1) + a.rows - 1 - row)];
            if (j >= a.keys) scores[u] = -INFINITY;
            higher = max(higher, scores[u]);
        }
        higher = max(higher, simd_shuffle_xor(higher, ushort(8)));
        higher = max(higher, simd_shuffle_xor(higher, ushort(16)));
        const float fade = power((top - higher) * 1.44269504f);
        top = higher;
        total *= fade;
        sum.a *= fade;
        sum.b *= fade;
        UNROLL for (uint u = 0; u < N; u++) {
            const float share = power((scores[u] - top) * 1.44269504f);
            total += share;
            sum = add8(share, ahead.values[u], sum);
        }
    }
    total += simd_shuffle_xor(total, ushort(8));
    total += simd_shuffle_xor(total, ushort(16));
    float of[8] = {sum.a.x, sum.a.y, sum.a.z, sum.a.w, sum.b.x, sum.b.y, sum.b.z, sum.b.w};
    halve<8>(of, 16, lane);
    halve<4>(of, 8, lane);
    device float* to = dst + (ulong(row) * a.heads + head) * 64 + 8 * (lane % 8) + 4 * (lane / 16) + 2 * (lane / 8 % 2);
    const float whole = 1.0f / total;
    to[0] = of[0] * whole;
    to[1] = of[1] * whole;
}

kernel void attention_64(
    constant AttentionArgs& a [[buffer(0)]],
    device const float* q [[buffer(1)]],
    device const float* k [[buffer(2)]],
    device const float* v [[buffer(3)]],
    device const float* bias [[buffer(4)]],
    device float* dst [[buffer(5)]],
    uint2 group [[threadgroup_position_in_grid]], // head, row
    uint lane [[thread_index_in_simdgroup]])
{
    if (a.late != 0) AFTER_EARLIER;
    if (a.keys <= 16) attend_64<4>(a, q, k, v, bias, dst, group, lane);
    else attend_64<8>(a, q, k, v, bias, dst, group, lane);
}
