// NVIDIA's matrix units on the processor: what mtl_units.h is written with, with the meaning that mtl_cuda.h gives it. All 32 lanes
// must come by at once.
#pragma once
#define AFTER_EARLIER

MK_INLINE uint two_halves(float low, float high) { return as_type<uint>(half2(half(low), half(high))); }
template <class F> MK_INLINE uint on_halves(uint pair, F f) {
	const half2 two = as_type<half2>(pair);
	return two_halves(f(float(two.x)), f(float(two.y)));
}
MK_INLINE uint less(uint pair, uint what) {
	const half2 a = as_type<half2>(pair), b = as_type<half2>(what);
	return two_halves(float(a.x) - float(b.x), float(a.y) - float(b.y));
}
MK_INLINE uint sixteenth(uint pair) { return on_halves(pair, [](float x) { return x / 16.0f - 72.0f; }); }
MK_INLINE uint scaled(uint pair, half scale) { return on_halves(pair, [=](float x) { return x * float(scale); }); }
MK_INLINE uint masked(uint word, uint mask, uint rest) { return (word & mask) | rest; }
MK_INLINE uint byte_perm(uint a, uint b, uint order) {
	const ulong bytes = ulong(b) << 32 | a;
	uint r = 0;
	for (uint i = 0; i < 4; i++) r |= uint(bytes >> 8 * (order >> 4 * i & 7) & 0xff) << 8 * i;
	return r;
}

#define MK_POWER
MK_INLINE float power(float x) { return exp2(x); }

struct UnitOperands { uint left[4], right[2]; };
static MK_UNSEEN void multiply_16x8x16(
	float& c0, float& c1, float& c2, float& c3, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1, MK_SITE)
{
	Exchange e = exchange(UnitOperands{{a0, a1, a2, a3}, {b0, b1}}, site);
	if (e.count() != lane_count) die("multiply_16x8x16 in a simdgroup with fewer than 32 threads", site);
	float* sums[4] = {&c0, &c1, &c2, &c3};
	for (uint i = 0; i < 4; i++) {
		for (uint k = 0; k < 16; k++) {
			const uint place = k % 8 / 2;
			const uint left = e.get<UnitOperands>(e.lane / 4 * 4 + place).left[k / 8 * 2 + i / 2];
			const uint right = e.get<UnitOperands>((e.lane % 4 * 2 + i % 2) * 4 + place).right[k / 8];
			*sums[i] += float(as_type<half2>(left)[k % 2]) * float(as_type<half2>(right)[k % 2]);
		}
	}
}

static MK_UNSEEN uint turned_bits(uint pair, MK_SITE) {
	Exchange e = exchange(pair, site);
	half two[2];
	for (uint i = 0; i < 2; i++) two[i] = as_type<half2>(e.get<uint>((e.lane % 4 * 2 + i) * 4 + e.lane / 8))[e.lane / 4 % 2];
	return as_type<uint>(half2(two[0], two[1]));
}
static MK_UNSEEN void load_four(uint (&r)[4], const half* row, MK_SITE) {
	Exchange e = exchange(row, site);
	for (uint m = 0; m < 4; m++) memcpy(&r[m], e.get<const half*>(8 * m + e.lane / 4) + e.lane % 4 * 2, sizeof r[m]);
}
static MK_UNSEEN void load_four_turned(uint (&r)[4], const half* row, MK_SITE) {
	Exchange e = exchange(row, site);
	for (uint m = 0; m < 4; m++) {
		const half* rows[2] = {e.get<const half*>(8 * m + e.lane % 4 * 2), e.get<const half*>(8 * m + e.lane % 4 * 2 + 1)};
		r[m] = as_type<uint>(half2(rows[0][e.lane / 4], rows[1][e.lane / 4]));
	}
}

// A copy is made when it is waited for, and no earlier; until then there is what is no number.
struct Copy { uint4* to; const half* from; uint step; };
struct Copies { uint count = 0, step = 0; Copy all[64]; };
MK_INLINE void copy_async(uint4* to, const half* from, bool there, MK_SITE) {
	Copies& c = of_thread<Copies>();
	if (c.count == 64) die("more than 64 copies under way", site);
	c.all[c.count++] = Copy{to, there ? from : nullptr, c.step};
	memset(to, 0xff, sizeof *to);
}
MK_INLINE void end_of_step() { of_thread<Copies>().step++; }
template <int LEFT> static void until_copied() {
	Copies& c = of_thread<Copies>();
	uint done = 0;
	for (; done < c.count && c.all[done].step + LEFT < c.step; done++)
		*c.all[done].to = c.all[done].from ? *reinterpret_cast<const uint4*>(c.all[done].from) : uint4(0);
	c.count -= done;
	memmove(c.all, c.all + done, c.count * sizeof c.all[0]);
}
