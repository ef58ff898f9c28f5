// CausalAttention: keys and values of new columns go into a cache, and each new column's query attends to a prefix that rows
// share, then to its own row's columns up to itself.
//
//	one column, heads of 64 (a step)   causal.metal: step_split, a simdgroup per block of columns and head, takes all rows that
//	                                   share it, and stores what is new in it; its threadgroup adds up some blocks. Where these
//	                                   are not all, step_join adds up the rest
//	many, heads of 64 (a prefill)      causal_fill.metal: causal_store, then causal_tile, of which a simdgroup goes through all
//	                                   blocks with 16 queries, by products of matrices
//	all else                           the same file: causal_store, then causal_fill, a simdgroup per eight queries and head that
//	                                   goes through all blocks
//
// A block of a prefix is read from memory once for all rows that share it. Blocks are counted from the first column of the
// prefix and of the own cache, and how many are added up at once depends on how many there are, so the order of all sums
// does not depend on the rows.
//
// The cache of one layer: for every row and head first the keys, [chunk of 8 elements][column][8], so that lanes that take a
// column each read side by side; then the values, [column][chunks·8]. Numbers are float, half, or char with one scale for
// each key and value: [row][head][keys, values][column] floats. Heads are whole chunks here; causal_pad makes them so, and
// puts them at 16 bytes, where they are not.

#define STEP_CHUNKS 8 // of 8 elements: what a head of 64 has

struct CausalArgs {
    uint rows; uint columns; uint heads; uint depth;
    uint chunks;                   // of 8 elements of a head
    uint lanes;                    // the power of two from chunks on: how many lanes a value takes
    uint column; uint capacity;    // first new column, columns that the own cache has
    uint prefix_columns; uint prefix_capacity;
    uint variations;               // rows per row of the prefix
    uint prefix_blocks; uint own_blocks;
    uint span;                     // blocks that a threadgroup of a step takes, at most
    uint pieces;                   // threadgroups for all blocks of a row and head
    uint shared_pieces;            // of them, those for blocks that rows share; one alone takes all blocks
    uint abreast_bits;             // 2^abreast_bits rows are in such a threadgroup, at most
    uint own_bits;                 // 2^own_bits in another
    uint turn_bits;                // 2^turn_bits threadgroups have the rows of one row of the prefix
    uint group_bits; uint row_bits; // 2^… threadgroups for all rows: of a shared piece, and of another
    uint late;                     // columns before the new ones may be an earlier dispatch's that is still at work
    uint once;                     // a step's simdgroups have a block each at most
    float scale;
};

template <class C> struct Head {
    device const C* keys;
    device const C* values;
    device const float* key_scales;
    device const float* value_scales;
    uint capacity;
};

template <class C>
static inline Head<C> head_of(device const C* numbers, device const float* scales, uint index, uint chunks, uint capacity) {
    Head<C> h;
    const ulong size = ulong(capacity) * chunks * 8;
    h.keys = numbers + 2 * index * size;
    h.values = h.keys + size;
    h.key_scales = scales + 2 * ulong(index) * capacity;
    h.value_scales = h.key_scales + capacity;
    h.capacity = capacity;
    return h;
}

// Eight elements of a head, and what a lane reads of a cache to have them: it stays so until it is needed, because floats
// would take two or four times the registers.
struct Eight { float4 a; float4 b; };
struct RawF32 { float4 a; float4 b; };
struct RawF16 { uint4 words; };
struct RawQ8 { uint2 words; };

static inline RawF32 raw(device const float* p) {
    RawF32 r;
    r.a = *reinterpret_cast<device const float4*>(p);
    r.b = *reinterpret_cast<device const float4*>(p + 4);
    return r;
}
static inline RawF16 raw(device const half* p) {
    RawF16 r;
    r.words = *reinterpret_cast<device const uint4*>(p);
    return r;
}
static inline RawQ8 raw(device const char* p) {
    RawQ8 r;
    r.words = *reinterpret_cast<device const uint2*>(p);
    return r;
}

static inline Eight eight(RawF32 r) {
    Eight e;
    e.a = r.a;
    e.b = r.b;
    return e;
}
static inline float4 floats(uint low, uint high) {
    const half2 a = as_type<half2>(low), b = as_type<half2>(high);
    return float4(float(a.x), float(a.y), float(b.x), float(b.y));
}
static inline Eight eight(RawF16 r) {
    Eight e;
    e.a = floats(r.words.x, r.words.y);
    e.b = floats(r.words.z, r.words.w);
    return e;
}
static inline float4 floats(uint w) {
    return float4(float(int(w << 24) >> 24), float(int(w << 16) >> 24), float(int(w << 8) >> 24), float(int(w) >> 24));
}
static inline Eight eight(RawQ8 r) {
    Eight e;
    e.a = floats(r.words.x);
    e.b = floats(r.words.y);
    return e;
}

static inline float dot8(Eight x, Eight y, float sum) {
    sum = fma(x.a.w, y.a.w, fma(x.a.z, y.a.z, fma(x.a.y, y.a.y, fma(x.a.x, y.a.x, sum))));
    return fma(x.b.w, y.b.w, fma(x.b.z, y.b.z, fma(x.b.y, y.b.y, fma(x.b.x, y.b.x, sum))));
}
static inline Eight add8(float s, Eight x, Eight sum) {
    sum.a = float4(fma(s, x.a.x, sum.a.x), fma(s, x.a.y, sum.a.y), fma(s, x.a.z, sum.a.z), fma(s, x.a.w, sum.a.w));
    sum.b = float4(fma(s, x.b.x, sum.b.x), fma(s, x.b.y, sum.b.y), fma(s, x.b.z, sum.b.z), fma(s, x.b.w, sum.b.w));
    return sum;
}

// Whether a cache's numbers have scales.
static inline bool scaled(device const float*) { return false; }
static inline bool scaled(device const half*) { return false; }
static inline bool scaled(device const char*) { return true; }

// The other way: a lane's eight elements as a cache holds them, and their way there. inverse undoes the scale.
static inline uint pair(float a, float b) { return as_type<uint>(half2(half(a), half(b))); }
static inline uint four(float4 v, float inverse) {
    return (uint(int(rint(v.x * inverse))) & 255u) | (uint(int(rint(v.y * inverse))) & 255u) << 8 |
           (uint(int(rint(v.z * inverse))) & 255u) << 16 | uint(int(rint(v.w * inverse))) << 24;
}
static inline void pack(Eight e, float, thread RawF32& r) {
    r.a = e.a;
    r.b = e.b;
}
static inline void pack(Eight e, float, thread RawF16& r) {
    r.words = uint4(pair(e.a.x, e.a.y), pair(e.a.z, e.a.w), pair(e.b.x, e.b.y), pair(e.b.z, e.b.w));
}
static inline void pack(Eight e, float inverse, thread RawQ8& r) { r.words = uint2(four(e.a, inverse), four(e.b, inverse)); }
static inline void put(device float* to, RawF32 r) {
    *reinterpret_cast<device float4*>(to) = r.a;
    *reinterpret_cast<device float4*>(to + 4) = r.b;
}
static inline void put(device half* to, RawF16 r) { *reinterpret_cast<device uint4*>(to) = r.words; }
static inline void put(device char* to, RawQ8 r) { *reinterpret_cast<device uint2*>(to) = r.words; }

// pack_vector packs a lane's eight of a vector that so many lanes have, a power of two; the vector's scale.
template <class C, class W> static inline float pack_vector(device const C* kind, Eight e, uint lanes, thread W& packed) {
    if (!scaled(kind)) {
        pack(e, 1.0f, packed);
        return 1.0f;
    }
    float most = max(max(max(fabs(e.a.x), fabs(e.a.y)), max(fabs(e.a.z), fabs(e.a.w))),
                     max(max(fabs(e.b.x), fabs(e.b.y)), max(fabs(e.b.z), fabs(e.b.w))));
    for (uint mask = 1; mask < lanes; mask *= 2) most = max(most, simd_shuffle_xor(most, ushort(mask)));
    pack(e, most > 0.0f ? 127.0f / most : 0.0f, packed);
    return most / 127.0f;
}

