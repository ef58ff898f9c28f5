// Operations of a simdgroup of 32 lanes, and barriers. All lanes meet, then each takes its result; what is the same for
// all is computed once, by the lane that wakes first.
#pragma once
#include "mtl_fiber.h"

namespace mk {
enum class mem_flags { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
MK_INLINE mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }

struct Exchange {
	Lanes* lanes;
	uint lane, parity;
	template <class T> MK_INLINE T get(uint from) const {
		T v;
		memcpy(&v, lanes->slot[parity][from], sizeof v);
		return v;
	}
	MK_INLINE uint count() const { return lanes->count; }
};

// exchange puts v where the other lanes see it, and waits for theirs.
template <class T> static MK_UNSEEN Exchange exchange(T v, Site site) {
	static_assert(sizeof(T) <= slot_bytes, "a value that lanes exchange has at most 32 bytes");
	Fiber* f = runtime->current;
	f->parity ^= 1;
	memcpy(f->lanes->slot[f->parity][f->index % lane_count], &v, sizeof v);
	f->lanes->computed[f->parity] = false;
	block(at_lanes, site);
	return Exchange{f->lanes, f->index % lane_count, f->parity};
}

// reduce joins the values in a fixed tree, halves at a time: the order is one that a GPU may use too.
template <class T, class Join> static MK_UNSEEN T reduce(T v, Site site, Join join) {
	Exchange e = exchange(v, site);
	T all[lane_count];
	if (!e.lanes->computed[e.parity]) {
		uint n = e.count();
		for (uint i = 0; i < n; i++) all[i] = e.get<T>(i);
		for (uint half = lane_count / 2; half > 0; half /= 2)
			for (uint i = 0; i < half; i++)
				if (i + half < n) all[i] = join(all[i], all[i + half]);
		memcpy(e.lanes->result[e.parity], &all[0], sizeof(T));
		e.lanes->computed[e.parity] = true;
	}
	memcpy(&all[0], e.lanes->result[e.parity], sizeof(T));
	return all[0];
}

template <class T> MK_INLINE T simd_sum(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return T(a + b); }); }
template <class T> MK_INLINE T simd_product(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return T(a * b); }); }
template <class T> MK_INLINE T simd_max(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return a < b ? b : a; }); }
template <class T> MK_INLINE T simd_min(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return b < a ? b : a; }); }
template <class T> MK_INLINE T simd_and(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return T(a & b); }); }
template <class T> MK_INLINE T simd_or(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return T(a | b); }); }
template <class T> MK_INLINE T simd_xor(T v, MK_SITE) { return reduce(v, site, [](T a, T b) { return T(a ^ b); }); }
MK_INLINE bool simd_all(bool v, MK_SITE) { return reduce(uint(v), site, [](uint a, uint b) { return a & b; }) != 0; }
MK_INLINE bool simd_any(bool v, MK_SITE) { return reduce(uint(v), site, [](uint a, uint b) { return a | b; }) != 0; }

template <class T> static MK_UNSEEN T pick(T v, uint from, Site site) {
	Exchange e = exchange(v, site);
	if (from >= e.count()) die("simd_shuffle from a lane that does not exist", site);
	return e.get<T>(from);
}
template <class T> MK_INLINE T simd_shuffle(T v, ushort lane, MK_SITE) { return pick(v, lane, site); }
template <class T> MK_INLINE T simd_broadcast(T v, ushort lane, MK_SITE) { return pick(v, lane, site); }
template <class T> MK_INLINE T simd_broadcast_first(T v, MK_SITE) { return pick(v, 0, site); }
template <class T> MK_INLINE T simd_shuffle_xor(T v, ushort mask, MK_SITE) { return pick(v, thread_index_in_simdgroup() ^ mask, site); }
// Beyond the edge Metal promises nothing, so a lane there gets a value that no result may rest on: not-a-number.
template <class T> static MK_UNSEEN T pick_or_poison(T v, int from, Site site) {
	Exchange e = exchange(v, site);
	if (from >= 0 && uint(from) < e.count()) return e.get<T>(uint(from));
	memset(&v, 0xff, sizeof v);
	return v;
}
template <class T> MK_INLINE T simd_shuffle_down(T v, ushort by, MK_SITE) { return pick_or_poison(v, int(thread_index_in_simdgroup()) + by, site); }
template <class T> MK_INLINE T simd_shuffle_up(T v, ushort by, MK_SITE) { return pick_or_poison(v, int(thread_index_in_simdgroup()) - by, site); }

template <class T> static MK_UNSEEN T prefix_sum(T v, Site site, uint before) {
	Exchange e = exchange(v, site);
	T sum = T(0);
	for (uint i = 0; i + before <= e.lane; i++) sum = T(sum + e.get<T>(i));
	return sum;
}
template <class T> MK_INLINE T simd_prefix_inclusive_sum(T v, MK_SITE) { return prefix_sum(v, site, 0); }
template <class T> MK_INLINE T simd_prefix_exclusive_sum(T v, MK_SITE) { return prefix_sum(v, site, 1); }

static MK_UNSEEN void threadgroup_barrier(mem_flags, MK_SITE) {
	char* order = &runtime->order[runtime->current->barriers++ % 2];
	sanitizer_release(order);
	block(at_group, site);
	sanitizer_acquire(order);
}
static MK_UNSEEN void simdgroup_barrier(mem_flags, MK_SITE) {
	Fiber* f = runtime->current;
	f->parity ^= 1;
	char* order = &f->lanes->order[f->parity];
	sanitizer_release(order);
	block(at_lanes, site);
	sanitizer_acquire(order);
}
}  // namespace mk
