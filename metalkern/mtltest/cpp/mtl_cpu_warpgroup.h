// Warpgroups on the processor: what mtl_warpgroup.h is written with, with the meaning that mtl_cuda_warpgroup.h gives it. Products
// are made when they are waited for, and no earlier: who writes what they have yet to read gets wrong sums.
#pragma once

#define TG_BROUGHT(name, count) \
	static char name##_key; \
	uint4* const name = static_cast<uint4*>(threadgroup_array(&name##_key, 16 * (count), Site::current(), 1024))

// A Signal counts its copies, of which one at a time is under way. That is made when somebody first waits for it; until then there is
// what is no number.
typedef ulong Signal;
struct Stage { Signal* of; uint4* to; const half* from; uint bytes; };
struct Stages { uint64_t group; Stage all[16]; };
static Stage& stage_of(Signal* s, Site site) {
	static thread_local Stages stages;
	if (stages.group != runtime->begun) stages = {runtime->begun, {}};
	for (Stage& stage : stages.all) {
		if (stage.of == nullptr) stage.of = s;
		if (stage.of == s) return stage;
	}
	die("more than 16 signals", site);
}
MK_INLINE void make_signal(Signal* s) { *s = 0; }
MK_INLINE void signals_ready() {}
MK_INLINE void earlier_ready() {}
MK_INLINE void copy_stage(uint4* to, const half* from, uint bytes, Signal* s, MK_SITE) {
	Stage& stage = stage_of(s, site);
	if (stage.bytes != 0) die("copy_stage while nobody has waited for the signal's last copy", site);
	stage = Stage{s, to, from, bytes};
	memset(to, 0xff, bytes);
	++*s;
}
MK_INLINE void until_there(Signal* s, uint turn, MK_SITE) {
	if (*s % 2 == turn) die("until_there of a copy that nobody asked for", site);
	Stage& stage = stage_of(s, site);
	memcpy(stage.to, stage.from, stage.bytes);
	stage.bytes = 0;
}

MK_INLINE void group_barrier(uint, MK_SITE) { threadgroup_barrier(mem_flags::mem_threadgroup); } // of all: each group has as many steps
MK_INLINE void settled(uint (&)[2][4]) {}
MK_INLINE uint4 read_now(const uint4* from) { return *from; }

MK_INLINE ulong right_operand(const uint4* memory, MK_SITE) {
	if (reinterpret_cast<uintptr_t>(memory) % 1024 != 0) die("right_operand at what is no multiple of 1,024", site);
	return reinterpret_cast<uintptr_t>(memory) / 16;
}
static half right_at(ulong operand, uint column, uint k) {
	uintptr_t at = 16 * operand + 128 * column + 2 * k;
	at ^= at / 128 % 8 * 16;
	return *reinterpret_cast<const half*>(at);
}

struct Products { float (*sums)[4]; const uint* left; ulong right; uint group; };
struct UnderWay { uint count = 0, group = 0; Products all[16]; };
MK_INLINE void begin_products() {}
MK_INLINE void end_products() { of_thread<UnderWay>().group++; }
MK_INLINE void multiply_64x80x16(float (&sums)[10][4], const uint (&left)[4], ulong right, MK_SITE) {
	UnderWay& u = of_thread<UnderWay>();
	if (u.count == 16) die("more than 16 products under way", site);
	u.all[u.count++] = Products{sums, left, right, u.group};
}

struct LeftOperand { uint of[4]; };
static MK_UNSEEN void finish_products(const Products& p, Site site) {
	LeftOperand mine;
	memcpy(mine.of, p.left, sizeof mine.of);
	Exchange e = exchange(mine, site);
	if (e.count() != lane_count) die("multiply_64x80x16 in a simdgroup with fewer than 32 threads", site);
	for (uint i = 0; i < 40; i++) {
		float& sum = p.sums[i / 4][i % 4];
		for (uint k = 0; k < 16; k++) {
			const uint left = e.get<LeftOperand>(e.lane / 4 * 4 + k % 8 / 2).of[k / 8 * 2 + i % 4 / 2];
			sum += float(as_type<half2>(left)[k % 2]) * float(right_at(p.right, i / 4 * 8 + e.lane % 4 * 2 + i % 2, k));
		}
	}
}
template <int LEFT> static MK_UNSEEN void until_multiplied(MK_SITE) {
	UnderWay& u = of_thread<UnderWay>();
	uint done = 0;
	while (done < u.count && u.all[done].group + LEFT < u.group) finish_products(u.all[done++], site);
	u.count -= done;
	memmove(u.all, u.all + done, u.count * sizeof u.all[0]);
}
