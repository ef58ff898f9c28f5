// Matrices of 8×8 that a simdgroup holds together, two elements a lane. Where a lane's elements lie is not for kernels to
// know; the places here are one choice of many.
#pragma once
#include "mtl_simd.h"

namespace mk {
template <class T, int Columns, int Rows> struct simdgroup_matrix {
	static_assert(Columns == 8 && Rows == 8, "Metal has 8x8 only");
	T element[2];
	simdgroup_matrix() { memset(element, 0xff, sizeof element); }
	explicit simdgroup_matrix(T v) { element[0] = element[1] = v; }
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;

MK_INLINE uint fragment_row(uint lane) { return (lane / 4 & 4) + lane / 2 % 4; }
MK_INLINE uint fragment_column(uint lane) { return (lane / 4 & 2) * 2 + lane % 2 * 2; }

// refuse_origin: what an origin means for a transposed matrix, Apple does not say; kernels move the pointer instead.
MK_INLINE void refuse_origin(ulong2 origin, Site site) {
	if (origin.x != 0 || origin.y != 0) die("simdgroup_load or store with an origin; move the pointer instead", site);
}

// converge notes that this lane was here; the next meeting compares.
static MK_UNSEEN void converge(Site site) {
	Fiber* f = runtime->current;
	f->trace = (f->trace + (uint64_t(site.line()) << 20 | site.column())) * 0x9e3779b97f4a7c15ull;
}

template <class T, int C, int R> MK_INLINE simdgroup_matrix<T, C, R> make_filled_simdgroup_matrix(T v) { return simdgroup_matrix<T, C, R>(v); }

template <class T> MK_INLINE void simdgroup_load(simdgroup_matrix<T, 8, 8>& d, const T* p, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false, MK_SITE) {
	refuse_origin(origin, site);
	converge(site);
	uint lane = thread_index_in_simdgroup();
	for (uint i = 0; i < 2; i++) {
		ulong row = fragment_row(lane), column = fragment_column(lane) + i;
		d.element[i] = transpose ? p[column * stride + row] : p[row * stride + column];
	}
}

template <class T> MK_INLINE void simdgroup_store(simdgroup_matrix<T, 8, 8> d, T* p, ulong stride = 8, ulong2 origin = ulong2(0), bool transpose = false, MK_SITE) {
	refuse_origin(origin, site);
	converge(site);
	uint lane = thread_index_in_simdgroup();
	for (uint i = 0; i < 2; i++) {
		ulong row = fragment_row(lane), column = fragment_column(lane) + i;
		(transpose ? p[column * stride + row] : p[row * stride + column]) = d.element[i];
	}
}

template <class A, class B> struct Operands { A a[2]; B b[2]; float c[2]; };

// multiply computes a·b + c for the whole simdgroup, products summed in float in the order of the inner dimension.
template <class A, class B> static MK_UNSEEN void multiply(Exchange& e) {
	float a[8][8], b[8][8], d[8][8];
	for (uint lane = 0; lane < lane_count; lane++) {
		Operands<A, B> o = e.get<Operands<A, B>>(lane);
		uint row = fragment_row(lane), column = fragment_column(lane);
		for (uint i = 0; i < 2; i++) {
			a[row][column + i] = float(o.a[i]);
			b[row][column + i] = float(o.b[i]);
			d[row][column + i] = o.c[i];
		}
	}
	for (int r = 0; r < 8; r++)
		for (int k = 0; k < 8; k++)
			for (int c = 0; c < 8; c++) d[r][c] += a[r][k] * b[k][c];
	memcpy(e.lanes->result[e.parity], d, sizeof d);
	e.lanes->computed[e.parity] = true;
}

template <class D, class A, class B, class C>
MK_UNSEEN void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, simdgroup_matrix<C, 8, 8> c, MK_SITE) {
	Operands<A, B> mine = {{a.element[0], a.element[1]}, {b.element[0], b.element[1]}, {float(c.element[0]), float(c.element[1])}};
	Exchange e = exchange(mine, site);
	if (e.count() != lane_count) die("simdgroup_multiply_accumulate in a simdgroup with fewer than 32 threads", site);
	if (!e.lanes->computed[e.parity]) multiply<A, B>(e);
	float result[8][8];
	memcpy(result, e.lanes->result[e.parity], sizeof result);
	for (uint i = 0; i < 2; i++) d.element[i] = D(result[fragment_row(e.lane)][fragment_column(e.lane) + i]);
}

template <class D, class A, class B>
MK_INLINE void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, simdgroup_matrix<A, 8, 8> a, simdgroup_matrix<B, 8, 8> b, MK_SITE) {
	simdgroup_multiply_accumulate(d, a, b, simdgroup_matrix<float, 8, 8>(0.0f), site);
}
}  // namespace mk
