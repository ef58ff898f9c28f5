// Norm: dst[r] = norm(x[r]), one simdgroup per row. x and dst [rows, width] may be the same.

struct NormArgs { uint rows; uint width; uint kind; float epsilon; uint vector; };

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
    const Moments m = row_moments(x + at, a.width, a.kind, a.epsilon, a.vector, lane);
    for (uint k = 4 * lane; k < a.width; k += 128) {
        const float4 w = load4(weight, k, a.width, a.vector);
        const float4 b = a.kind == NORM_LAYER ? load4(bias, k, a.width, a.vector) : float4(0.0f);
        const float4 v = normalise4(load4(x + at, k, a.width, a.vector), m, w, b);
        dst[at + k] = v.x;
        if (k + 1 < a.width) dst[at + k + 1] = v.y;
        if (k + 2 < a.width) dst[at + k + 2] = v.z;
        if (k + 3 < a.width) dst[at + k + 3] = v.w;
    }
}
