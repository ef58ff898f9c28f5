// Sample: one threadgroup draws the code of one variation and codebook.
//
//   logits ── guidance, temperature ──► keys ──────────────────────────── Gumbel or greedy ──► winner ── one of K? ──► code
//                                          └─ top-k ──► least ── top-p ──► least ──┘ └─ no: least ──┘
//
// Entries are ordered by one number each (rank): the greater logit first, then the lower index. Ranks differ, so "the K
// largest" is "all ranks from a least one on". Mostly it need not be known: who wins among more than the K largest, and is one
// of them, wins among them. Whoever is not has no one of them below it, and the next draw is among the ranks above: one or two
// draws. Top-p, and whoever wants probabilities, must know it, and it is found by counting: a round counts at four places and
// leaves a fifth of where the least one may be; mostly under 7 rounds, and no sorting. A thread has entries by fours, as a call
// of Philox gives noise for; that does not wait for the logits. Nothing needs atomics or another threadgroup.

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
    uint  vector;      // logits may be read four at a time
    uint  late;        // seeds may be an earlier dispatch's that is still at work
};

#define SAMPLE_ENTRIES 4096
#define SAMPLE_INDEX_BITS 12
#define SAMPLE_SIMDGROUPS 32

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
static inline uint2 sample_count(uint2 v, threadgroup uint2* slots, uint lane, uint sg, uint sgs) {
    v = uint2(simd_sum(v.x), simd_sum(v.y));
    if (lane == 0) slots[sg] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    v = lane < sgs ? slots[lane] : uint2(0u);
    return uint2(simd_sum(v.x), simd_sum(v.y));
}

static inline float sample_total(float v, threadgroup float* slots, uint lane, uint sg, uint sgs) {
    v = simd_sum(v);
    if (lane == 0) slots[sg] = v;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return simd_sum(lane < sgs ? slots[lane] : 0.0f);
}

// Keys of four entries side by side.
static inline uint4 sample_four(threadgroup const uint* keys, uint e) { return *reinterpret_cast<threadgroup const uint4*>(keys + e); }

// sample_fifths are four keys between low and high, which is greater by 2 at least: at fifths of the logits in the first
// rounds, which is where logits lie, then at fifths of the keys, so that the number of rounds has a bound.
static inline uint4 sample_fifths(uint low, uint high, uint round) {
    const float a = sample_value(low), b = sample_value(high - 1);
    const uint4 at = uint4(sample_key(a + (b - a) * 0.2f), sample_key(a + (b - a) * 0.4f), sample_key(a + (b - a) * 0.6f),
                           sample_key(a + (b - a) * 0.8f));
    if (round < 12 && low < at.x && at.x < at.y && at.y < at.z && at.z < at.w && at.w < high) return at;
    const uint step = (high - low + 4) / 5;
    return uint4(low + step, min(low + 2 * step, high), min(low + 3 * step, high), min(low + 4 * step, high));
}

static inline uint sample_from(uint key, uint x, uint y) { return (key >= x ? 1u : 0u) + (key >= y ? 65536u : 0u); }

// sample_topk is the least of the k greatest ranks, or a number between it and the next lower. All keys are from low on and
// below high, and there are more than k; behind the entries they are 0.
static inline ulong sample_topk(threadgroup const uint* keys, uint entries, uint k, uint low, uint high, threadgroup uint2* slots,
                         uint thread_index, uint threads, uint lane, uint sg, uint sgs) {
    uint above = 0; // entries from high on; k at least are from low on
    uint round = 0;
    for (; high - low > 1; round++) {
        const uint4 at = sample_fifths(low, high, round);
        uint2 both = uint2(0u); // counts of at most 4096, in halves
        for (uint e = 4 * thread_index; e < entries; e += 4 * threads) {
            const uint4 four = sample_four(keys, e);
            UNROLL for (uint i = 0; i < 4; i++) both += uint2(sample_from(four[i], at.x, at.y), sample_from(four[i], at.z, at.w));
        }
        both = sample_count(both, slots + (round % 2) * SAMPLE_SIMDGROUPS, lane, sg, sgs);
        const uint4 from = uint4(both.x % 65536, both.x / 65536, both.y % 65536, both.y / 65536);
        uint exact = 0; // none of the four
        UNROLL for (uint i = 0; i < 4; i++) {
            if (from[i] == k) exact = at[i];
            if (from[i] > k) low = at[i];
        }
        if (exact != 0) return ulong(exact) << SAMPLE_INDEX_BITS;
        UNROLL for (uint i = 0; i < 4; i++) {
            if (from[3 - i] < k) { high = at[3 - i]; above = from[3 - i]; }
        }
    }
    // Of those whose key is low, the first k - above.
    uint end = 0; // fewer of them are before it
    for (uint bit = SAMPLE_INDEX_BITS; bit-- > 0; round++) {
        const uint trial = end + (1u << bit);
        uint before = 0;
        for (uint e = thread_index; e < min(trial, entries); e += threads) before += keys[e] == low ? 1u : 0u;
        before = sample_count(uint2(before, 0u), slots + (round % 2) * SAMPLE_SIMDGROUPS, lane, sg, sgs).x;
        if (above + before < k) end = trial;
    }
    return sample_rank(low, end);
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

// sample_noise is the noise of entries e…e+3, which share a Philox call.
static inline float4 sample_noise(constant SampleArgs& a, device const int* seed, uint e, uint q) {
    if (a.greedy != 0) return float4(0.0f);
    const uint4 words = sample_words(uint4(e / 4, q, a.column, 0u), uint(seed[0]), uint(seed[1]));
    return float4(sample_gumbel(words.x), sample_gumbel(words.y), sample_gumbel(words.z), sample_gumbel(words.w));
}

// sample_ends are the least and the greatest of all keys.
static inline uint2 sample_ends(threadgroup const uint* keys, uint entries, threadgroup uint2* slots, uint thread_index, uint threads,
                         uint lane, uint sg, uint sgs) {
    uint2 most = uint2(0u); // of what keys lack, and of keys
    for (uint e = 4 * thread_index; e < entries; e += 4 * threads) {
        const uint4 four = sample_four(keys, e);
        UNROLL for (uint i = 0; i < 4; i++) {
            if (e + i < entries) most = uint2(max(most.x, ~four[i]), max(most.y, four[i]));
        }
    }
    most = uint2(simd_max(most.x), simd_max(most.y));
    if (lane == 0) slots[sg] = most;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    most = lane < sgs ? slots[lane] : uint2(0u);
    return uint2(~simd_max(most.x), simd_max(most.y));
}

// sample_better is the best of a simdgroup: the greatest score, then the lowest entry.
static inline uint2 sample_better(uint2 v) {
    const uint score = simd_max(v.x);
    return uint2(score, simd_min(v.x == score ? v.y : uint(SAMPLE_ENTRIES)));
}

// sample_winner is the entry with the greatest score among the ranks from least on, the lowest of several; SAMPLE_ENTRIES where
// there is none. noise is that of the thread's first entries.
static inline uint sample_winner(constant SampleArgs& a, threadgroup const uint* keys, ulong least, float4 noise, device const int* seed, uint q,
                         threadgroup uint2* slots, uint thread_index, uint threads, uint lane, uint sg, uint sgs) {
    uint2 best = uint2(0u, SAMPLE_ENTRIES); // score, entry
    for (uint start = 4 * thread_index; start < a.entries; start += 4 * threads) {
        if (start != 4 * thread_index) noise = sample_noise(a, seed, start, q);
        const uint4 four = sample_four(keys, start);
        UNROLL for (uint i = 0; i < 4; i++) {
            const uint e = start + i, score = sample_key(sample_value(four[i]) + noise[i]);
            const bool kept = e < a.entries && sample_rank(four[i], e) >= least;
            if (kept && (best.y == SAMPLE_ENTRIES || score > best.x)) best = uint2(score, e);
        }
    }
    best = sample_better(best);
    if (lane == 0) slots[sg] = best;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    return sample_better(lane < sgs ? slots[lane] : uint2(0u, SAMPLE_ENTRIES)).y;
}

// sample_above counts the ranks above one.
static inline uint sample_above(threadgroup const uint* keys, uint entries, ulong rank, threadgroup uint2* slots, uint thread_index,
                         uint threads, uint lane, uint sg, uint sgs) {
    uint above = 0;
    for (uint e = 4 * thread_index; e < entries; e += 4 * threads) {
        const uint4 four = sample_four(keys, e);
        UNROLL for (uint i = 0; i < 4; i++) above += e + i < entries && sample_rank(four[i], e + i) > rank ? 1u : 0u;
    }
    return sample_count(uint2(above, 0u), slots, lane, sg, sgs).x;
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
    TG_ARRAY(uint2, counts, 2 * SAMPLE_SIMDGROUPS);
    TG_ARRAY(float, totals, 2 * SAMPLE_SIMDGROUPS);
    TG_ARRAY(uint2, slots, SAMPLE_SIMDGROUPS);
    const uint q = group.x, variation = group.y, threads = size.x, n = a.entries;
    const bool open = ((a.open >> q) & 1) != 0;
    if (a.late != 0) AFTER_EARLIER;
    float4 noise = float4(0.0f);
    if (open) noise = sample_noise(a, seeds + 2 * variation, 4 * thread_index, q);
    AFTER_EARLIER;
    device int* code = codes + (variation * a.books + q) * a.stride + a.column;
    if (((a.forced >> q) & 1) != 0 && thread_index == 0) *code = int(n);
    if (!open && a.probs == 0) return;

    const uint row = a.group > 1 ? variation : 0;
    device const float* conditional = logits + (row * a.books + q) * n;
    device const float* unconditional = conditional + a.group * a.books * n;
    for (uint start = 4 * thread_index; start < n; start += 4 * threads) {
        float4 l = load4(conditional, start, n, a.vector);
        if (a.guidance != 1.0f) {
            const float4 u = load4(unconditional, start, n, a.vector);
            UNROLL for (uint i = 0; i < 4; i++) l[i] = fma(a.guidance, l[i] - u[i], u[i]);
        }
        uint4 four = uint4(0u);
        UNROLL for (uint i = 0; i < 4; i++) four[i] = start + i < n ? sample_key(l[i] / a.temperature) : 0u;
        *reinterpret_cast<threadgroup uint4*>(keys + start) = four;
    }

    const bool few = a.topk > 0 && a.topk < n, known = a.topp < 1.0f || a.probs != 0;
    ulong least = 0;
    if (known) {
        const uint2 ends = sample_ends(keys, n, slots, thread_index, threads, lane, sg, sgs); // its barrier is that of keys
        if (few) least = sample_topk(keys, n, a.topk, ends.x, ends.y + 1, counts, thread_index, threads, lane, sg, sgs);
        const float top = sample_value(ends.y);
        if (a.topp < 1.0f) least = sample_topp(keys, n, least, a.topp, top, totals, thread_index, threads, lane, sg, sgs);
        if (a.probs != 0) {
            // The last round of top-p is still being read from the first half of totals.
            sample_probs(keys, n, least, top, probs + (variation * a.books + q) * n, totals + SAMPLE_SIMDGROUPS,
                         thread_index, threads, lane, sg, sgs);
        }
    }
    if (!open) return;

    uint winner;
    for (;;) {
        winner = sample_winner(a, keys, least, noise, seeds + 2 * variation, q, slots, thread_index, threads, lane, sg, sgs);
        if (!few || known) break;
        const ulong rank = sample_rank(keys[winner], winner);
        if (sample_above(keys, n, rank, counts, thread_index, threads, lane, sg, sgs) < a.topk) break;
        least = rank + 1;
    }
    if (thread_index == 0) *code = winner == SAMPLE_ENTRIES ? 0 : int(winner);
}
