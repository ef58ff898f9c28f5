// Tells AddressSanitizer and ThreadSanitizer about fibers, and ThreadSanitizer what orders the threads of a threadgroup:
// the launch, the barriers, and the end; not simdgroup operations, which exchange values but order no memory.
// Without a sanitizer all of this is nothing.
#pragma once
#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define MK_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MK_THREAD 1
#endif
#if __has_feature(address_sanitizer)
#define MK_ADDRESS 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MK_ADDRESS 1
#endif

#ifdef MK_THREAD
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
// MK_UNSEEN is for the scheduler's own functions: what they touch is not the kernel's doing.
#define MK_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define MK_UNSEEN inline
#endif
#ifdef MK_ADDRESS
extern "C" {
void __sanitizer_start_switch_fiber(void**, const void*, size_t);
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*);
void __asan_unpoison_memory_region(void const volatile*, size_t);
}
#endif

namespace mk {
struct Sanitizer {
#ifdef MK_THREAD
	void* fiber = nullptr;
#endif
#ifdef MK_ADDRESS
	void* fake_stack = nullptr;
	bool main = false;
	const void* bottom = nullptr;
	size_t size = 0;
#endif
};

#ifdef MK_THREAD
static MK_UNSEEN void sanitizer_acquire(void* p) { __tsan_acquire(p); }
static MK_UNSEEN void sanitizer_release(void* p) { __tsan_release(p); }
static MK_UNSEEN void sanitizer_main(Sanitizer& s) { s.fiber = __tsan_get_current_fiber(); }
static MK_UNSEEN void sanitizer_new_fiber(Sanitizer& s) {
	if (s.fiber) __tsan_destroy_fiber(s.fiber);
	s.fiber = __tsan_create_fiber(0);
}
static MK_UNSEEN void sanitizer_new_stack(void*, size_t) {}
static MK_UNSEEN void sanitizer_leave(Sanitizer&, Sanitizer& to, const void*, size_t) { __tsan_switch_to_fiber(to.fiber, 1); }
static MK_UNSEEN void sanitizer_enter(Sanitizer&) {}
static MK_UNSEEN void sanitizer_start(Sanitizer&) {}
#elif defined(MK_ADDRESS)
static inline void sanitizer_acquire(void*) {}
static inline void sanitizer_release(void*) {}
static inline void sanitizer_main(Sanitizer& s) { s.main = true; }
static inline void sanitizer_new_fiber(Sanitizer& s) { s.fake_stack = nullptr; }
// A stack may lie where another was, whose frames are still marked.
static inline void sanitizer_new_stack(void* stack, size_t size) { __asan_unpoison_memory_region(stack, size); }
static inline void sanitizer_leave(Sanitizer& from, Sanitizer& to, const void* stack, size_t size) {
	if (to.main) { stack = to.bottom; size = to.size; }
	__sanitizer_start_switch_fiber(&from.fake_stack, stack, size);
}
static inline void sanitizer_enter(Sanitizer& me) {
	// What the switch left was the scheduler's stack only where that ran last; its bounds are learnt once, at the start.
	__sanitizer_finish_switch_fiber(me.fake_stack, nullptr, nullptr);
}
static inline void sanitizer_start(Sanitizer& scheduler) {
	const void* bottom;
	size_t size;
	__sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
	if (!scheduler.bottom) { scheduler.bottom = bottom; scheduler.size = size; }  // the first fiber is entered from the scheduler
}
#else
static inline void sanitizer_acquire(void*) {}
static inline void sanitizer_release(void*) {}
static inline void sanitizer_main(Sanitizer&) {}
static inline void sanitizer_new_fiber(Sanitizer&) {}
static inline void sanitizer_new_stack(void*, size_t) {}
static inline void sanitizer_leave(Sanitizer&, Sanitizer&, const void*, size_t) {}
static inline void sanitizer_enter(Sanitizer&) {}
static inline void sanitizer_start(Sanitizer&) {}
#endif
}  // namespace mk
