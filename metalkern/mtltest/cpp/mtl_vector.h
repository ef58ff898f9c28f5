// Vectors of two to four elements, as Metal lays them out: three take the place of four. Elements are named x, y, z, w or
// taken by index; there are no swizzles, because not every compiler of the dialect has them.
#pragma once

#define MK_INLINE inline __attribute__((always_inline))

namespace mk {
typedef unsigned int uint;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned long ulong;

template <class T> struct alignas(2 * sizeof(T)) Vector2 {
	T x, y;
	Vector2() = default;
	MK_INLINE Vector2(T a) : x(a), y(a) {}
	MK_INLINE Vector2(T a, T b) : x(a), y(b) {}
	template <class U> MK_INLINE explicit Vector2(Vector2<U> v) : x(T(v.x)), y(T(v.y)) {}
	MK_INLINE T& operator[](int i) { return (&x)[i]; }
	MK_INLINE const T& operator[](int i) const { return (&x)[i]; }
};

template <class T> struct alignas(4 * sizeof(T)) Vector3 {
	T x, y, z;
	Vector3() = default;
	MK_INLINE Vector3(T a) : x(a), y(a), z(a) {}
	MK_INLINE Vector3(T a, T b, T c) : x(a), y(b), z(c) {}
	template <class U> MK_INLINE explicit Vector3(Vector3<U> v) : x(T(v.x)), y(T(v.y)), z(T(v.z)) {}
	MK_INLINE T& operator[](int i) { return (&x)[i]; }
	MK_INLINE const T& operator[](int i) const { return (&x)[i]; }
};

template <class T> struct alignas(4 * sizeof(T)) Vector4 {
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
MK_VECTORS(float) MK_VECTORS(int) MK_VECTORS(uint) MK_VECTORS(short) MK_VECTORS(ushort)
MK_VECTORS(char) MK_VECTORS(uchar) MK_VECTORS(long) MK_VECTORS(ulong)
}  // namespace mk
