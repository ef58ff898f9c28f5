// The dialect of metalkern's kernels for a C++20 compiler, so that they run on the processor: what package translate
// emits begins with this header. It leaves namespace mk open, because the kernels' text lives inside.
#pragma once
#define MK_SHIM 1
#include "mtl_math.h"
#include "mtl_atomic.h"
#include "mtl_simd.h"
#include "mtl_matrix.h"

#define TG_ARRAY(T, name, count) \
	static char name##_key; \
	T* const name = static_cast<T*>(threadgroup_array(&name##_key, sizeof(T) * (count), Site::current()))

#define MK_KERNEL(name, writes, buffers, constants, ...) \
	static void mk_thread_##name(Context* c) { (void)c; __VA_ARGS__; } \
	static int mk_run_##name(mk_launch* l) { return run(mk_thread_##name, l); } \
	extern "C" { \
	extern __attribute__((visibility("default"))) const mk_kernel mk_kernel_##name; \
	const mk_kernel mk_kernel_##name = {#name, mk_run_##name, writes, buffers, constants}; \
	}
#define MK_END }

#define device
#define threadgroup
#define thread
#define constant const

namespace mk {
MK_VECTORS(half)
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
#ifdef MK_UNITS
#include "mtl_cpu_units.h"
#include "mtl_units.h"
#endif
#ifdef MK_WARPGROUPS
#include "mtl_cpu_warpgroup.h"
#include "mtl_warpgroup.h"
#endif
