// Runs a threadgroup on one processor thread: a fiber for each of its threads, with barriers and simdgroup operations as
// places where all must meet. What a GPU leaves undefined is an error here: a barrier that some threads never reach, a
// simdgroup operation whose lanes stand in different places, more than 32 KiB of threadgroup memory.
//
//	run ─► for each threadgroup: poison its memory, make all fibers ready
//	        └─► sweep a simdgroup: each lane runs until it blocks, and hands on to the next lane itself
//	             └─► all lanes at one simdgroup operation: ready again; all threads at one barrier: all ready again
//
// The order of lanes and simdgroups follows launch.seed, so that what depends on it is found by running twice.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <source_location>
#include <sys/mman.h>
#include <utility>
#include "mtl_launch.h"
#include "mtl_sanitizer.h"
#include "mtl_switch.h"
#include "mtl_vector.h"

namespace mk {
typedef std::source_location Site;
#define MK_SITE Site site = Site::current()

enum State : uint8_t { ready, at_lanes, at_group, finished, failed };
enum { lane_count = 32, stack_bytes = 64 << 10, stack_stride = stack_bytes + 5 * 64, slot_bytes = 32 };
#if defined(MK_WARPGROUPS)
#define MK_GROUP_KIB 227  // as CUDA has it, where a launch brings it
#elif defined(MK_UNITS)
#define MK_GROUP_KIB 48  // as CUDA has it
#else
#define MK_GROUP_KIB 32
#endif
#define MK_TEXT(x) #x
#define MK_MORE_THAN(kib) "more than " MK_TEXT(kib) " KiB of threadgroup memory, or more than 32 arrays"
enum { group_memory = MK_GROUP_KIB << 10, most_arrays = 32, array_alignment = 16 };

// Lanes is where the lanes of a simdgroup exchange values. Two sets of slots alternate, so that a lane may go on to the
// next operation while others still read the results of this one.
struct Lanes {
	alignas(32) unsigned char slot[2][lane_count][slot_bytes];
	alignas(32) unsigned char result[2][64 * sizeof(float)];
	bool computed[2];
	uint count;
	char order[2];  // what simdgroup_barrier orders by, as Runtime's
};

struct Fiber {
	void* stack_pointer;
	char* stack;
	Lanes* lanes;
	uint index;
	State state;
	bool begun;
	uint8_t parity, barriers;
	uint64_t trace;  // of the simdgroup operations that meet nowhere, to compare where lanes do meet
	Site site;
	uint3 local;
	Sanitizer sanitizer;
};

struct Context { void* const* buffer; };

struct Runtime {
	Fiber main;
	Fiber* fibers = nullptr;
	Lanes* lanes = nullptr;
	Fiber* current = nullptr;
	Fiber* queue[lane_count];
	uint next = 0, queued = 0;
	uint threads = 0, capacity = 0, simdgroups = 0;
	uint64_t begun = 0;  // threadgroups
	char* stacks = nullptr;
	bool fresh = false;  // fibers stand at their entry
	uint3 size, group, groups;
	void (*body)(Context*) = nullptr;
	Context context;
	mk_launch* launch = nullptr;
	uint64_t random = 0;
	struct Array { const void* key; char* at; } arrays[most_arrays];
	uint array_count = 0;
	size_t used = 0, end = 0;  // of memory: what arrays take, and where they end with the gaps before them
	alignas(1024) char memory[group_memory + most_arrays * array_alignment];
	bool broken = false;
	// Sanitizers are told of barriers by two places in turn: a thread that wakes late from one must not be ordered after
	// another that has already reached the next.
	char order[2];
};

static thread_local Runtime* runtime;

static MK_UNSEEN void switch_to(Fiber* from, Fiber* to) {
	runtime->current = to;
	sanitizer_leave(from->sanitizer, to->sanitizer, to->stack, stack_bytes);
	mk_switch(&from->stack_pointer, to->stack_pointer);
	sanitizer_enter(from->sanitizer);
}

// hand_on runs the next fiber of the sweep, or the scheduler after the last.
static MK_UNSEEN void hand_on() {
	Runtime* r = runtime;
	Fiber* me = r->current;
	Fiber* to = r->next < r->queued ? r->queue[r->next++] : &r->main;
	if (to != me) switch_to(me, to);
}

static MK_UNSEEN void block(State state, Site site) {
	Fiber* me = runtime->current;
	me->state = state;
	me->site = site;
	hand_on();
}

static MK_UNSEEN void complain(Fiber* f, Site site, const char* what) {
	Runtime* r = runtime;
	if (!r->broken)
		snprintf(r->launch->error, sizeof r->launch->error, "%s: line %u (column %u), thread %u of threadgroup %u,%u,%u", what, site.line(), site.column(),
			f->index, r->group.x, r->group.y, r->group.z);
	r->broken = true;
}

static MK_UNSEEN void die(const char* what, Site site) {
	complain(runtime->current, site, what);
	runtime->queued = 0;
	block(failed, site);
	abort();  // a failed fiber is never resumed
}

// take_over gives the stack of a thread that has finished to the next of the sweep that has not begun, so that kernels
// whose threads never meet cost no switch. Under a sanitizer every thread keeps its own stack.
static bool take_over() {
#if !defined(MK_THREAD) && !defined(MK_ADDRESS)
	Runtime* r = runtime;
	if (r->next < r->queued && !r->queue[r->next]->begun) {
		Fiber *me = r->current, *to = r->queue[r->next++];
		std::swap(me->stack, to->stack);
		std::swap(me->stack_pointer, to->stack_pointer);
		r->current = to;
		return true;
	}
#endif
	return false;
}

static MK_UNSEEN void entry() {
	sanitizer_start(runtime->main.sanitizer);
	for (;;) {
		do {
			runtime->current->begun = true;
			sanitizer_acquire(&runtime->body);
			runtime->body(&runtime->context);
			sanitizer_release(&runtime->threads);
			runtime->current->state = finished;
		} while (take_over());
		hand_on();
	}
}

static inline uint roll(Runtime* r, uint n) {
	r->random = r->random * 6364136223846793005ull + 1442695040888963407ull;
	return uint((r->random >> 33) % n);
}

// sweep runs every lane of a simdgroup until it blocks.
static MK_UNSEEN void sweep(Runtime* r, uint simdgroup) {
	Fiber* first = r->fibers + simdgroup * lane_count;
	uint count = r->lanes[simdgroup].count, start = 0, step = 1;
	if (r->random) {
		start = roll(r, count);
		if (count == lane_count) step = 2 * roll(r, lane_count / 2) + 1;  // odd: every lane has its turn
	}
	r->next = 1;
	r->queued = count;
	for (uint k = 0; k < count; k++) r->queue[k] = first + (start + k * step) % count;
	switch_to(&r->main, r->queue[0]);
}

// meet says whether all n fibers from f stand in state at one place, having done the same until there.
static bool meet(Fiber* f, uint n, State state) {
	for (uint i = 0; i < n; i++) {
		if (f[i].state != state || f[i].site.line() != f[0].site.line() || f[i].site.column() != f[0].site.column()) return false;
	}
	return true;
}

// settle says what a swept simdgroup waits for, or complains of lanes that parted.
static State settle(Runtime* r, uint simdgroup) {
	Fiber* f = r->fibers + simdgroup * lane_count;
	uint n = r->lanes[simdgroup].count, returned = 0, waiting = 0;
	for (uint i = 0; i < n; i++) {
		if (f[i].state == finished) returned++;
		else waiting = i;
	}
	if (returned == n) return finished;
	State state = f[waiting].state;
	if (returned > 0) {
		complain(f + waiting, f[waiting].site, "operation that some lanes of the simdgroup never reach, because they returned");
	} else if (!meet(f, n, state)) {
		bool lanes = false;
		for (uint i = 0; i < n; i++) lanes = lanes || f[i].state == at_lanes;
		complain(f, f[0].site, lanes ? "simdgroup operation in divergent control flow" : "threadgroup_barrier in divergent control flow");
	} else {
		uint other = 0;
		while (other < n && f[other].trace == f[0].trace) other++;
		if (other == n) return state;
		complain(f + other, f[other].site, "simdgroup_load, store or multiply in divergent control flow before");
	}
	return failed;
}

static void wake(Runtime* r, uint simdgroup) {
	for (uint i = 0; i < r->lanes[simdgroup].count; i++) r->fibers[simdgroup * lane_count + i].state = ready;
}

// run_group runs one threadgroup to its end; false is a complaint.
static MK_UNSEEN bool run_group(Runtime* r) {
	sanitizer_acquire(&r->threads);
	r->begun++;
	if (r->end) memset(r->memory, 0xff, r->end);  // not-a-number, or a large index
	r->array_count = 0;
	r->used = r->end = 0;
	for (uint i = 0; i < r->threads; i++) {
		r->fibers[i].state = ready;
		r->fibers[i].begun = false;
		r->fibers[i].parity = r->fibers[i].barriers = 0;
		r->fibers[i].trace = 0;
	}
	sanitizer_release(&r->body);
	for (;;) {
		uint done = 0, rotate = r->random ? roll(r, r->simdgroups) : 0;
		for (uint k = 0; k < r->simdgroups; k++) {
			uint s = (k + rotate) % r->simdgroups;
			State state = ready;
			do {
				wake(r, s);
				sweep(r, s);
				if (r->broken) return false;
				state = settle(r, s);
			} while (state == at_lanes);
			if (state == failed) return false;
			if (state == finished) done++;
		}
		if (done == r->simdgroups) return true;
		if (!meet(r->fibers, r->threads, at_group)) {
			for (uint i = 0; i < r->threads; i++)
				if (r->fibers[i].state == at_group) { complain(r->fibers + i, r->fibers[i].site, "threadgroup_barrier not reached by every thread"); return false; }
		}
	}
}

static MK_UNSEEN void stand_at_entry(Runtime* r) {
	for (uint i = 0; i < r->capacity; i++) {
		Fiber* f = r->fibers + i;
		sanitizer_new_stack(f->stack, stack_bytes);
		f->stack_pointer = mk_first_frame(f->stack + stack_bytes, entry);
		sanitizer_new_fiber(f->sanitizer);
	}
	r->fresh = true;
}

// prepare makes room for the threads of this launch; fibers of an earlier one are used again.
static MK_UNSEEN void prepare(Runtime* r, mk_launch* l) {
	r->launch = l;
	r->size = uint3(l->threads[0], l->threads[1], l->threads[2]);
	r->groups = uint3(l->groups[0], l->groups[1], l->groups[2]);
	r->threads = r->size.x * r->size.y * r->size.z;
	r->simdgroups = (r->threads + lane_count - 1) / lane_count;
	if (r->capacity < r->threads) {
		if (r->stacks) munmap(r->stacks, size_t(r->capacity) * stack_stride);
		delete[] r->fibers;
		delete[] r->lanes;
		r->capacity = r->threads;
		r->fibers = new Fiber[r->capacity]();
		r->lanes = new Lanes[(r->capacity + lane_count - 1) / lane_count]();
		r->stacks = static_cast<char*>(mmap(nullptr, size_t(r->capacity) * stack_stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
		if (r->stacks == MAP_FAILED) { perror("mtl_fiber: stacks"); abort(); }
		for (uint i = 0; i < r->capacity; i++) r->fibers[i].stack = r->stacks + size_t(i) * stack_stride;
		r->fresh = false;
	}
	if (!r->fresh || r->broken) stand_at_entry(r);
	r->broken = false;
	for (uint i = 0; i < r->simdgroups; i++) r->lanes[i].count = r->threads - i * lane_count < lane_count ? r->threads - i * lane_count : lane_count;
	for (uint i = 0; i < r->threads; i++) {
		Fiber* f = r->fibers + i;
		f->index = i;
		f->lanes = r->lanes + i / lane_count;
		f->local = uint3(i % r->size.x, i / r->size.x % r->size.y, i / (r->size.x * r->size.y));
	}
}

static MK_UNSEEN int run(void (*body)(Context*), mk_launch* l) {
	if (!runtime) {
		runtime = new Runtime();
		sanitizer_main(runtime->main.sanitizer);
		memset(runtime->memory, 0xff, sizeof runtime->memory);
	}
	Runtime* r = runtime;
	r->body = body;
	r->context.buffer = l->buffer;
	prepare(r, l);
	for (uint64_t g = l->from; g < l->to; g++) {
		r->group = uint3(uint(g % r->groups.x), uint(g / r->groups.x % r->groups.y), uint(g / (uint64_t(r->groups.x) * r->groups.y)));
		r->random = l->seed ? l->seed + g * 0x9e3779b97f4a7c15ull : 0;
		if (l->seed && !r->random) r->random = 1;
		if (!run_group(r)) return 1;
	}
	sanitizer_acquire(&r->threads);
	return 0;
}

// threadgroup_array gives all threads of a threadgroup the same memory for the same declaration. It is aligned as TG_ARRAY
// declares and no better, so that UndefinedBehaviorSanitizer finds a wider access; or else the first.
static MK_UNSEEN void* threadgroup_array(const void* key, size_t bytes, Site site, size_t alignment = array_alignment) {
	Runtime* r = runtime;
	for (uint i = 0; i < r->array_count; i++)
		if (r->arrays[i].key == key) return r->arrays[i].at;
	bytes = (bytes + array_alignment - 1) & ~size_t(array_alignment - 1);
	if (r->used + bytes > group_memory || r->array_count == most_arrays) die(MK_MORE_THAN(MK_GROUP_KIB), site);
	if (alignment > array_alignment && r->array_count > 0) die("threadgroup memory that a launch brings is not the first", site);
	if (alignment == array_alignment && r->end % (2 * array_alignment) == 0) r->end += array_alignment;
	char* at = r->memory + r->end;
	r->used += bytes;
	r->end += bytes;
	r->arrays[r->array_count++] = {key, at};
	return at;
}

// of_thread is what a thread has under way, beside its own stack; nothing at the beginning of its threadgroup.
template <class T> static T& of_thread() {
	struct Kept { uint64_t group = 0; T value; };
	enum { most_threads = 1024 };
	static thread_local Kept* all;
	if (!all) all = new Kept[most_threads];
	Kept& mine = all[runtime->current->index];
	if (mine.group != runtime->begun) mine = {runtime->begun, T()};
	return mine.value;
}

MK_INLINE uint3 threadgroup_position_in_grid() { return runtime->group; }
MK_INLINE uint3 threadgroups_per_grid() { return runtime->groups; }
MK_INLINE uint3 threads_per_threadgroup() { return runtime->size; }
MK_INLINE uint3 thread_position_in_threadgroup() { return runtime->current->local; }
MK_INLINE uint3 thread_position_in_grid() { return runtime->group * runtime->size + runtime->current->local; }
MK_INLINE uint thread_index_in_threadgroup() { return runtime->current->index; }
MK_INLINE uint thread_index_in_simdgroup() { return runtime->current->index % lane_count; }
MK_INLINE uint simdgroup_index_in_threadgroup() { return runtime->current->index / lane_count; }
MK_INLINE uint simdgroups_per_threadgroup() { return runtime->simdgroups; }
}  // namespace mk
