// Embed: dst[n] = Σ_q table_q[codes[n mod …][q][column]] + positions[column], up to eight tables a dispatch; a thread per
// element. More tables come in further dispatches, which add. Tables lie as metalkern's matrix.go has it. A code outside its
// table reads row 0.

struct EmbedArgs {
    uint width; uint pitch; uint groups; // of a table's row: elements, bytes, scales
    uint columns; uint variations;       // of dst: row n is column n mod columns of sequence n / columns
    uint stride; uint first;             // of codes: columns of a codebook's row, the first one read
    uint tables; uint from; uint count;  // of all codebooks, those from … from+count-1 are here
    uint positions;                      // 0: absent
    uint entries[8];                     // rows of each table
};

struct NumberF32 {};
struct NumberF16 {};
struct NumberQ8 {};
struct NumberQ4 {};

// row_at is where the row of a code begins, scales_at where its scales do in a table of so many rows; number is its element i.
static inline ulong row_at(NumberF32, uint code, uint pitch) { return ulong(code) * pitch; }
static inline ulong row_at(NumberF16, uint code, uint pitch) { return ulong(code) * pitch; }
static inline ulong row_at(NumberQ8, uint code, uint pitch) { return row_in_panels(code, pitch, 32); }
static inline ulong row_at(NumberQ4, uint code, uint pitch) { return row_in_panels(code, pitch, 16); }
static inline float number(NumberF32, device const uchar* row, device const half*, uint i) {
    return reinterpret_cast<device const float*>(row)[i];
}
static inline float number(NumberF16, device const uchar* row, device const half*, uint i) {
    return float(reinterpret_cast<device const half*>(row)[i]);
}
static inline float number(NumberQ8, device const uchar* row, device const half* scales, uint i) {
    return float(int(reinterpret_cast<device const char*>(row)[i / 32 * 256 + i % 32])) * float(scales[scale_in_panels(i / 32)]);
}
static inline float number(NumberQ4, device const uchar* row, device const half* scales, uint i) {
    return float(int((uint(row[i / 32 * 128 + i % 32 / 2]) >> (4 * (i % 2))) & 15u) - 8) * float(scales[scale_in_panels(i / 32)]);
}

template <class N>
static inline float embedded(constant EmbedArgs& a, device const uchar* table, uint t, device const int* codes, uint column, uint i) {
    if (t >= a.count) return 0.0f;
    uint code = uint(codes[ulong(a.from + t) * a.stride + column]);
    if (code >= a.entries[t]) code = 0;
    device const half* scales = reinterpret_cast<device const half*>(table + ulong((a.entries[t] + 7) / 8) * (8 * a.pitch));
    return number(N(), table + row_at(N(), code, a.pitch), scales + scales_in_panels(code, a.groups), i);
}

#define EMBED(name, N) \
    kernel void embed_##name( \
        constant EmbedArgs& a [[buffer(0)]], \
        device const int* codes [[buffer(1)]], \
        device const float* positions [[buffer(2)]], \
        device float* dst [[buffer(3)]], \
        device const uchar* t0 [[buffer(4)]], \
        device const uchar* t1 [[buffer(5)]], \
        device const uchar* t2 [[buffer(6)]], \
        device const uchar* t3 [[buffer(7)]], \
        device const uchar* t4 [[buffer(8)]], \
        device const uchar* t5 [[buffer(9)]], \
        device const uchar* t6 [[buffer(10)]], \
        device const uchar* t7 [[buffer(11)]], \
        uint2 group [[threadgroup_position_in_grid]], \
        uint2 threads [[threads_per_threadgroup]], \
        uint thread_index [[thread_index_in_threadgroup]]) \
    { \
        const uint i = group.y * threads.x + thread_index; \
        if (i >= a.width) return; \
        const uint column = a.first + group.x % a.columns; \
        device const int* mine = codes + ulong(group.x / a.columns % a.variations) * a.tables * a.stride; \
        const ulong at = ulong(group.x) * a.width + i; \
        float sum = a.from == 0 ? 0.0f : dst[at]; \
        sum += embedded<N>(a, t0, 0, mine, column, i); \
        sum += embedded<N>(a, t1, 1, mine, column, i); \
        sum += embedded<N>(a, t2, 2, mine, column, i); \
        sum += embedded<N>(a, t3, 3, mine, column, i); \
        sum += embedded<N>(a, t4, 4, mine, column, i); \
        sum += embedded<N>(a, t5, 5, mine, column, i); \
        sum += embedded<N>(a, t6, 6, mine, column, i); \
        sum += embedded<N>(a, t7, 7, mine, column, i); \
        if (a.positions != 0) sum += positions[ulong(column) * a.width + i]; \
        dst[at] = sum; \
    }
EMBED(f32, NumberF32)
EMBED(f16, NumberF16)
EMBED(q8, NumberQ8)
EMBED(q4, NumberQ4)
