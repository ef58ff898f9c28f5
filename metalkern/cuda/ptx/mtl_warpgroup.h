// Tiles of linear_tile.metal where four simdgroups multiply together, 64 outputs by 80 rows by 16 inputs: NVIDIA's warpgroups. It
// follows mtl_units.h and mtl_cuda_warpgroup.h, which has the instructions; on the processor mtl_cpu_warpgroup.h has them.
//
//	x ─ a stage of 80 rows by 64 inputs in one piece ─► threadgroup memory ────────────────────────────────┐
//	W ─ each simdgroup's own 16 outputs, some steps ahead ─► threadgroup memory ─► halves in registers ─► products ─► sums
//
// x lies in device memory as it will in threadgroup memory, because linear_prepare puts it there: block after block of 80 rows, in
// each step after step of 64 inputs, in each part after part. Rows behind the last are whatever was there; nobody wants their sums.
//
// Which of a step's 64 inputs are a product's k-th is free as long as both operands agree. Lane 4·g + t reads inputs 16·t to
// 16·t+15 of outputs g and g+8, in two halves of eight; a product takes four of each half's.
#define MK_TILE_WARPGROUPS

// share is how many pieces of 16 bytes a simdgroup's 16 outputs have of W in a step, with their scales.
MK_INLINE constexpr uint share(PairQ4) { return 32 + 8; }
MK_INLINE constexpr uint share(PairQ8) { return 64 + 8; }
MK_INLINE constexpr uint share(PairPlain) { return 128; }

// A threadgroup has groups of four simdgroups, which share the inputs: each makes sums of all the tile over its own part, with stages of
// its own. There are so many that a core has room for two threadgroups.
template <class P, uint PARTS_> struct GroupTile {
	static constexpr uint ROWS = 80, OUTPUTS = 64, GROUPS = 2, PARTS = PARTS_, ACROSS = 2; // as linear.go has them
	static constexpr uint HEIGHT = ROWS / (2 * GROUPS), FINISHED = HEIGHT; // rows that a simdgroup finishes beside 32 outputs
	static constexpr uint STAGE = 8 * ROWS, SHARE = share(P()), STAGES = SHARE < 128 ? 4 : 3, STEPS = SHARE < 72 ? 4 : 3; // of x, of W
	static constexpr uint X = GROUPS * STAGES * STAGE, W = 4 * GROUPS * STEPS * SHARE, SIGNALS = (GROUPS * STAGES + 1) / 2; // pieces in all
	float of[ROWS / 8][4];
};
#define MK_TILE_ARRAY(name, PARTS, P) TG_BROUGHT(name, (GroupTile<P, PARTS>::X + GroupTile<P, PARTS>::W + GroupTile<P, PARTS>::SIGNALS))

// put4 puts four inputs of a row from k on where a stage has them.
template <class A> MK_INLINE void put4(const A& a, half* x, uint row, uint part, uint k, float4 v) {
	typedef GroupTile<PairQ4, 1> G;
	half* stage = x + ((ulong(row / G::ROWS) * (a.stride / 64) + k / 64) * a.parts + part) * (8 * G::STAGE);
	half* to = stage + row % G::ROWS * 64 + k / 16 % 4 * 2;
	const uint piece = k / 4 % 4 * 2;
	*reinterpret_cast<uint*>(to + (piece ^ row % 8) * 8) = two_halves(v.x, v.y);
	*reinterpret_cast<uint*>(to + ((piece + 1) ^ row % 8) * 8) = two_halves(v.z, v.w);
}

// put_sums puts those of all groups together where simdgroups finish them: 32 outputs a row, the rows of the first 32 outputs first.
template <class P, uint PARTS> MK_INLINE void put_sums(const GroupTile<P, PARTS>& sums, float* to, uint stride, uint simd, uint lane) {
	typedef GroupTile<P, PARTS> G;
#pragma unroll 1
	for (uint group = 0; group < G::GROUPS; group++) {
		if (simd / 4 == group) {
#pragma unroll
			for (uint i = 0; i < G::ROWS / 8; i++)
#pragma unroll
				for (uint e = 0; e < 4; e++) {
					const uint output = simd % 4 * 16 + e / 2 * 8 + lane / 4, row = 8 * i + lane % 4 * 2 + e % 2;
					float& at = to[(output / 32 * G::ROWS + row) * stride + output % 32];
					at = group == 0 ? sums.of[i][e] : at + sums.of[i][e];
				}
		}
		threadgroup_barrier(mem_flags::mem_threadgroup);
	}
}

// A Source is where a lane's pieces of W come from: of q8 and q4, of one of two panels, the last if there are no more. What lies behind
// the last input is zeros, because beside zeros of x it may be any number, but a number.
struct Source { const uchar* w; const half* scales; ulong pitch; uint ends, rows; }; // groups, or pieces of a row; rows of W from the lane's first on

template <class A> MK_INLINE Source source_of(PairPlain, const A& a, const uchar* w, const half*, uint output, uint lane) {
	const uint first = output + lane / 8;
	return Source{w + ulong(first) * a.pitch + lane % 8 * 16, nullptr, a.pitch, a.pitch / 16, a.outputs - min(first, a.outputs)};
}
template <class P, class A> MK_INLINE Source source_of(P, const A& a, const uchar* w, const half* scales, uint output, uint lane) {
	const uint last = (a.outputs - 1) / 8, group = sizeof(P::words) == 8 ? 16 : 32;
	return Source{w + ulong(min(output / 8 + lane / 16, last)) * 8 * a.pitch + lane % 16 * 16,
		scales + ulong(min(output / 8 + lane % 8 / 4, last)) * 8 * a.groups + lane % 4 * 8, a.pitch, a.pitch / group, 0};
}

MK_INLINE void copy_piece(uint4* to, const void* from, bool there) { copy_async(to, reinterpret_cast<const half*>(from), there); }
MK_INLINE void copy_scales(const Source& s, uint4* to, uint step, bool there, uint lane) {
	if (lane < 8) copy_piece(to + lane, s.scales + step / 2 * 32, there); // of four groups, which two steps have
}
MK_INLINE void copy_weights(PairQ4, const Source& s, uint4* to, uint step, bool there, uint lane) {
	copy_piece(to + lane, s.w + ulong(step) * 256, there && 2 * step + lane % 16 / 8 < s.ends);
	copy_scales(s, to + 32, step, there, lane);
}
MK_INLINE void copy_weights(PairQ8, const Source& s, uint4* to, uint step, bool there, uint lane) {
#pragma unroll
	for (uint i = 0; i < 2; i++) copy_piece(to + lane / 16 * 32 + 16 * i + lane % 16, s.w + ulong(step) * 512 + 256 * i, there && 2 * step + i < s.ends);
	copy_scales(s, to + 64, step, there, lane);
}
// Piece p of a row is at p ^ row % 8, so that lanes of eight rows meet in no memory bank.
MK_INLINE void copy_weights(PairPlain, const Source& s, uint4* to, uint step, bool there, uint lane) {
#pragma unroll
	for (uint i = 0; i < 4; i++) {
		const uint row = 4 * i + lane / 8;
		copy_piece(to + row * 8 + (lane % 8 ^ row % 8), s.w + 4 * i * s.pitch + ulong(step) * 128, there && 4 * i < s.rows && 8 * step + lane % 8 < s.ends);
	}
}

// held reads what a lane has of outputs g and g+8, as j says, out of threadgroup memory.
MK_INLINE half scale_held(const uint4* scales, uint j, uint g, uint t, uint step) {
	return reinterpret_cast<const half*>(scales)[j * 32 + g * 4 + step % 2 * 2 + t / 2];
}
MK_INLINE PairQ4 held(PairQ4, const uint4* from, uint j, uint g, uint t, uint step) {
	return PairQ4{reinterpret_cast<const uint2*>(from)[j * 32 + t / 2 * 16 + g * 2 + t % 2], scale_held(from + 32, j, g, t, step)};
}
MK_INLINE PairQ8 held(PairQ8, const uint4* from, uint j, uint g, uint t, uint step) {
	return PairQ8{from[j * 32 + t / 2 * 16 + g * 2 + t % 2], scale_held(from + 64, j, g, t, step)};
}
MK_INLINE PairPlain held(PairPlain, const uint4* from, uint j, uint g, uint t, uint) {
	PairPlain s;
#pragma unroll
	for (uint i = 0; i < 2; i++) s.words[i] = read_now(from + (8 * j + g) * 8 + ((2 * t + i) ^ g));
	return s;
}

// multiply makes a group's sums of the tile that begins at a row and an output. Half a step's products go on while the halves of W for
// the next half are made; what they read is written when they are over.
template <class P, uint PARTS, class A>
MK_INLINE void multiply(
	GroupTile<P, PARTS>& sums, const A& a, const uchar* w, const half* scales, const half* x, uint first, uint output,
	uint4* memory, uint thread_index, uint simd, uint lane)
{
	typedef GroupTile<P, PARTS> G;
	constexpr bool MADE = sizeof(P) < sizeof(PairPlain); // of numbers that are held since the step before; float16 are halves
#pragma unroll
	for (uint i = 0; i < G::ROWS / 2; i++) (&sums.of[0][0])[i] = 0.0f;
	const uint t = lane % 4, g = lane / 4, group = simd / 4, each = a.stride / (64 * G::GROUPS), begin = group * each, end = begin + each;
	const uint end_w = min(end, (a.padded + 63) / 64);
	uint4* stages = memory + group * G::STAGES * G::STAGE;
	uint4* mine = memory + G::X + simd * G::STEPS * G::SHARE;
	Signal* signals = reinterpret_cast<Signal*>(memory + G::X + G::W) + group * G::STAGES;
	const Source source = source_of(P(), a, w, scales, output + 16 * (simd % 4), lane);
#pragma unroll
	for (uint s = 0; s + 1 < G::STEPS; s++) {
		copy_weights(P(), source, mine + s * G::SHARE, begin + s, begin + s < end_w, lane);
		end_of_step();
	}
	const half* from = x + (ulong(first / G::ROWS) * (a.stride / 64) + begin) * PARTS * (8 * G::STAGE);
	auto copy_x = [&](uint stage, uint place) {
		if (stage < each * PARTS) copy_stage(stages + place * G::STAGE, from + ulong(stage) * (8 * G::STAGE), 16 * G::STAGE, signals + place);
	};
	const bool copies = thread_index % 128 == 0;
	if (copies) {
#pragma unroll
		for (uint s = 0; s < G::STAGES; s++) make_signal(signals + s);
		signals_ready();
	}
	AFTER_EARLIER;
	if (copies) {
		earlier_ready();
#pragma unroll
		for (uint s = 0; s + 2 < G::STAGES; s++) copy_x(s, s);
	}
	group_barrier(group);

	P ahead[2];
	uint left[2][2][4]; // by half of a step, product
	auto hold = [&](uint step, uint place) {
#pragma unroll
		for (uint j = 0; j < 2; j++) ahead[j] = held(P(), mine + place * G::SHARE, j, g, t, step);
	};
	auto make = [&](uint i, uint step, uint place) {
#pragma unroll
		for (uint j = 0; j < 2; j++) {
			const uint4 eight = piece(MADE ? ahead[j] : held(P(), mine + place * G::SHARE, j, g, t, step), i);
#pragma unroll
			for (uint e = 0; e < 4; e++) left[i][e / 2][j + e % 2 * 2] = eight[e];
		}
		settled(left[i]);
	};
	until_copied<G::STEPS - 2>();
	simdgroup_barrier(mem_flags::mem_threadgroup);
	if (MADE) hold(begin, 0);
	make(0, begin, 0);
	const ulong right = right_operand(stages);
	uint now = 0, turn = 0, now_w = 0;
#pragma unroll 1
	for (uint step = begin; step < end; step++) {
#pragma unroll
		for (uint part = 0; part < PARTS; part++) {
			group_barrier(group); // all are done with the stage before the last
			if (copies) copy_x((step - begin) * PARTS + part + G::STAGES - 2, now < 2 ? now + G::STAGES - 2 : now - 2);
			until_there(signals + now, turn);
#pragma unroll
			for (uint i = 0; i < 2; i++) {
				begin_products();
#pragma unroll
				for (uint product = 0; product < 2; product++) multiply_64x80x16(sums.of, left[i][product], right + (now * G::STAGE + (2 * i + product) * 2));
				end_products();
				until_multiplied<1>();
				if (part == 0 && i == 0) {
					make(1, step, now_w);
					const uint next = step + G::STEPS - 1;
					copy_weights(P(), source, mine + (now_w == 0 ? G::STEPS - 1 : now_w - 1) * G::SHARE, next, next < end_w, lane);
					end_of_step();
					now_w = now_w + 1 == G::STEPS ? 0 : now_w + 1;
					until_copied<G::STEPS - 2>();
					simdgroup_barrier(mem_flags::mem_threadgroup);
					if (MADE) hold(step + 1, now_w);
				}
				if (part + 1 == PARTS && i == 1) make(0, step + 1, now_w);
			}
			if (++now == G::STAGES) now = 0, turn ^= 1;
		}
	}
	until_multiplied<0>();
	until_copied<0>();
}
