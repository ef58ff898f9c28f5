// Attention: dst[r] = Σ_j softmax_j(scale·q[r]·k[j] + bias)·v[j], one simdgroup per row and head. Keys are few, a text's: 32
// at a time, a lane each, with the largest score so far taken out; then each lane sums up its elements of the values.

struct AttentionArgs {
    uint rows; uint keys; uint heads; uint depth; // depth: of a head, at most 256
    uint q_stride; uint kv_stride;
    float scale;
    uint bias;   // 0: absent; [heads, rows+keys-1] otherwise
    uint vector; // q and k may be read four at a time
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

#define ATTENTION(depth, PARTS) \
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
        attend<PARTS>(a, q, k, v, bias, dst, group * simds + simd, lane); \
    }
ATTENTION(64, 2)
ATTENTION(256, 8)
