// Residual vector quantisation. Distances are taken in float in the expanded form -(‖r‖² - 2·r·e + ‖e‖²), the one that
// the reference implementation uses, so that near ties fall the same way.

struct RVQArgs {
    uint rows;     // T
    uint width;    // D
    uint books;    // Q
    uint entries;
    uint stride;   // between the codes of two codebooks
};

#define RVQ_ROWS 4 // that one threadgroup quantises: an entry is read once for all of them
#define RVQ_SIMDGROUPS 8

// rvq_encode: a simdgroup takes every sgs-th entry, its lanes along D; entries of equal distance go to the lower index, in
// a simdgroup because they come in order, and among simdgroups by comparison. z is the remainder all along.
kernel void rvq_encode(
    constant RVQArgs&    a     [[buffer(0)]],
    device const float*  books [[buffer(1)]], // [Q, Entries, D]
    device float*        z     [[buffer(2)]], // [T, D]
    device int*          codes [[buffer(3)]],
    uint group        [[threadgroup_position_in_grid]],
    uint thread_index [[thread_index_in_threadgroup]],
    uint threads      [[threads_per_threadgroup]],
    uint lane         [[thread_index_in_simdgroup]],
    uint sg           [[simdgroup_index_in_threadgroup]],
    uint sgs          [[simdgroups_per_threadgroup]])
{
    TG_ARRAY(float, nearest, RVQ_ROWS * RVQ_SIMDGROUPS);
    TG_ARRAY(uint, found, RVQ_ROWS * RVQ_SIMDGROUPS);
    const uint row0 = group * RVQ_ROWS;
    for (uint q = 0; q < a.books; q++) {
        device const float* book = books + q * a.entries * a.width;
        float norm[RVQ_ROWS], most[RVQ_ROWS];
        uint best[RVQ_ROWS];
        for (uint i = 0; i < RVQ_ROWS; i++) {
            device const float* r = z + min(row0 + i, a.rows - 1) * a.width;
            float sum = 0.0f;
            for (uint d = lane; d < a.width; d += 32) sum = fma(r[d], r[d], sum);
            norm[i] = simd_sum(sum);
            most[i] = 0.0f;
            best[i] = a.entries;
        }
        for (uint e = sg; e < a.entries; e += sgs) {
            device const float* entry = book + e * a.width;
            float dots[RVQ_ROWS], size = 0.0f;
            for (uint i = 0; i < RVQ_ROWS; i++) dots[i] = 0.0f;
            for (uint d = lane; d < a.width; d += 32) {
                const float v = entry[d];
                size = fma(v, v, size);
                for (uint i = 0; i < RVQ_ROWS; i++) dots[i] = fma(z[min(row0 + i, a.rows - 1) * a.width + d], v, dots[i]);
            }
            size = simd_sum(size);
            for (uint i = 0; i < RVQ_ROWS; i++) {
                const float near = -(norm[i] - 2.0f * simd_sum(dots[i]) + size);
                if (best[i] == a.entries || near > most[i]) { most[i] = near; best[i] = e; }
            }
        }
        if (lane == 0) {
            for (uint i = 0; i < RVQ_ROWS; i++) { nearest[i * RVQ_SIMDGROUPS + sg] = most[i]; found[i * RVQ_SIMDGROUPS + sg] = best[i]; }
        }
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < RVQ_ROWS && row0 + i < a.rows; i++) {
            float top = nearest[i * RVQ_SIMDGROUPS];
            uint code = found[i * RVQ_SIMDGROUPS];
            for (uint s = 1; s < sgs; s++) {
                const float near = nearest[i * RVQ_SIMDGROUPS + s];
                const uint e = found[i * RVQ_SIMDGROUPS + s];
                if (e < a.entries && (near > top || (near == top && e < code))) { top = near; code = e; }
            }
            for (uint d = thread_index; d < a.width; d += threads) z[(row0 + i) * a.width + d] -= book[code * a.width + d];
            if (thread_index == 0) codes[q * a.stride + row0 + i] = int(code);
        }
        threadgroup_barrier(mem_flags::mem_device);      // the remainder is read again
        threadgroup_barrier(mem_flags::mem_threadgroup); // and the two arrays are written again
    }
}

// rvq_decode: dst[t] = Σ_q books[q][code], from zero in order of q. A code outside its table reads entry 0.
kernel void rvq_decode(
    constant RVQArgs&    a     [[buffer(0)]],
    device const float*  books [[buffer(1)]],
    device const int*    codes [[buffer(2)]],
    device float*        dst   [[buffer(3)]], // [T, D]
    uint at [[thread_position_in_grid]])
{
    if (at >= a.rows * a.width) return;
    const uint row = at / a.width, d = at % a.width;
    float sum = 0.0f;
    for (uint q = 0; q < a.books; q++) {
        const uint code = uint(codes[q * a.stride + row]);
        sum += books[(q * a.entries + (code < a.entries ? code : 0u)) * a.width + d];
    }
    dst[at] = sum;
}
