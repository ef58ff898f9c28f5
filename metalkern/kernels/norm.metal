// Norm: dst[r] = norm(x[r]), one simdgroup per row. x and dst [rows, width] may be the same.

struct NormArgs { uint rows; uint width; uint kind; float epsilon; };

kernel void norm_rows(
    constant NormArgs& a [[buffer(0)]],
    device const float* x [[buffer(1)]],
    device const float* weight [[buffer(2)]],
    device const float* bias [[buffer(3)]],
    device float* dst [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]],
    uint simds [[simdgroups_per_threadgroup]],
    uint lane [[thread_index_in_simdgroup]])
{
    const uint row = group * simds + simd;
    if (row >= a.rows) return;
    const ulong at = ulong(row) * a.width;
    const Moments m = row_moments(x + at, a.width, a.kind, a.epsilon, lane);
    for (uint i = lane; i < a.width; i += 32) {
        const float shift = a.kind == NORM_LAYER ? bias[i] : 0.0f;
        dst[at + i] = fma((x[at + i] - m.mean) * m.scale, weight[i], shift);
    }
}
