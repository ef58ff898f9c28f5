// A plain read of memory, for measurements to stand beside: every thread takes every threads-th vector, four on their way.

struct ProbeArgs { uint vectors; };

kernel void probe_read(
    constant ProbeArgs& a [[buffer(0)]],
    device const uint4* src [[buffer(1)]],
    device uint* dst [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint groups [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]])
{
    const uint all = groups * threads;
    uint4 sum = uint4(0u);
    for (uint i = group * threads + thread_index; i < a.vectors; i += 4 * all) {
        uint4 v[4];
        UNROLL for (uint u = 0; u < 4; u++) v[u] = i + u * all < a.vectors ? src[i + u * all] : uint4(0u);
        UNROLL for (uint u = 0; u < 4; u++) sum = sum | v[u];
    }
    // Never true of zeros, but the compiler cannot know.
    if ((sum.x | sum.y | sum.z | sum.w) != 0u) dst[0] = 1u;
}
