// Atomic integers, relaxed as Metal has them inside a dispatch, and no other order.
#pragma once
#include <atomic>
#include "mtl_vector.h"

namespace mk {
enum memory_order { memory_order_relaxed };
typedef std::atomic<uint> atomic_uint;
typedef std::atomic<int> atomic_int;

#define MK_ATOMIC(T) \
	MK_INLINE T atomic_load_explicit(const std::atomic<T>* a, memory_order) { return a->load(std::memory_order_relaxed); } \
	MK_INLINE void atomic_store_explicit(std::atomic<T>* a, T v, memory_order) { a->store(v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_exchange_explicit(std::atomic<T>* a, T v, memory_order) { return a->exchange(v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_fetch_add_explicit(std::atomic<T>* a, T v, memory_order) { return a->fetch_add(v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_fetch_sub_explicit(std::atomic<T>* a, T v, memory_order) { return a->fetch_sub(v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_fetch_or_explicit(std::atomic<T>* a, T v, memory_order) { return a->fetch_or(v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_fetch_and_explicit(std::atomic<T>* a, T v, memory_order) { return a->fetch_and(v, std::memory_order_relaxed); } \
	MK_INLINE bool atomic_compare_exchange_weak_explicit(std::atomic<T>* a, T* expected, T v, memory_order, memory_order) { \
		return a->compare_exchange_weak(*expected, v, std::memory_order_relaxed); } \
	MK_INLINE T atomic_fetch_max_explicit(std::atomic<T>* a, T v, memory_order) { \
		T old = a->load(std::memory_order_relaxed); \
		while (old < v && !a->compare_exchange_weak(old, v, std::memory_order_relaxed)) {} \
		return old; } \
	MK_INLINE T atomic_fetch_min_explicit(std::atomic<T>* a, T v, memory_order) { \
		T old = a->load(std::memory_order_relaxed); \
		while (v < old && !a->compare_exchange_weak(old, v, std::memory_order_relaxed)) {} \
		return old; }
MK_ATOMIC(uint) MK_ATOMIC(int)
#undef MK_ATOMIC
}  // namespace mk
