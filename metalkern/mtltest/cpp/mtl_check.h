// The dialect of metalkern's kernels for clang as a checker: address spaces are part of types, as in Metal, so that a
// pointer to threadgroup memory does not pass for one to device memory. Nothing here has a body; nothing is run.
// Vectors are clang's own, as they are in Apple's compiler. Words that Metal lacks are poisoned at the end.
#pragma once
#define MK_SHIM 1

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;

#define MK_VECTORS(T) \
	typedef T T##2 __attribute__((ext_vector_type(2))); \
	typedef T T##3 __attribute__((ext_vector_type(3))); \
	typedef T T##4 __attribute__((ext_vector_type(4)));
MK_VECTORS(float) MK_VECTORS(half) MK_VECTORS(char) MK_VECTORS(uchar) MK_VECTORS(short) MK_VECTORS(ushort)
MK_VECTORS(int) MK_VECTORS(uint) MK_VECTORS(long) MK_VECTORS(ulong)

#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2))) const
#define threadgroup __attribute__((address_space(3)))
#define thread
#define kernel static __attribute__((used))
#define TG_ARRAY(T, name, count) alignas(16) static threadgroup T name[count]

// Vectors are made by the type's name with arguments: a scalar for all, a scalar each, a vector of another type, two halves.
template <class V> struct mk_scalar;
#define MK_SCALARS(T) \
	template <> struct mk_scalar<T##2> { typedef T type; enum { count = 2 }; }; \
	template <> struct mk_scalar<T##3> { typedef T type; enum { count = 3 }; }; \
	template <> struct mk_scalar<T##4> { typedef T type; enum { count = 4 }; };
MK_SCALARS(float) MK_SCALARS(half) MK_SCALARS(char) MK_SCALARS(uchar) MK_SCALARS(short) MK_SCALARS(ushort)
MK_SCALARS(int) MK_SCALARS(uint) MK_SCALARS(long) MK_SCALARS(ulong)
template <class A, class B> struct mk_same { enum { value = 0 }; };
template <class A> struct mk_same<A, A> { enum { value = 1 }; };
template <bool> struct mk_if;
template <> struct mk_if<true> { typedef int type; };
#define S typename mk_scalar<V>::type
template <class V> V mk_make(S);
template <class V, typename mk_if<mk_scalar<V>::count == 2>::type = 0> V mk_make(S, S);
template <class V, typename mk_if<mk_scalar<V>::count == 3>::type = 0> V mk_make(S, S, S);
template <class V, typename mk_if<mk_scalar<V>::count == 4>::type = 0> V mk_make(S, S, S, S);
#undef S
template <class V, class W, typename mk_if<int(mk_scalar<W>::count) == int(mk_scalar<V>::count)>::type = 0> V mk_make(W);
template <class V, class W, typename mk_if<mk_scalar<V>::count == 4 && mk_scalar<W>::count == 2>::type = 0> V mk_make(W, W);
#define float2(...) mk_make<float2>(__VA_ARGS__)
#define float3(...) mk_make<float3>(__VA_ARGS__)
#define float4(...) mk_make<float4>(__VA_ARGS__)
#define half2(...) mk_make<half2>(__VA_ARGS__)
#define half4(...) mk_make<half4>(__VA_ARGS__)
#define int2(...) mk_make<int2>(__VA_ARGS__)
#define int4(...) mk_make<int4>(__VA_ARGS__)
#define uint2(...) mk_make<uint2>(__VA_ARGS__)
#define uint3(...) mk_make<uint3>(__VA_ARGS__)
#define uint4(...) mk_make<uint4>(__VA_ARGS__)
#define ushort2(...) mk_make<ushort2>(__VA_ARGS__)
#define ushort4(...) mk_make<ushort4>(__VA_ARGS__)
#define char4(...) mk_make<char4>(__VA_ARGS__)
#define uchar4(...) mk_make<uchar4>(__VA_ARGS__)
#define ulong2(...) mk_make<ulong2>(__VA_ARGS__)

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX 3.402823466e+38f
#define M_PI_F 3.14159265358979323846f
#define M_SQRT1_2_F 0.70710678118654752440f
#define M_SQRT2_F 1.41421356237309504880f
#define M_2_SQRTPI_F 1.12837916709551257390f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.69314718055994530942f

#define MK_ONE(name) float name(float); half name(half);
#define MK_ALL \
	MK_ONE(exp) MK_ONE(exp2) MK_ONE(log) MK_ONE(log2) MK_ONE(log10) MK_ONE(sqrt) MK_ONE(rsqrt) MK_ONE(sin) MK_ONE(cos) MK_ONE(tan) \
	MK_ONE(tanh) MK_ONE(sinh) MK_ONE(cosh) MK_ONE(atan) MK_ONE(floor) MK_ONE(ceil) MK_ONE(trunc) MK_ONE(round) MK_ONE(rint) \
	MK_ONE(fabs) MK_ONE(sign) MK_ONE(fract) \
	float pow(float, float); float powr(float, float); float fmin(float, float); float fmax(float, float); float fmod(float, float);
MK_ALL
namespace precise { MK_ALL }
namespace fast { MK_ALL }
float fma(float, float, float);
half fma(half, half, half);
float4 fma(float4, float4, float4);
float ldexp(float, int);
bool isnan(float);
bool isinf(float);
bool isfinite(float);
int abs(int);
float abs(float);
half abs(half);
#define MK_ORDER(T) T min(T, T); T max(T, T); T clamp(T, T, T); T select(T, T, bool);
MK_ORDER(float) MK_ORDER(half) MK_ORDER(char) MK_ORDER(uchar) MK_ORDER(short) MK_ORDER(ushort) MK_ORDER(int) MK_ORDER(uint) MK_ORDER(long) MK_ORDER(ulong)
float4 min(float4, float4);
float4 max(float4, float4);
float dot(float2, float2);
float dot(float3, float3);
float dot(float4, float4);
half dot(half4, half4);
float mix(float, float, float);
uint popcount(uint);
uint clz(uint);
uint ctz(uint);
uint mulhi(uint, uint);
uint rotate(uint, uint);
template <class T, class U> T as_type(U u) { static_assert(sizeof(T) == sizeof(U), "as_type keeps the size"); return T(); }

enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
mem_flags operator|(mem_flags, mem_flags);
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
template <class T> T simd_sum(T);
template <class T> T simd_product(T);
template <class T> T simd_max(T);
template <class T> T simd_min(T);
template <class T> T simd_and(T);
template <class T> T simd_or(T);
template <class T> T simd_xor(T);
template <class T> T simd_prefix_inclusive_sum(T);
template <class T> T simd_prefix_exclusive_sum(T);
template <class T> T simd_broadcast_first(T);
bool simd_all(bool);
bool simd_any(bool);
template <class T> T simd_shuffle(T, ushort);
template <class T> T simd_shuffle_xor(T, ushort);
template <class T> T simd_shuffle_down(T, ushort);
template <class T> T simd_shuffle_up(T, ushort);
template <class T> T simd_broadcast(T, ushort);

enum memory_order { memory_order_relaxed };
struct atomic_uint { uint value; };
struct atomic_int { int value; };
#define MK_ATOMIC(A, T, S) \
	T atomic_load_explicit(const volatile S A*, memory_order); \
	void atomic_store_explicit(volatile S A*, T, memory_order); \
	T atomic_exchange_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_add_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_sub_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_max_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_min_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_or_explicit(volatile S A*, T, memory_order); \
	T atomic_fetch_and_explicit(volatile S A*, T, memory_order);
MK_ATOMIC(atomic_uint, uint, device) MK_ATOMIC(atomic_uint, uint, threadgroup)
MK_ATOMIC(atomic_int, int, device) MK_ATOMIC(atomic_int, int, threadgroup)

template <class T, int Columns, int Rows> struct simdgroup_matrix {
	simdgroup_matrix();
	explicit simdgroup_matrix(T);
private:
	T hidden[2];  // where the elements lie is not for kernels to know
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
template <class T, int C, int R> simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T);
#define MK_MATRIX(S) \
	template <class T> void simdgroup_load(simdgroup_matrix<T, 8, 8>&, const S T*, ulong = 8, ulong2 = 0, bool = false); \
	template <class T> void simdgroup_store(simdgroup_matrix<T, 8, 8>, S T*, ulong = 8, ulong2 = 0, bool = false);
MK_MATRIX(device) MK_MATRIX(threadgroup)
template <class D, class A, class B, class C>
void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>, simdgroup_matrix<C, 8, 8>);
template <class D, class A, class B>
void simdgroup_multiply(simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>);

#pragma GCC poison double goto new delete throw try catch virtual dynamic_cast typeid
