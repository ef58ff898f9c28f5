// Attention: dst[r] = Σ_j softmax_j(scale·q[r]·k[j] + bias)·v[j], one simdgroup per row and head. Keys are few, a text's: 32
// at a time, a lane each, with the largest score so far taken out; then each lane sums up its elements of the values.

struct AttentionArgs {
    uint rows; uint keys; uint heads; uint depth; // depth: of a head, at most 256
    uint q_stride; uint kv_stride;
    float scale;
    uint bias;   // 0: absent; [heads, rows+keys-1] otherwise
    uint vector; // q and k may be read four at a time
    uint late;   // k and v may be an earlier dispatch's that is still at work
};

// What a lane reads of keys and values before it needs it: the first 4·FOURS elements of its key, and its elements, one of
// each 32, of VALUES values.
template <uint PARTS, uint FOURS, uint VALUES> struct Ahead {
    float4 key[FOURS];
    float values[VALUES][PARTS];
};

template <uint PARTS, uint FOURS, uint VALUES>
static inline void ask_key(
    constant AttentionArgs& a, device const float* k, uint j, uint start, thread Ahead<PARTS, FOURS, VALUES>& ahead)
{
    device const float* key = k + ulong(min(j, a.keys - 1)) * a.kv_stride;
    UNROLL for (uint u = 0; u < FOURS; u++) {
        const uint d = start + 4 * u;
        ahead.key[u] = d < a.depth ? load4(key, d, a.depth, a.vector) : float4(0.0f);
    }
}

template <uint PARTS, uint FOURS, uint VALUES>
static inline void ask_values(
    constant AttentionArgs& a, device const float* v, uint first, thread Ahead<PARTS, FOURS, VALUES>& ahead, uint lane)
{
    UNROLL for (uint u = 0; u < VALUES; u++) {
        device const float* value = v + ulong(min(first + u, a.keys - 1)) * a.kv_stride;
        UNROLL for (uint i = 0; i < PARTS; i++) ahead.values[u][i] = lane + 32 * i < a.depth ? value[lane + 32 * i] : 0.0f;
    }
}

template <uint PARTS, uint FOURS, uint VALUES> // PARTS of 32 elements of a head
static inline void attend(
    constant AttentionArgs& a, device const float* q, device const float* k, device const float* v, device const float* bias,
    device float* dst, uint item, uint lane)
{
    if (item >= a.rows * a.heads) return;
    const uint row = item / a.heads, head = item % a.heads;
    device const float* query = q + ulong(row) * a.q_stride + head * a.depth;
    k += head * a.depth;
    v += head * a.depth;
    if (a.late != 0) AFTER_EARLIER;
    Ahead<PARTS, FOURS, VALUES> ahead;
    ask_key<PARTS, FOURS, VALUES>(a, k, lane, 0, ahead);
    ask_values<PARTS, FOURS, VALUES>(a, v, 0, ahead, lane);
    AFTER_EARLIER;
    float sums[PARTS];
    UNROLL for (uint i = 0; i < PARTS; i++) sums[i] = 0.0f;
    float top = -INFINITY, total = 0.0f;
    for (uint first = 0; first < a.keys; first += 32) {
        const uint j = min(first + lane, a.keys - 1);
        float score = 0.0f;
        for (uint start = 0; start < a.depth; start += 4 * FOURS) {
            UNROLL for (uint u = 0; u < FOURS; u++) {
                const uint d = start + 4 * u;
                const float4 x = d < a.depth ? load4(query, d, a.depth, a.vector) : float4(0.0f), y = ahead.key[u];
                score = fma(x.w, y.w, fma(x.z, y.z, fma(x.y, y.y, fma(x.x, y.x, score))));
            }
            if (start + 4 * FOURS < a.depth) ask_key<PARTS, FOURS, VALUES>(a, k, j, start + 4 * FOURS, ahead);
            else if (first + 32 < a.keys) ask_key<PARTS, FOURS, VALUES>(a, k, first + 32 + lane, 0, ahead);
        }
        score *= a.scale;
        if (a.bias != 0) score += bias[head * (a.rows + a.keys - 1) + (j + a.rows - 1 - row)];
        if (first + lane >= a.keys) score = -INFINITY;
        const float higher = max(top, simd_max(score));
        const float fade = exp(top - higher), share = exp(score - higher);
        total = fma(total, fade, simd_sum(share));
        top = higher;
        UNROLL for (uint i = 0; i < PARTS; i++) sums[i] *= fade;
        for (uint start = 0; start < min(32u, a.keys - first); start += VALUES) {
            UNROLL for (uint u = 0; u < VALUES; u++) {
                const float s = simd_shuffle(share, ushort(start + u)); // 0 behind the last key
                UNROLL for (uint i = 0; i < PARTS; i++) sums[i] = fma(s, ahead.values[u][i], sums[i]);
            }
            if (first + start + VALUES < a.keys) ask_values<PARTS, FOURS, VALUES>(a, v, first + start + VALUES, ahead, lane);
        }
    }
    UNROLL for (uint i = 0; i < PARTS; i++)
        if (lane + 32 * i < a.depth) dst[ulong(item) * a.depth + lane + 32 * i] = sums[i] / total;
}

#define ATTENTION(depth, PARTS, FOURS, VALUES) \
    kernel void attention_##depth( \
        constant AttentionArgs& a [[buffer(0)]], \
        device const float* q [[buffer(1)]], \
        device const float* k [[buffer(2)]], \
        device const float* v [[buffer(3)]], \
        device const float* bias [[buffer(4)]], \
        device float* dst [[buffer(5)]], \
        uint group [[threadgroup_position_in_grid]], \
        uint simd [[simdgroup_index_in_threadgroup]], \
        uint simds [[simdgroups_per_threadgroup]], \
        uint lane [[thread_index_in_simdgroup]]) \
    { \
        attend<PARTS, FOURS, VALUES>(a, q, k, v, bias, dst, group * simds + simd, lane); \
    }
ATTENTION(64, 2, 16, 32)
ATTENTION(256, 8, 4, 8)
