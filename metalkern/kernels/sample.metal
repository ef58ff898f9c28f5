// Sample: one threadgroup draws the code of one variation and codebook.
//
//   logits ── guidance, temperature ──► keys ── top-k ──► least ── top-p ──► least ── Gumbel or greedy ──► code
//
// Entries are ordered by one number each (rank): the greater logit first, then the lower index. Ranks differ, so "the K
// largest" is "all ranks from a least one on", and that is found bit by bit from above: 44 counts at most, mostly under 20,
// and no sorting. Nothing needs atomics or another threadgroup.

struct SampleArgs {
    ulong forced;      // bit q: the cell is outside the frames and takes the special code
    ulong open;        // bit q: the cell is drawn
    uint  books;       // Q
    uint  entries;     // at most SAMPLE_ENTRIES
    uint  stride;      // of a row of codes
    uint  column;
    uint  group;       // rows of logits of one branch
    uint  topk;        // 0: all
    uint  greedy;
    uint  probs;       // 0: not wanted
    float guidance;
    float temperature;
    float topp;        // 1: all
    uint  padding;
};

#define SAMPLE_ENTRIES 4096
#define SAMPLE_INDEX_BITS 12
#define SAMPLE_SIMDGROUPS 8

// sample_key orders floats as integers; NaN is last, and the zeros are one.
static inline uint sample_key(float x) {
    const uint bits = as_type<uint>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0u;
    if ((bits & 0x7fffffffu) == 0u) return 0x80000000u;
    return (bits >> 31) != 0u ? ~bits : bits | 0x80000000u;
}

static inline float sample_value(uint key) {
    return as_type<float>((key >> 31) != 0u ? key ^ 0x80000000u : ~key);
}

static inline ulong sample_rank(uint key, uint entry) {
    return (ulong(key) << SAMPLE_INDEX_BITS) | ulong(SAMPLE_ENTRIES - 1 - entry);
}

// sample_log is the natural logarithm to 1 or 2 units in the last place, for positive normal x. A device's own may have an
// absolute error of 2^-22 near 1, where the numbers that win a draw lie. (The polynomial of Cephes' logf.)
static inline float sample_log(float x) {
    uint bits = as_type<uint>(x);
    int exponent = int(bits >> 23) - 126;
    float f = as_type<float>((bits & 0x007fffffu) | 0x3f000000u); // in [1/2, 1)
    if (f < 0.70710678f) {
        exponent -= 1;
        f = f + f - 1.0f;
    } else {
        f = f - 1.0f;
    }
    float p = 7.0376836292e-2f;
    p = fma(p, f, -1.1514610310e-1f);
    p = fma(p, f, 1.1676998740e-1f);
    p = fma(p, f, -1.2420140846e-1f);
    p = fma(p, f, 1.4249322787e-1f);
    p = fma(p, f, -1.6668057665e-1f);
    p = fma(p, f, 2.0000714765e-1f);
    p = fma(p, f, -2.4999993993e-1f);
    p = fma(p, f, 3.3333331174e-1f);
    const float z = f * f, e = float(exponent);
    float y = f * z * p;
    y = fma(-2.12194440e-4f, e, y);
    y = fma(-0.5f, z, y);
    return fma(0.693359375f, e, f + y);
}

// sample_words is Philox4x32-10 (kern.Philox).
static inline uint4 sample_words(uint4 counter, uint key0, uint key1) {
    for (uint round = 0; round < 10; round++) {
        const ulong p0 = ulong(0xD2511F53u) * ulong(counter.x);
        const ulong p1 = ulong(0xCD9E8D57u) * ulong(counter.z);
        counter = uint4(uint(p1 >> 32) ^ counter.y ^ key0, uint(p1), uint(p0 >> 32) ^ counter.w ^ key1, uint(p0));
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// sample_gumbel is -ln(-ln(u)) of kern.UniformWord(word).
static inline float sample_gumbel(uint word) {
    const float u = (float(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
    return -sample_log(-sample_log(u));
}

// sample_count and sample_total add up over the threadgroup. slots holds a partial sum per simdgroup, twice: the caller
// alternates between the halves, so that one barrier a round is enough.
static inline uint sample_count(uint v, threadgroup uint* slots, uint lane, uint sg, uint sgs) {
    v = simd_sum(v);
    if (lane == 0) slots[sg] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint sum = 0;
    for (uint i = 0; i < sgs; i++) sum += slots[i];
    return sum;
}

static inline float sample_total(float v, threadgroup float* slots, uint lane, uint sg, uint sgs) {
    v = simd_sum(v);
    if (lane == 0) slots[sg] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float sum = 0.0f;
    for (uint i = 0; i < sgs; i++) sum += slots[i];
    return sum;
}

// sample_topk is the least of the k greatest ranks, or a number between it and the next lower.
static inline ulong sample_topk(threadgroup const uint* keys, uint entries, uint k, threadgroup uint* slots,
                         uint thread_index, uint threads, uint lane, uint sg, uint sgs) {
    ulong least = 0;
    for (uint bit = 32 + SAMPLE_INDEX_BITS; bit-- > 0;) {
        const ulong trial = least | (ulong(1) << bit);
        uint above = 0;
        for (uint e = thread_index; e < entries; e += threads) above += sample_rank(keys[e], e) >= trial ? 1u : 0u;
        above = sample_count(above, slots + (bit % 2) * SAMPLE_SIMDGROUPS, lane, sg, sgs);
        if (above >= k) least = trial;
        if (above == k) break;
    }
    return least;
}

// sample_topp is the least rank of the fewest that hold a share of the probability of all ranks from least on. top is the
// greatest logit.
static inline ulong sample_topp(threadgroup const uint* keys, uint entries, ulong least, float share, float top,
                         threadgroup float* slots, uint thread_index, uint threads, uint lane, uint sg, uint sgs) {
    float sum = 0.0f;
    for (uint e = thread_index; e < entries; e += threads) {
        if (sample_rank(keys[e], e) >= least) sum += exp(sample_value(keys[e]) - top);
    }
    const float target = share * sample_total(sum, slots, lane, sg, sgs);
    ulong higher = 0;
    for (uint bit = 32 + SAMPLE_INDEX_BITS; bit-- > 0;) {
        const ulong trial = higher | (ulong(1) << bit), from = trial > least ? trial : least;
        sum = 0.0f;
        for (uint e = thread_index; e < entries; e += threads) {
            if (sample_rank(keys[e], e) >= from) sum += exp(sample_value(keys[e]) - top);
        }
        sum = sample_total(sum, slots + (bit % 2) * SAMPLE_SIMDGROUPS, lane, sg, sgs);
        if (sum > 0.0f && sum >= target) higher = trial;
    }
    return higher > least ? higher : least;
}

// sample_probs writes the distribution over the ranks from least on.
static inline void sample_probs(threadgroup const uint* keys, uint entries, ulong least, float top, device float* probs,
                         threadgroup float* slots, uint thread_index, uint threads, uint lane, uint sg, uint sgs) {
    float sum = 0.0f;
    for (uint e = thread_index; e < entries; e += threads) {
        if (sample_rank(keys[e], e) >= least) sum += exp(sample_value(keys[e]) - top);
    }
    sum = sample_total(sum, slots, lane, sg, sgs);
    for (uint e = thread_index; e < entries; e += threads) {
        probs[e] = sample_rank(keys[e], e) >= least ? exp(sample_value(keys[e]) - top) / sum : 0.0f;
    }
}

// sample_better: the greater score, then the lower entry; none is SAMPLE_ENTRIES.
static inline bool sample_better(float score, uint entry, float than, uint entryThan) {
    return entry != SAMPLE_ENTRIES && (entryThan == SAMPLE_ENTRIES || score > than || (score == than && entry < entryThan));
}

kernel void sample_draw(
    constant SampleArgs& a      [[buffer(0)]],
    device const float*  logits [[buffer(1)]], // [Branches·Group, Q·Entries]
    device const int*    seeds  [[buffer(2)]], // [Variations, 2]
    device int*          codes  [[buffer(3)]], // [Variations, Q, Stride]
    device float*        probs  [[buffer(4)]], // [Variations, Q·Entries], or anything
    uint2 group        [[threadgroup_position_in_grid]], // codebook, variation
    uint  thread_index [[thread_index_in_threadgroup]],
    uint2 size         [[threads_per_threadgroup]],
    uint  lane         [[thread_index_in_simdgroup]],
    uint  sg           [[simdgroup_index_in_threadgroup]],
    uint  sgs          [[simdgroups_per_threadgroup]])
{
    TG_ARRAY(uint, keys, SAMPLE_ENTRIES);
    TG_ARRAY(uint, counts, 2 * SAMPLE_SIMDGROUPS);
    TG_ARRAY(float, totals, 2 * SAMPLE_SIMDGROUPS);
    TG_ARRAY(float, scores, SAMPLE_SIMDGROUPS);
    TG_ARRAY(uint, winners, SAMPLE_SIMDGROUPS);
    const uint q = group.x, variation = group.y, threads = size.x, n = a.entries;
    const bool open = ((a.open >> q) & 1) != 0;
    device int* code = codes + (variation * a.books + q) * a.stride + a.column;
    if (((a.forced >> q) & 1) != 0 && thread_index == 0) *code = int(n);
    if (!open && a.probs == 0) return;

    const uint row = a.group > 1 ? variation : 0;
    device const float* conditional = logits + (row * a.books + q) * n;
    device const float* unconditional = conditional + a.group * a.books * n;
    for (uint e = thread_index; e < n; e += threads) {
        float l = conditional[e];
        if (a.guidance != 1.0f) {
            const float u = unconditional[e];
            l = fma(a.guidance, l - u, u);
        }
        keys[e] = sample_key(l / a.temperature);
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);

    ulong least = 0;
    if (a.topk > 0 && a.topk < n) least = sample_topk(keys, n, a.topk, counts, thread_index, threads, lane, sg, sgs);
    if (a.topp < 1.0f || a.probs != 0) {
        uint most = 0;
        for (uint e = thread_index; e < n; e += threads) most = max(most, keys[e]);
        most = simd_max(most);
        if (lane == 0) winners[sg] = most;
        threadgroup_barrier(mem_flags::mem_threadgroup);
        for (uint i = 0; i < sgs; i++) most = max(most, winners[i]);
        const float top = sample_value(most);
        if (a.topp < 1.0f) least = sample_topp(keys, n, least, a.topp, top, totals, thread_index, threads, lane, sg, sgs);
        if (a.probs != 0) {
            // The last round of top-p is still being read from the first half of totals.
            sample_probs(keys, n, least, top, probs + (variation * a.books + q) * n, totals + SAMPLE_SIMDGROUPS,
                         thread_index, threads, lane, sg, sgs);
        }
    }
    if (!open) return;

    // Four entries share one Philox call; a thread takes them together.
    float score = 0.0f;
    uint winner = SAMPLE_ENTRIES;
    const uint low = uint(seeds[2 * variation]), high = uint(seeds[2 * variation + 1]);
    for (uint e = 4 * thread_index; e < n; e += 4 * threads) {
        uint4 words = uint4(0u, 0u, 0u, 0u);
        if (a.greedy == 0) words = sample_words(uint4(e / 4, q, a.column, 0u), low, high);
        for (uint i = 0; i < 4 && e + i < n; i++) {
            if (sample_rank(keys[e + i], e + i) < least) continue;
            float s = sample_value(keys[e + i]);
            if (a.greedy == 0) s += sample_gumbel(words[i]);
            if (sample_better(s, e + i, score, winner)) { score = s; winner = e + i; }
        }
    }
    for (uint step = 16; step > 0; step /= 2) {
        const float s = simd_shuffle_xor(score, step);
        const uint e = simd_shuffle_xor(winner, step);
        if (sample_better(s, e, score, winner)) { score = s; winner = e; }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup); // winners held the greatest keys
    if (lane == 0) { scores[sg] = score; winners[sg] = winner; }
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (thread_index == 0) {
        for (uint s = 1; s < sgs; s++) {
            if (sample_better(scores[s], winners[s], score, winner)) { score = scores[s]; winner = winners[s]; }
        }
        *code = int(winner == SAMPLE_ENTRIES ? 0 : winner);
    }
}
