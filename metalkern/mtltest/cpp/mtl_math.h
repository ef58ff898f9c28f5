// Metal's functions on numbers, for float and half, with the names and types that Metal gives them; no more of them than
// kernels use. Results are those of the C library, which is not what a GPU gives to the last bit.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include "mtl_vector.h"

#define M_PI_F 3.14159265358979323846f
#define M_SQRT1_2_F 0.70710678118654752440f
#define M_SQRT2_F 1.41421356237309504880f
#define M_2_SQRTPI_F 1.12837916709551257390f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.69314718055994530942f

namespace mk {
#if defined(__aarch64__) && !defined(__clang__)
typedef __fp16 half;
#else
typedef _Float16 half;
#endif
#define HALF_MAX 65504.0f

struct bfloat {
	uint16_t bits;
	bfloat() = default;
	MK_INLINE explicit bfloat(float f) {
		uint32_t u;
		memcpy(&u, &f, 4);
		bits = uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
	}
	MK_INLINE operator float() const {
		uint32_t u = uint32_t(bits) << 16;
		float f;
		memcpy(&f, &u, 4);
		return f;
	}
};

MK_INLINE float reciprocal_root(float x) { return 1.0f / std::sqrt(x); }
MK_INLINE float round_even(float x) { return std::nearbyint(x); }
MK_INLINE float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
MK_INLINE float fraction(float x) { return std::fmin(x - std::floor(x), 0x1.fffffep-1f); }

#define MK_ONE(name, f) \
	MK_INLINE float name(float x) { return f(x); } \
	MK_INLINE half name(half x) { return half(f(float(x))); }
#define MK_ALL \
	MK_ONE(exp, std::exp) MK_ONE(exp2, std::exp2) MK_ONE(log, std::log) MK_ONE(log2, std::log2) MK_ONE(log10, std::log10) \
	MK_ONE(sqrt, std::sqrt) MK_ONE(rsqrt, mk::reciprocal_root) MK_ONE(sin, std::sin) MK_ONE(cos, std::cos) MK_ONE(tan, std::tan) \
	MK_ONE(tanh, std::tanh) MK_ONE(sinh, std::sinh) MK_ONE(cosh, std::cosh) MK_ONE(atan, std::atan) \
	MK_ONE(floor, std::floor) MK_ONE(ceil, std::ceil) MK_ONE(trunc, std::trunc) MK_ONE(round, std::round) MK_ONE(rint, mk::round_even) \
	MK_ONE(fabs, std::fabs) MK_ONE(sign, mk::sign_of) MK_ONE(fract, mk::fraction) \
	MK_INLINE float pow(float x, float y) { return std::pow(x, y); } \
	MK_INLINE float powr(float x, float y) { return std::pow(x, y); } \
	MK_INLINE float fmin(float x, float y) { return std::fmin(x, y); } \
	MK_INLINE float fmax(float x, float y) { return std::fmax(x, y); } \
	MK_INLINE float fmod(float x, float y) { return std::fmod(x, y); }
MK_ALL
namespace precise { MK_ALL }
namespace fast { MK_ALL }
#undef MK_ALL
#undef MK_ONE

MK_INLINE float fma(float a, float b, float c) { return std::fma(a, b, c); }
MK_INLINE float4 fma(float4 a, float4 b, float4 c) { return float4(fma(a.x, b.x, c.x), fma(a.y, b.y, c.y), fma(a.z, b.z, c.z), fma(a.w, b.w, c.w)); }
MK_INLINE float ldexp(float x, int n) { return std::ldexp(x, n); }
MK_INLINE bool isnan(float x) { return x != x; }
MK_INLINE bool isinf(float x) { return std::fabs(x) == INFINITY; }
MK_INLINE bool isfinite(float x) { return std::fabs(x) < INFINITY; }
MK_INLINE int abs(int x) { return x < 0 ? -x : x; }
MK_INLINE float abs(float x) { return std::fabs(x); }
MK_INLINE half abs(half x) { return x < half(0) ? half(-x) : x; }

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

MK_INLINE uint popcount(uint x) { return uint(__builtin_popcount(x)); }
MK_INLINE uint clz(uint x) { return x ? uint(__builtin_clz(x)) : 32; }
MK_INLINE uint ctz(uint x) { return x ? uint(__builtin_ctz(x)) : 32; }
MK_INLINE uint mulhi(uint a, uint b) { return uint(ulong(a) * b >> 32); }
MK_INLINE uint rotate(uint x, uint n) { return n % 32 ? x << n % 32 | x >> (32 - n % 32) : x; }

template <class T, class U> MK_INLINE T as_type(U u) {
	static_assert(sizeof(T) == sizeof(U), "as_type keeps the size");
	T t;
	memcpy(&t, &u, sizeof t);
	return t;
}
}  // namespace mk
