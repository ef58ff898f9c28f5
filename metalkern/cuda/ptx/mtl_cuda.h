// The dialect of metalkern's kernels for NVIDIA's runtime compiler: what package translate emits begins with this header.
// It leaves namespace mk open, because the kernels' text lives inside; MK_END closes it. Of CUDA it uses only what the
// compiler knows without any header.
//
// A simdgroup is a warp, threadgroup memory is shared memory, constants are the kernel's first parameter by value. Functions
// on numbers are the precise ones.
#pragma once
#define MK_INLINE __device__ __forceinline__
#define MK_END }
#define TG_ARRAY(T, name, count) __shared__ __align__(16) T name[count]
// A comment that the driver part replaces where the GPU has an instruction for it.
#define AFTER_EARLIER asm volatile("// after earlier" ::: "memory")

#define M_PI_F 3.14159265358979323846f
#define M_SQRT1_2_F 0.70710678118654752440f
#define M_SQRT2_F 1.41421356237309504880f
#define M_2_SQRTPI_F 1.12837916709551257390f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.69314718055994530942f
#define HALF_MAX 65504.0f
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

namespace mk {
typedef unsigned int uint;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned long ulong;
typedef unsigned int uint32_t;
typedef unsigned short uint16_t;
typedef unsigned char uint8_t;
typedef int int32_t;
typedef short int16_t;
typedef signed char int8_t;

// Here n could be anything, so nothing is made twice for it; the driver's compiler, which may find a number in its place, knows.
#define SETTLED(n) mk::settled(n)
MK_INLINE uint settled(uint n) { asm volatile("" : "+r"(n)); return n; }

template <class T, class U> MK_INLINE T as_type(U u) {
	static_assert(sizeof(T) == sizeof(U), "as_type keeps the size");
	T t;
	memcpy(&t, &u, sizeof t);
	return t;
}

// half and bfloat hold bits; what is computed with them is computed in float, and rounded where it becomes one again.
struct half {
	ushort bits;
	half() = default;
	MK_INLINE half(float f) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(f)); }
	MK_INLINE operator float() const { float f; asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits)); return f; }
};
struct bfloat {
	ushort bits;
	bfloat() = default;
	MK_INLINE explicit bfloat(float f) { uint u = as_type<uint>(f); bits = ushort((u + 0x7fffu + (u >> 16 & 1u)) >> 16); }
	MK_INLINE operator float() const { return as_type<float>(uint(bits) << 16); }
};

// Vectors, as Metal lays them out.
template <class T> struct __align__(2 * sizeof(T)) Vector2 {
	T x, y;
	Vector2() = default;
	MK_INLINE Vector2(T a) : x(a), y(a) {}
	MK_INLINE Vector2(T a, T b) : x(a), y(b) {}
	template <class U> MK_INLINE explicit Vector2(Vector2<U> v) : x(T(v.x)), y(T(v.y)) {}
	MK_INLINE T& operator[](int i) { return (&x)[i]; }
	MK_INLINE const T& operator[](int i) const { return (&x)[i]; }
};
template <class T> struct __align__(4 * sizeof(T)) Vector3 {
	T x, y, z;
	Vector3() = default;
	MK_INLINE Vector3(T a) : x(a), y(a), z(a) {}
	MK_INLINE Vector3(T a, T b, T c) : x(a), y(b), z(c) {}
	template <class U> MK_INLINE explicit Vector3(Vector3<U> v) : x(T(v.x)), y(T(v.y)), z(T(v.z)) {}
	MK_INLINE T& operator[](int i) { return (&x)[i]; }
	MK_INLINE const T& operator[](int i) const { return (&x)[i]; }
};
template <class T> struct __align__(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) Vector4 {
	T x, y, z, w;
	Vector4() = default;
	MK_INLINE Vector4(T a) : x(a), y(a), z(a), w(a) {}
	MK_INLINE Vector4(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {}
	MK_INLINE Vector4(Vector2<T> a, Vector2<T> b) : x(a.x), y(a.y), z(b.x), w(b.y) {}
	template <class U> MK_INLINE explicit Vector4(Vector4<U> v) : x(T(v.x)), y(T(v.y)), z(T(v.z)), w(T(v.w)) {}
	MK_INLINE T& operator[](int i) { return (&x)[i]; }
	MK_INLINE const T& operator[](int i) const { return (&x)[i]; }
};

template <class T> struct Same { typedef T type; };  // keeps a scalar operand from deciding the type

#define MK_OPERATOR(op) \
	template <class T> MK_INLINE Vector2<T> operator op(Vector2<T> a, Vector2<T> b) { return Vector2<T>(T(a.x op b.x), T(a.y op b.y)); } \
	template <class T> MK_INLINE Vector3<T> operator op(Vector3<T> a, Vector3<T> b) { return Vector3<T>(T(a.x op b.x), T(a.y op b.y), T(a.z op b.z)); } \
	template <class T> MK_INLINE Vector4<T> operator op(Vector4<T> a, Vector4<T> b) { return Vector4<T>(T(a.x op b.x), T(a.y op b.y), T(a.z op b.z), T(a.w op b.w)); } \
	MK_SCALAR(Vector2, op) MK_SCALAR(Vector3, op) MK_SCALAR(Vector4, op)
#define MK_SCALAR(V, op) \
	template <class T> MK_INLINE V<T> operator op(V<T> a, typename Same<T>::type b) { return a op V<T>(b); } \
	template <class T> MK_INLINE V<T> operator op(typename Same<T>::type a, V<T> b) { return V<T>(a) op b; } \
	template <class T> MK_INLINE V<T>& operator op##=(V<T>& a, V<T> b) { a = a op b; return a; } \
	template <class T> MK_INLINE V<T>& operator op##=(V<T>& a, typename Same<T>::type b) { a = a op V<T>(b); return a; }
MK_OPERATOR(+) MK_OPERATOR(-) MK_OPERATOR(*) MK_OPERATOR(/)
MK_OPERATOR(&) MK_OPERATOR(|) MK_OPERATOR(^) MK_OPERATOR(<<) MK_OPERATOR(>>) MK_OPERATOR(%)
#undef MK_OPERATOR
#undef MK_SCALAR
template <class T> MK_INLINE Vector2<T> operator-(Vector2<T> a) { return Vector2<T>(-a.x, -a.y); }
template <class T> MK_INLINE Vector3<T> operator-(Vector3<T> a) { return Vector3<T>(-a.x, -a.y, -a.z); }
template <class T> MK_INLINE Vector4<T> operator-(Vector4<T> a) { return Vector4<T>(-a.x, -a.y, -a.z, -a.w); }

#define MK_VECTORS(T) typedef Vector2<T> T##2; typedef Vector3<T> T##3; typedef Vector4<T> T##4;
MK_VECTORS(float) MK_VECTORS(half) MK_VECTORS(int) MK_VECTORS(uint) MK_VECTORS(short) MK_VECTORS(ushort)
MK_VECTORS(char) MK_VECTORS(uchar) MK_VECTORS(long) MK_VECTORS(ulong)
#undef MK_VECTORS

// Functions on numbers.
MK_INLINE float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
MK_INLINE float fraction(float x) { return fminf(x - floorf(x), 0.99999994f); }
#define MK_ONE(name, f) \
	MK_INLINE float name(float x) { return f(x); } \
	MK_INLINE half name(half x) { return half(f(float(x))); }
#define MK_ALL \
	MK_ONE(exp, expf) MK_ONE(exp2, exp2f) MK_ONE(log, logf) MK_ONE(log2, log2f) MK_ONE(log10, log10f) \
	MK_ONE(sqrt, sqrtf) MK_ONE(rsqrt, rsqrtf) MK_ONE(sin, sinf) MK_ONE(cos, cosf) MK_ONE(tan, tanf) \
	MK_ONE(tanh, tanhf) MK_ONE(sinh, sinhf) MK_ONE(cosh, coshf) MK_ONE(atan, atanf) \
	MK_ONE(floor, floorf) MK_ONE(ceil, ceilf) MK_ONE(trunc, truncf) MK_ONE(round, roundf) MK_ONE(rint, rintf) \
	MK_ONE(fabs, fabsf) MK_ONE(sign, mk::sign_of) MK_ONE(fract, mk::fraction) \
	MK_INLINE float pow(float x, float y) { return powf(x, y); } \
	MK_INLINE float powr(float x, float y) { return powf(x, y); } \
	MK_INLINE float fmin(float x, float y) { return fminf(x, y); } \
	MK_INLINE float fmax(float x, float y) { return fmaxf(x, y); } \
	MK_INLINE float fmod(float x, float y) { return fmodf(x, y); }
MK_ALL
namespace precise { MK_ALL }
namespace fast { MK_ALL }
#undef MK_ALL
#undef MK_ONE

MK_INLINE float fma(float a, float b, float c) { return fmaf(a, b, c); }
MK_INLINE float4 fma(float4 a, float4 b, float4 c) { return float4(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w)); }
MK_INLINE float ldexp(float x, int n) { return ldexpf(x, n); }
MK_INLINE bool isnan(float x) { return x != x; }
MK_INLINE bool isinf(float x) { return fabsf(x) == INFINITY; }
MK_INLINE bool isfinite(float x) { return fabsf(x) < INFINITY; }
MK_INLINE int abs(int x) { return x < 0 ? -x : x; }
MK_INLINE float abs(float x) { return fabsf(x); }
MK_INLINE half abs(half x) { return half(fabsf(float(x))); }

#define MK_ORDER(T) \
	MK_INLINE T min(T a, T b) { return b < a ? b : a; } \
	MK_INLINE T max(T a, T b) { return a < b ? b : a; } \
	MK_INLINE T clamp(T v, T low, T high) { return min(max(v, low), high); }
MK_ORDER(float) MK_ORDER(half) MK_ORDER(int) MK_ORDER(uint) MK_ORDER(short) MK_ORDER(ushort) MK_ORDER(char) MK_ORDER(uchar) MK_ORDER(long) MK_ORDER(ulong)
#undef MK_ORDER
#define MK_EACH4(name) \
	template <class T> MK_INLINE Vector4<T> name(Vector4<T> a, Vector4<T> b) { return Vector4<T>(name(a.x, b.x), name(a.y, b.y), name(a.z, b.z), name(a.w, b.w)); }
MK_EACH4(min) MK_EACH4(max)
#undef MK_EACH4

template <class T> MK_INLINE T dot(Vector2<T> a, Vector2<T> b) { return T(a.x * b.x + a.y * b.y); }
template <class T> MK_INLINE T dot(Vector3<T> a, Vector3<T> b) { return T(a.x * b.x + a.y * b.y + a.z * b.z); }
template <class T> MK_INLINE T dot(Vector4<T> a, Vector4<T> b) { return T(a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w); }
MK_INLINE float mix(float a, float b, float t) { return a + (b - a) * t; }
template <class T> MK_INLINE T select(T a, T b, bool c) { return c ? b : a; }

MK_INLINE uint popcount(uint x) { return uint(__popc(x)); }
MK_INLINE uint clz(uint x) { return uint(__clz(int(x))); }
MK_INLINE uint ctz(uint x) { return x ? uint(__ffs(int(x))) - 1 : 32; }
MK_INLINE uint mulhi(uint a, uint b) { return __umulhi(a, b); }
MK_INLINE uint rotate(uint x, uint n) { return __funnelshift_l(x, x, n); }

// Where a thread is.
MK_INLINE uint3 threadgroup_position_in_grid() { return uint3(blockIdx.x, blockIdx.y, blockIdx.z); }
MK_INLINE uint3 threadgroups_per_grid() { return uint3(gridDim.x, gridDim.y, gridDim.z); }
MK_INLINE uint3 threads_per_threadgroup() { return uint3(blockDim.x, blockDim.y, blockDim.z); }
MK_INLINE uint3 thread_position_in_threadgroup() { return uint3(threadIdx.x, threadIdx.y, threadIdx.z); }
MK_INLINE uint3 thread_position_in_grid() { return threadgroup_position_in_grid() * threads_per_threadgroup() + thread_position_in_threadgroup(); }
MK_INLINE uint thread_index_in_threadgroup() { return threadIdx.x; } // threadgroups are rows
MK_INLINE uint thread_index_in_simdgroup() { return thread_index_in_threadgroup() % 32; }
// The first lane's: so the compiler knows that it is the same for all, and what hangs on it no branch that parts them.
MK_INLINE uint simdgroup_index_in_threadgroup() { return __shfl_sync(0xffffffff, thread_index_in_threadgroup() / 32, 0); }
MK_INLINE uint simdgroups_per_threadgroup() { return (blockDim.x + 31) / 32; }

// Barriers. A barrier of the threadgroup orders device memory too, which is more than Metal promises of one flag.
enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
MK_INLINE mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
MK_INLINE void threadgroup_barrier(mem_flags) { __syncthreads(); }
MK_INLINE void simdgroup_barrier(mem_flags) { __syncwarp(); }

// Operations of a simdgroup. Values of 16 bits and less travel as 32.
#define MK_LANES 0xffffffffu
template <class T, int size = sizeof(T)> struct Lane;
template <class T> struct Lane<T, 4> {
	MK_INLINE static uint out(T v) { return as_type<uint>(v); }
	MK_INLINE static T in(uint v) { return as_type<T>(v); }
};
template <class T> struct Lane<T, 2> {
	MK_INLINE static uint out(T v) { return as_type<ushort>(v); }
	MK_INLINE static T in(uint v) { return as_type<T>(ushort(v)); }
};
template <class T> struct Lane<T, 1> {
	MK_INLINE static uint out(T v) { return as_type<uchar>(v); }
	MK_INLINE static T in(uint v) { return as_type<T>(uchar(v)); }
};
template <class T> struct Lane<T, 8> {
	MK_INLINE static ulong out(T v) { return as_type<ulong>(v); }
	MK_INLINE static T in(ulong v) { return as_type<T>(v); }
};
template <class T> MK_INLINE T simd_shuffle(T v, ushort lane) { return Lane<T>::in(__shfl_sync(MK_LANES, Lane<T>::out(v), lane)); }
template <class T> MK_INLINE T simd_shuffle_xor(T v, ushort mask) { return Lane<T>::in(__shfl_xor_sync(MK_LANES, Lane<T>::out(v), mask)); }
template <class T> MK_INLINE T simd_shuffle_down(T v, ushort by) { return Lane<T>::in(__shfl_down_sync(MK_LANES, Lane<T>::out(v), by)); }
template <class T> MK_INLINE T simd_shuffle_up(T v, ushort by) { return Lane<T>::in(__shfl_up_sync(MK_LANES, Lane<T>::out(v), by)); }
#define MK_VECTOR_LANES(name) \
	template <class T> MK_INLINE Vector2<T> name(Vector2<T> v, ushort n) { return Vector2<T>(name(v.x, n), name(v.y, n)); } \
	template <class T> MK_INLINE Vector3<T> name(Vector3<T> v, ushort n) { return Vector3<T>(name(v.x, n), name(v.y, n), name(v.z, n)); } \
	template <class T> MK_INLINE Vector4<T> name(Vector4<T> v, ushort n) { return Vector4<T>(name(v.x, n), name(v.y, n), name(v.z, n), name(v.w, n)); }
MK_VECTOR_LANES(simd_shuffle) MK_VECTOR_LANES(simd_shuffle_xor) MK_VECTOR_LANES(simd_shuffle_down) MK_VECTOR_LANES(simd_shuffle_up)
#undef MK_VECTOR_LANES
template <class T> MK_INLINE T simd_broadcast(T v, ushort lane) { return simd_shuffle(v, lane); }
template <class T> MK_INLINE T simd_broadcast_first(T v) { return simd_shuffle(v, ushort(0)); }

// All lanes join in the same tree, so all get the same bits.
#define MK_REDUCE(name, joined) \
	template <class T> MK_INLINE T name(T a) { \
		for (ushort step = 16; step > 0; step /= 2) { const T b = simd_shuffle_xor(a, step); a = T(joined); } \
		return a; \
	}
MK_REDUCE(simd_sum, a + b) MK_REDUCE(simd_product, a * b)
MK_REDUCE(simd_max, a < b ? b : a) MK_REDUCE(simd_min, b < a ? b : a)
MK_REDUCE(simd_and, a & b) MK_REDUCE(simd_or, a | b) MK_REDUCE(simd_xor, a ^ b)
#undef MK_REDUCE
// For integers there is an instruction.
MK_INLINE uint simd_sum(uint a) { return __reduce_add_sync(MK_LANES, a); }
MK_INLINE uint simd_max(uint a) { return __reduce_max_sync(MK_LANES, a); }
MK_INLINE uint simd_min(uint a) { return __reduce_min_sync(MK_LANES, a); }
MK_INLINE bool simd_all(bool v) { return __all_sync(MK_LANES, v); }
MK_INLINE bool simd_any(bool v) { return __any_sync(MK_LANES, v); }
template <class T> MK_INLINE T simd_prefix_inclusive_sum(T v) {
	for (ushort step = 1; step < 32; step *= 2) {
		const T before = simd_shuffle_up(v, step);
		if (thread_index_in_simdgroup() >= step) v = T(v + before);
	}
	return v;
}
template <class T> MK_INLINE T simd_prefix_exclusive_sum(T v) {
	const T before = simd_shuffle_up(simd_prefix_inclusive_sum(v), ushort(1));
	return thread_index_in_simdgroup() == 0 ? T(0) : before;
}

// Atomic integers, relaxed.
enum memory_order { memory_order_relaxed };
struct atomic_uint { uint v; };
struct atomic_int { int v; };
#define MK_ATOMIC(A, T) \
	MK_INLINE T atomic_load_explicit(const A* a, memory_order) { return *reinterpret_cast<const volatile T*>(&a->v); } \
	MK_INLINE void atomic_store_explicit(A* a, T v, memory_order) { *reinterpret_cast<volatile T*>(&a->v) = v; } \
	MK_INLINE T atomic_exchange_explicit(A* a, T v, memory_order) { return atomicExch(&a->v, v); } \
	MK_INLINE T atomic_fetch_add_explicit(A* a, T v, memory_order) { return atomicAdd(&a->v, v); } \
	MK_INLINE T atomic_fetch_sub_explicit(A* a, T v, memory_order) { return atomicSub(&a->v, v); } \
	MK_INLINE T atomic_fetch_or_explicit(A* a, T v, memory_order) { return atomicOr(&a->v, v); } \
	MK_INLINE T atomic_fetch_and_explicit(A* a, T v, memory_order) { return atomicAnd(&a->v, v); } \
	MK_INLINE T atomic_fetch_max_explicit(A* a, T v, memory_order) { return atomicMax(&a->v, v); } \
	MK_INLINE T atomic_fetch_min_explicit(A* a, T v, memory_order) { return atomicMin(&a->v, v); }
MK_ATOMIC(atomic_uint, uint) MK_ATOMIC(atomic_int, int)
#undef MK_ATOMIC

// Matrices of 8×8 that a warp holds together. Lane l has row l/4, columns l%4·2 and the next: the layout in which mma gives
// its results and takes its left operand. The right operand is wanted the other way round; so a matrix that was loaded
// transposed is kept as it lies in memory, and is turned only where it is used on the other side. Which is which
// is known to the compiler; nothing of this is decided when the kernel runs.
//
// The two elements of a lane are read and written as one: pointers and strides must be even.
template <class T, int Columns, int Rows> struct simdgroup_matrix {
	static_assert(Columns == 8 && Rows == 8, "Metal has 8x8 only");
	Vector2<T> pair;
	bool transposed;
	simdgroup_matrix() = default;
	MK_INLINE explicit simdgroup_matrix(T v) : pair(v), transposed(false) {}
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
template <class T, int C, int R> MK_INLINE simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T v) { return simdgroup_matrix<T, C, R>(v); }

MK_INLINE ulong place_of_pair(ulong stride, ulong2 origin, bool transpose) {
	const uint lane = thread_index_in_simdgroup();
	return ((transpose ? origin.x : origin.y) + lane / 4) * stride + (transpose ? origin.y : origin.x) + lane % 4 * 2;
}
template <class T> MK_INLINE void simdgroup_load(simdgroup_matrix<T, 8, 8>& d, const T* p, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false) {
	d.pair = *reinterpret_cast<const Vector2<T>*>(p + place_of_pair(stride, origin, transpose));
	d.transposed = transpose;
}
template <class T> MK_INLINE Vector2<T> turned(Vector2<T> v);
template <class T> MK_INLINE void simdgroup_store(simdgroup_matrix<T, 8, 8> d, T* p, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false) {
	*reinterpret_cast<Vector2<T>*>(p + place_of_pair(stride, origin, transpose)) = d.transposed == transpose ? d.pair : turned(d.pair);
}

// turned is the lane's pair of the transposed matrix.
MK_INLINE uint turned_bits(uint v) {
	uint t;
	asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(t) : "r"(v));
	return t;
}
template <> MK_INLINE half2 turned(half2 v) { return as_type<half2>(turned_bits(as_type<uint>(v))); }
template <> MK_INLINE float2 turned(float2 v) {
	const uint x = as_type<uint>(v.x), y = as_type<uint>(v.y);
	const uint low = turned_bits(__byte_perm(x, y, 0x5410)), high = turned_bits(__byte_perm(x, y, 0x7632));
	return float2(as_type<float>(__byte_perm(low, high, 0x5410)), as_type<float>(__byte_perm(low, high, 0x7632)));
}
template <class T> MK_INLINE Vector2<T> as_left(simdgroup_matrix<T, 8, 8> m) { return m.transposed ? turned(m.pair) : m.pair; }
template <class T> MK_INLINE Vector2<T> as_right(simdgroup_matrix<T, 8, 8> m) { return m.transposed ? m.pair : turned(m.pair); }

// One step of Metal's is half an mma of 16×8×8: rows 8 to 15 of the left operand are zero.
MK_INLINE void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_half8x8 a, simdgroup_half8x8 b, simdgroup_float8x8 c) {
	float2 sum = as_left(c);
	float below0 = 0.0f, below1 = 0.0f;
	asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
		: "+f"(sum.x), "+f"(sum.y), "+f"(below0), "+f"(below1) : "r"(as_type<uint>(as_left(a))), "r"(0), "r"(as_type<uint>(as_right(b))));
	d.pair = sum;
	d.transposed = false;
}

// Of floats the tensor units take 11 bits. A float is split into two such parts, and the product of the two small ones left
// out: what is lost is in the 22nd bit. (One part alone would miss the error that kernels are allowed.)
MK_INLINE uint leading(float x) { uint r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x)); return r; }
MK_INLINE uint trailing(float x, uint lead) { return leading(x - as_type<float>(lead)); }
MK_INLINE void multiply_parts(float2& sum, const uint (&a)[2], const uint (&b)[2]) {
	float below0 = 0.0f, below1 = 0.0f;
	asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %5}, {%7, %8}, {%0, %1, %2, %3};"
		: "+f"(sum.x), "+f"(sum.y), "+f"(below0), "+f"(below1) : "r"(a[0]), "r"(0), "r"(a[1]), "r"(b[0]), "r"(b[1]));
}
// The columns of the left operand are taken in the order 0, 2, 4, 6, 1, 3, 5, 7, which lanes hold already; the rows of the
// right one in the same order.
MK_INLINE void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a, simdgroup_float8x8 b, simdgroup_float8x8 c) {
	const float2 left = as_left(a), right = as_right(b);
	const uint left1[2] = {leading(left.x), leading(left.y)}, right1[2] = {leading(right.x), leading(right.y)};
	const uint left2[2] = {trailing(left.x, left1[0]), trailing(left.y, left1[1])};
	const uint right2[2] = {trailing(right.x, right1[0]), trailing(right.y, right1[1])};
	float2 sum = as_left(c);
	multiply_parts(sum, left1, right2);
	multiply_parts(sum, left2, right1);
	multiply_parts(sum, left1, right1);
	d.pair = sum;
	d.transposed = false;
}
MK_INLINE simdgroup_float8x8 widened(simdgroup_half8x8 m) {
	simdgroup_float8x8 f;
	f.pair = float2(float(m.pair.x), float(m.pair.y));
	f.transposed = m.transposed;
	return f;
}
MK_INLINE void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_half8x8 a, simdgroup_float8x8 b, simdgroup_float8x8 c) { simdgroup_multiply_accumulate(d, widened(a), b, c); }
MK_INLINE void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a, simdgroup_half8x8 b, simdgroup_float8x8 c) { simdgroup_multiply_accumulate(d, a, widened(b), c); }
template <class A, class B> MK_INLINE void simdgroup_multiply(simdgroup_float8x8& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b) {
	simdgroup_multiply_accumulate(d, a, b, simdgroup_float8x8(0.0f));
}

// What mtl_units.h is written with, beside the dialect. A pair is two halves in a word.
MK_INLINE uint two_halves(float low, float high) { uint r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
MK_INLINE uint less(uint pair, uint what) { uint r; asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(pair), "r"(what)); return r; }
// sixteenth is a pair / 16 - 72, scaled a pair times a half.
MK_INLINE uint sixteenth(uint pair) { uint r; asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(pair), "r"(0x2c002c00), "r"(0xd480d480)); return r; }
MK_INLINE uint scaled(uint pair, half scale) {
	uint r;
	asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(pair), "r"(as_type<uint>(half2(scale))));
	return r;
}
// masked is one instruction, where the compiler would make two because mask and rest are constants.
MK_INLINE uint masked(uint word, uint mask, uint rest) {
	uint r;
	asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(r) : "r"(word), "r"(mask), "r"(rest));
	return r;
}
MK_INLINE uint byte_perm(uint a, uint b, uint order) { return __byte_perm(a, b, order); }
// multiply_16x8x16 adds a unit's products: 16 rows of 16 halves with 8 columns of as many. Of the sums a lane has rows l/4 and
// l/4 + 8, columns 2·(l%4) and the next; of the left operand the same rows, of the right one column l/4, and of both places
// 2·(l%4), the next, and eight on.
MK_INLINE void multiply_16x8x16(float& c0, float& c1, float& c2, float& c3, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
	asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
		: "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
// load_four reads four matrices of 8×8 halves out of threadgroup memory, of which lanes 8·m… say where rows of the m-th begin: a lane
// gets row l/4, columns 2·(l%4) and the next; or the same of the matrix turned.
MK_INLINE void load_four(uint (&r)[4], const half* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(uint(__cvta_generic_to_shared(row))) : "memory");
}
MK_INLINE void load_four_turned(uint (&r)[4], const half* row) {
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
		: "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(uint(__cvta_generic_to_shared(row))) : "memory");
}
// A copy into threadgroup memory; zeros where there is nothing. until_copied waits for all steps but the last few.
MK_INLINE void copy_async(uint4* to, const half* from, bool there) {
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(uint(__cvta_generic_to_shared(to))), "l"(from), "r"(there ? 16 : 0) : "memory");
}
MK_INLINE void end_of_step() { asm volatile("cp.async.commit_group;" : : : "memory"); }
template <int LEFT> MK_INLINE void until_copied() { asm volatile("cp.async.wait_group %0;" : : "n"(LEFT) : "memory"); }

// 2^x in one instruction.
#define MK_POWER
MK_INLINE float power(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
