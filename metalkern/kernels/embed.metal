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

// row_at is where a row begins, number its element i.
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

// embedded adds to sum element i of up to four tables' rows, number `from` of this dispatch's the first. All codes are asked for
// before one is needed, and so are all numbers; what is beyond the tables there are reads the first again.
template <class N>
static inline float embedded(
    constant EmbedArgs& a, device const uchar* t0, device const uchar* t1, device const uchar* t2, device const uchar* t3, uint from,
    device const int* codes, uint column, uint i, float sum)
{
    device const uchar* tables[4] = {t0, t1, t2, t3};
    uint code[4];
    float of[4];
    UNROLL for (uint t = 0; t < 4; t++) {
        const uint near = from + t < a.count ? from + t : from;
        code[t] = uint(codes[ulong(a.from + near) * a.stride + column]);
    }
    UNROLL for (uint t = 0; t < 4; t++) {
        const bool there = from + t < a.count;
        device const uchar* table = there ? tables[t] : t0;
        const uint entries = there ? a.entries[from + t] : a.entries[from], row = code[t] < entries ? code[t] : 0;
        device const half* scales = reinterpret_cast<device const half*>(table + row_at(N(), (entries + 7) / 8 * 8, a.pitch));
        of[t] = number(N(), table + row_at(N(), row, a.pitch), scales + scales_in_panels(row, a.groups), i);
    }
    UNROLL for (uint t = 0; t < 4; t++) sum = from + t < a.count ? sum + of[t] : sum;
    return sum;
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
        sum = embedded<N>(a, t0, t1, t2, t3, 0, mine, column, i, sum); \
        if (a.count > 4) sum = embedded<N>(a, t4, t5, t6, t7, 4, mine, column, i, sum); \
        const float position = a.positions != 0 ? positions[ulong(column) * a.width + i] : 0.0f; \
        sum += position; \
        dst[at] = sum; \
    }
EMBED(f32, NumberF32)
EMBED(f16, NumberF16)
EMBED(q8, NumberQ8)
EMBED(q4, NumberQ4)
