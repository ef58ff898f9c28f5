// Copy of words from one buffer to another, whatever they mean.

struct CopyArgs { uint count; };

kernel void copy_words(
    constant CopyArgs& a [[buffer(0)]],
    device const uint* src [[buffer(1)]],
    device uint* dst [[buffer(2)]],
    uint group [[threadgroup_position_in_grid]],
    uint groups [[threadgroups_per_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads [[threads_per_threadgroup]])
{
    for (ulong i = ulong(group) * threads + thread_index; i < a.count; i += ulong(groups) * threads) dst[i] = src[i];
}
