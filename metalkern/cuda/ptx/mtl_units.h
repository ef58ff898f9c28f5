// What kernels multiply with on NVIDIA's matrix units, whose shape is not that of Metal's 8×8: announced to the kernels' text by
// the words MK_…, and brought in its place. It follows mtl_cuda.h, which has the instructions; on the processor mtl_cpu_units.h has
// them, so that tests run this text too.

MK_INLINE void multiply_unit(float (&d)[4], const uint (&a)[4], uint b0, uint b1) {
	multiply_16x8x16(d[0], d[1], d[2], d[3], a[0], a[1], a[2], a[3], b0, b1);
}

// The few rows of linear.metal in the units' own shape. Its octets of W lie as mma wants its left operand, of 16 outputs by 16
// inputs, when inputs are taken in the order in which lanes have them: two panels above each other, two products of a group,
// each of four of a lane's eight inputs. Eight rows of x are the right operand, in halves as linear_prepare makes them, but block
// by block: times a power of two, and beside weights of 16 bits in two parts. A lane is left with outputs l/4 of both panels, of
// rows 2·(l%4) and the next.
#define MK_FRAGMENTS
template <uint ROWS> struct RowShare;
struct OctetsF16;
template <uint ROWS, int PARTS, bool APART> struct HalfRows { // APART: inputs i and i+4 are a pair, otherwise neighbours are
	static constexpr uint sets = ROWS > 8 ? 2 : 1, of_set = ROWS > 8 ? 8 : ROWS, pieces = of_set > 1 ? of_set / 2 : 1;
	uint pairs[PARTS][sets][4][4]; // of row l/4, by group
	float unscale[sets][2];        // of the lane's rows of the result
};
template <uint ROWS, uint PANELS> struct FragmentSums { float of[PANELS][ROWS > 8 ? 4 : 2]; }; // by row

template <uint ROWS, uint PANELS> MK_INLINE void clear(FragmentSums<ROWS, PANELS>& sums) {
#pragma unroll
	for (uint i = 0; i < PANELS * (ROWS > 8 ? 4 : 2); i++) (&sums.of[0][0])[i] = 0.0f;
}

// hand_out gives every lane of a row a pair that one of them has: of piece p of each.
template <uint ROWS, int PARTS, bool APART> MK_INLINE void hand_out(HalfRows<ROWS, PARTS, APART>& rows, int part, uint s, uint p, uint i, uint pair, uint lane) {
	typedef HalfRows<ROWS, PARTS, APART> H;
#pragma unroll
	for (uint g = p; g < 4; g += H::pieces)
		rows.pairs[part][s][g][i] = H::of_set == 8 ? pair : simd_shuffle(pair, ushort((lane / 4 % H::of_set + H::of_set * (g / H::pieces)) * 4 + lane % 4));
}

MK_INLINE float largest_of(float4 v) { return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))); }

// largest_of_row is the largest magnitude, as bits, that the lanes of a row of RowShare have.
template <uint ROWS> MK_INLINE uint largest_of_row(uint mine, uint lane) {
	if (ROWS == 1) return simd_max(mine);
	if (ROWS == 2) {
		const bool second = lane / 4 % 2 != 0;
		const uint of_first = simd_max(second ? 0 : mine), of_second = simd_max(second ? mine : 0);
		return second ? of_second : of_first;
	}
	if (ROWS == 4) mine = max(mine, simd_shuffle_xor(mine, ushort(16)));
	mine = max(mine, simd_shuffle_xor(mine, ushort(1)));
	return max(mine, simd_shuffle_xor(mine, ushort(2)));
}

template <uint ROWS, int PARTS, bool APART> MK_INLINE void take(HalfRows<ROWS, PARTS, APART>& rows, const RowShare<ROWS>& share, uint lane) {
	typedef HalfRows<ROWS, PARTS, APART> H;
#pragma unroll
	for (uint s = 0; s < H::sets; s++) {
		float largest = 0.0f;
#pragma unroll
		for (uint p = 0; p < H::pieces; p++)
#pragma unroll
			for (uint h = 0; h < 2; h++) largest = fmaxf(largest, largest_of(share.x[s][p][h]));
		const uint exponent = clamp(largest_of_row<ROWS>(as_type<uint>(largest), lane) >> 23, 16u, 254u);
		const float scale = as_type<float>((268u - exponent) << 23);
		const float unscale = as_type<float>((exponent - 14u) << 23);
#pragma unroll
		for (uint i = 0; i < 2; i++) rows.unscale[s][i] = simd_shuffle(unscale, ushort((lane % 4 * 2 + i) % H::of_set * 4));
#pragma unroll
		for (uint p = 0; p < H::pieces; p++)
#pragma unroll
			for (uint i = 0; i < 4; i++) {
				const uint m = APART ? i : 2 * i, n = APART ? i + 4 : 2 * i + 1;
				const float x = share.x[s][p][m / 4][m % 4] * scale, y = share.x[s][p][n / 4][n % 4] * scale;
				const uint most = two_halves(x, y);
				hand_out(rows, 0, s, p, i, most, lane);
				if (PARTS == 2) {
					const half2 taken = as_type<half2>(most);
					hand_out(rows, PARTS - 1, s, p, i, two_halves(x - float(taken.x), y - float(taken.y)), lane);
				}
			}
	}
}

// pairs_of are octets as pairs of halves: integers by way of 1024 + q, or 1024 + 16·q, less what is too much; exact.
MK_INLINE void pairs_of(uint (&pairs)[4], uint word) {
	pairs[0] = less(masked(word, 0x000f000f, 0x64006400), 0x64086408);
	pairs[1] = sixteenth(masked(word, 0x00f000f0, 0x64006400));
	pairs[2] = less(masked(word >> 8, 0x000f000f, 0x64006400), 0x64086408);
	pairs[3] = sixteenth(masked(word >> 8, 0x00f000f0, 0x64006400));
}
MK_INLINE void pairs_of(uint (&pairs)[4], uint2 words) {
	const uint low = words.x ^ 0x80808080, high = words.y ^ 0x80808080;
	pairs[0] = less(byte_perm(low, 0x64646464, 0x4140), 0x64806480);
	pairs[1] = less(byte_perm(low, 0x64646464, 0x4342), 0x64806480);
	pairs[2] = less(byte_perm(high, 0x64646464, 0x4140), 0x64806480);
	pairs[3] = less(byte_perm(high, 0x64646464, 0x4342), 0x64806480);
}
MK_INLINE void pairs_of(uint (&pairs)[4], uint4 words) {
	pairs[0] = words.x, pairs[1] = words.y, pairs[2] = words.z, pairs[3] = words.w;
}

MK_INLINE float scale_of(const uint2& scales, uint g) {
	const half2 two = as_type<half2>(g < 2 ? scales.x : scales.y);
	return float(g % 2 == 0 ? two.x : two.y);
}

// added is a sum and a group's product, times its scale if it has one.
template <class Q> MK_INLINE float added(float sum, float product, const Q& w, uint g) { return fmaf(product, scale_of(w.scales, g), sum); }
MK_INLINE float added(float sum, float product, const OctetsF16&, uint) { return sum + product; }

template <uint ROWS, uint PANELS, int PARTS, bool APART, class Q>
MK_INLINE void multiply(FragmentSums<ROWS, PANELS>& sums, const HalfRows<ROWS, PARTS, APART>& rows, const Q (&w)[PANELS], uint lane) {
	typedef HalfRows<ROWS, PARTS, APART> H;
	float block[H::sets][4] = {};
#pragma unroll
	for (uint g = 0; g < 4; g++) { // whose products do not wait for each other
		uint left[2][4] = {};
#pragma unroll
		for (uint t = 0; t < PANELS; t++) pairs_of(left[t], w[t].words[g]);
#pragma unroll
		for (uint s = 0; s < H::sets; s++) {
			float to[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
			for (int part = PARTS - 1; part >= 0; part--) {
				const uint (&right)[4] = rows.pairs[part][s][g];
#pragma unroll
				for (uint i = 0; i < 4; i += 2)
					multiply_16x8x16(to[0], to[1], to[2], to[3], left[0][i], left[1][i], left[0][i + 1], left[1][i + 1], right[i], right[i + 1]);
			}
#pragma unroll
			for (uint i = 0; i < 2 * PANELS; i++) block[s][i] = added(block[s][i], to[i], w[i / 2], g);
		}
	}
#pragma unroll
	for (uint i = 0; i < 2 * PANELS; i++)
#pragma unroll
		for (uint s = 0; s < H::sets; s++) {
			float& sum = sums.of[i / 2][2 * s + i % 2];
			sum = fmaf(block[s][i], rows.unscale[s][i % 2], sum);
		}
}

template <uint ROWS, uint PANELS> MK_INLINE void gather(const FragmentSums<ROWS, PANELS>& sums, float* to, uint lane) {
#pragma unroll
	for (uint i = 0; i < (ROWS > 8 ? 4 : 2); i++) {
		const uint row = i / 2 * 8 + lane % 4 * 2 + i % 2;
#pragma unroll
		for (uint t = 0; t < PANELS; t++)
			if (row < ROWS) to[row * PANELS * 8 + 8 * t + lane / 4] = sums.of[t][i];
	}
}

// Tiles of linear_tile.metal for halves in the units' own shape, 16 outputs by 8 rows by 16 inputs: W, of which a lane makes halves in
// registers, is the left operand, and x the right one. Which of a step's 64 inputs are a unit's k-th is free as long as both
// operands agree: lane 4·g + t has inputs 16·t to 16·t+15 of outputs g, g+8, … and of rows g, g+8, … of x, two pieces of 16
// bytes, and a product takes four of them. Of its sums a lane has outputs g and g+8, of rows 2·t and the next.
//
// Steps of x are copied into threadgroup memory while earlier ones are multiplied; of W, into registers. Piece p of a row of x
// is at p ^ row % 2, so that lanes of two rows meet in no memory bank.
#define MK_TILE_UNITS
#define MK_TILE_STEPS(PARTS) ((PARTS) == 1 ? 5 : 3)
#define MK_TILE_MEMORY(ROWS, PARTS) (MK_TILE_STEPS(PARTS) * (PARTS) * (ROWS) * 8)
template <uint OUTPUTS_, uint PARTS_> struct UnitTile {
	static constexpr uint ROWS = 64, OUTPUTS = OUTPUTS_, PARTS = PARTS_, SIMDS = 4, ACROSS = OUTPUTS / 32; // as linear.go has them
	static constexpr uint HEIGHT = ROWS * ACROSS / SIMDS, FINISHED = 32; // rows of a simdgroup, beside 32 outputs, and of these finished at once
	float of[2][HEIGHT / 8][4];
};
template <class U> MK_INLINE uint down(const U&, uint simd) { return simd / U::ACROSS * U::HEIGHT; }
template <class U> MK_INLINE uint right(const U&, uint simd) { return simd % U::ACROSS * 32; }

// put_sums puts them where the simdgroup finishes them: 32 outputs a row, the rows of the first 32 outputs first.
template <uint OUTPUTS, uint PARTS> MK_INLINE void put_sums(const UnitTile<OUTPUTS, PARTS>& sums, float* to, uint stride, uint simd, uint lane) {
	typedef UnitTile<OUTPUTS, PARTS> U;
	to += (right(sums, simd) / 32 * U::ROWS + down(sums, simd) + lane % 4 * 2) * stride + lane / 4;
#pragma unroll
	for (uint i = 0; i < U::HEIGHT / 8; i++)
#pragma unroll
		for (uint j = 0; j < 2; j++)
#pragma unroll
			for (uint e = 0; e < 4; e++) to[(8 * i + e % 2) * stride + 16 * j + e / 2 * 8] = sums.of[j][i][e];
}

// Eight numbers of W as halves, with the bits that linear_tile.metal's own have.
MK_INLINE uint4 eight_of_4_bits(uint word, half scale) {
	const uint later = word >> 8;
	const uint a = scaled(less(masked(word, 0x000f000f, 0x64006400), 0x64086408), scale);
	const uint b = scaled(sixteenth(masked(word, 0x00f000f0, 0x64006400)), scale);
	const uint c = scaled(less(masked(later, 0x000f000f, 0x64006400), 0x64086408), scale);
	const uint d = scaled(sixteenth(masked(later, 0x00f000f0, 0x64006400)), scale);
	return uint4(byte_perm(a, b, 0x5410), byte_perm(c, d, 0x5410), byte_perm(a, b, 0x7632), byte_perm(c, d, 0x7632));
}
MK_INLINE uint4 eight_of_8_bits(uint first, uint second, half scale) {
	uint pairs[4];
	pairs_of(pairs, uint2(first, second));
	return uint4(scaled(pairs[0], scale), scaled(pairs[1], scale), scaled(pairs[2], scale), scaled(pairs[3], scale));
}

// A pair is what a lane has of one output in a step, two pieces: the packets of linear_tile.metal, two at once.
struct PairQ4 { uint2 words; half scale; };
struct PairQ8 { uint4 words; half scale; };
struct PairPlain { uint4 words[2]; };
#define PAIR_PacketQ4 PairQ4
#define PAIR_PacketQ8 PairQ8
#define PAIR_PacketPlain PairPlain
MK_INLINE uint4 piece(PairQ4 p, uint i) { return eight_of_4_bits(p.words[i], p.scale); }
MK_INLINE uint4 piece(PairQ8 p, uint i) { return eight_of_8_bits(p.words[2 * i], p.words[2 * i + 1], p.scale); }
MK_INLINE uint4 piece(PairPlain p, uint i) { return p.words[i]; }

template <class U, class A> MK_INLINE void copy_step(const A& a, const half* x, uint first, uint4* memory, uint step, uint thread_index) {
	const uint p = thread_index % 8, r = thread_index / 8;
	const half* from = x + (ulong(first + r) * a.padded + 64 * step + 8 * p);
	uint4* to = memory + r * 8 + (p ^ (r & 1));
	const bool there = 64 * step + 8 * p < a.padded;
#pragma unroll
	for (uint part = 0; part < U::PARTS; part++)
#pragma unroll
		for (uint i = 0; i < U::ROWS; i += 4 * U::SIMDS)
			copy_async(to + (part * U::ROWS + i) * 8, from + (ulong(part) * a.rows + i) * a.padded, there && first + r + i < a.rows);
	end_of_step();
}

// multiply makes the sums of a tile that begins at a row and an output. A step goes in turns, of which each has sixteen rows'
// products of half a step's inputs. While they go on, the next turn's x is asked for, and halves are made of W half a step on.
template <class P, uint OUTPUTS, uint PARTS, class A>
MK_INLINE void multiply(
	UnitTile<OUTPUTS, PARTS>& sums, const A& a, const uchar* w, const half* scales, const half* x, uint first, uint output,
	uint4* memory, uint thread_index, uint simd, uint lane)
{
	typedef UnitTile<OUTPUTS, PARTS> U;
	constexpr uint STEPS = MK_TILE_STEPS(PARTS), SIZE = PARTS * U::ROWS * 8; // in threadgroup memory, of one
	constexpr uint SETS = U::HEIGHT / 16, TURNS = 2 * PARTS * SETS;
#pragma unroll
	for (uint i = 0; i < U::HEIGHT; i++) (&sums.of[0][0][0])[i] = 0.0f;
	const uint t = lane % 4, g = lane / 4, steps = (a.padded + 63) / 64, last = a.padded / 16 - 1;
	const uchar* row[4];
	const half* row_scales[4];
#pragma unroll
	for (uint j = 0; j < 4; j++) {
		const uint n = min(output + right(sums, simd) + 8 * j + g, a.outputs - 1);
		row[j] = w + numbers_from(P(), a, n);
		row_scales[j] = scales + scales_from(P(), a, n);
	}
	P held[2][4];
	auto hold = [&](P (&to)[4], uint step) { // what lies behind the last is the last again, beside zeros of x
		const uint n = min(4 * step + t, last);
#pragma unroll
		for (uint j = 0; j < 4; j++) to[j] = pair(P(), row[j], row_scales[j], n);
	};
	hold(held[0], 0);
	hold(held[1], 1);
	AFTER_EARLIER;
#pragma unroll
	for (uint s = 0; s + 1 < STEPS; s++) copy_step<U>(a, x, first, memory + s * SIZE, s, thread_index);

	uint left[2][2][2][4]; // by half of a step, 16 outputs, product
	auto make = [&](uint i, const P& from, uint j) {
		const uint4 eight = piece(from, i);
#pragma unroll
		for (uint e = 0; e < 4; e++) left[i][j / 2][e / 2][j % 2 + e % 2 * 2] = eight[e];
	};
	uint4 v[2][2];
	const uint4* mine = memory + (down(sums, simd) + g) * 8 + 2 * t;
	uint now = 0;
	auto ask = [&](uint4 (&to)[2], uint turn) {
		const uint i = turn / (PARTS * SETS), part = turn / SETS % PARTS, set = turn % SETS;
		const uint4* from = mine + now * SIZE + part * U::ROWS * 8 + set * 128 + (i ^ (g & 1));
		to[0] = from[0];
		to[1] = from[64];
	};
	until_copied<STEPS - 2>();
	threadgroup_barrier(mem_flags::mem_threadgroup);
	ask(v[0], 0);
#pragma unroll
	for (uint j = 0; j < 4; j++) make(0, held[0][j], j);
	for (uint base = 0; base < steps; base += 2) {
#pragma unroll
		for (uint h = 0; h < 2; h++) {
			const uint step = base + h;
			if (h > 0 && step >= steps) break;
			copy_step<U>(a, x, first, memory + (now == 0 ? STEPS - 1 : now - 1) * SIZE, step + STEPS - 1, thread_index);
#pragma unroll
			for (uint turn = 0; turn < TURNS; turn++) {
				const uint i = turn / (PARTS * SETS);
				if (turn + 1 == TURNS) { // what is asked for next is another step's
					now = now + 1 == STEPS ? 0 : now + 1;
					until_copied<STEPS - 2>();
					threadgroup_barrier(mem_flags::mem_threadgroup);
				}
				ask(v[(turn + 1) % 2], (turn + 1) % TURNS);
				if (turn == TURNS / 2) hold(held[h], step + 2);
#pragma unroll
				for (uint product = 0; product < 2; product++) {
#pragma unroll
					for (uint m = 0; m < 2; m++)
#pragma unroll
						for (uint j = 0; j < 2; j++) {
							const uint4& x = v[turn % 2][m];
							multiply_unit(sums.of[j][turn % SETS * 2 + m], left[i][j][product], x[2 * product], x[2 * product + 1]);
						}
#pragma unroll
					for (uint j = 0; j < 4; j++) {
						if (j * TURNS / 4 != turn % (TURNS / 2) * 2 + product) continue;
						if (i == 0) make(1, held[h][j], j);
						else make(0, held[1 - h][j], j);
					}
				}
			}
		}
	}
	until_copied<0>();
}

// The left operand of causal_fill.metal's products beside halves, 16 rows of N numbers, each as two halves: what the first rounds
// away is in the second. Both operands go in the units' own shape, 16×8 sums of 16 products, so the numbers that a lane has of
// one product are those that it needs for the next.
#define MK_LEFT_HALF
template <uint N> struct LeftHalf { uint most[N / 16][4], rest[N / 16][4]; };

MK_INLINE void split(float x, float y, uint& most, uint& rest) {
	most = two_halves(x, y);
	const half2 m = as_type<half2>(most);
	rest = two_halves(x - float(m.x), y - float(m.y));
}
template <uint N, class R> MK_INLINE void take(LeftHalf<N>& left, const R& rows, float*, uint) {
#pragma unroll
	for (int i = 0; i < N / 4; i++) {
		const int k = i / 4 * 4 + i / 2 % 2 * 2;
		split(rows.v[i % 2][k], rows.v[i % 2][k + 1], left.most[i / 4][i % 4], left.rest[i / 4][i % 4]);
	}
}
MK_INLINE void multiply_half(float (&v)[2][16], int tile, const uint (&a)[4], uint b0, uint b1) {
	multiply_16x8x16(v[0][2 * tile], v[0][2 * tile + 1], v[1][2 * tile], v[1][2 * tile + 1], a[0], a[1], a[2], a[3], b0, b1);
}
template <bool TURNED, class R, uint N> MK_INLINE void product(R& out, LeftHalf<N>& left, const half* right, uint stride, float*, uint lane) {
#pragma unroll
	for (int i = 0; i < 32; i++) out.v[i / 16][i % 16] = 0.0f;
#pragma unroll
	for (int k = 0; k < N / 16; k++) {
#pragma unroll
		for (int tile = 0; tile < 8; tile += 2) {
			uint b[4];
			if (TURNED) load_four(b, right + (8 * tile + lane / 16 * 8 + lane % 8) * stride + 16 * k + lane / 8 % 2 * 8);
			else load_four_turned(b, right + (16 * k + lane % 16) * stride + 8 * tile + lane / 16 * 8);
			multiply_half(out.v, tile, left.rest[k], b[0], b[1]);
			multiply_half(out.v, tile + 1, left.rest[k], b[2], b[3]);
			multiply_half(out.v, tile, left.most[k], b[0], b[1]);
			multiply_half(out.v, tile + 1, left.most[k], b[2], b[3]);
		}
	}
}

// causal.metal's way through a block of a step by the units, 32 columns with eight queries at once: scores are queries·keys, 16×8
// sums of 16 products, and the sums shares·values. Queries and shares are two halves each, as above: rows 0 to 7 of the left
// operand are what the first rounds to, rows 8 to 15 what it rounds away, and the two halves of a result are added up. Which
// of a head's elements are a unit's k-th is free as long as both operands agree, so lane 4·g + t holds whole eights: of keys
// the eights t and t + 4 of columns g, g+8, …, and of values the eight g of columns 2·t, 2·t+1, 2·t+8, …. Of a result it has
// query g and columns 2·t, 2·t+1, …, in the very places where the shares go, or elements 16·t to 16·t+15 of the sums. A query
// times the scale must be one that halves hold, below 65,504.
#define MK_STEP_UNITS
template <class W> struct StepUnits { W keys[8], values[8]; float key_scale[8], value_scale[8]; };
struct UnitQueries { uint place, of[4][4]; };

MK_INLINE uint unit_key(uint i, uint lane) { return i / 4 * 16 + i / 2 % 2 * 8 + lane / 4; }
MK_INLINE uint unit_value(uint i, uint lane) { return i / 4 * 16 + i / 2 % 2 * 8 + lane % 4 * 2 + i % 2; }
template <class W> MK_INLINE constexpr bool unit_scaled(const StepUnits<W>&) { return sizeof(W) == 8; }

// Places are counted in 32 bits from where a head begins, which is the same for all lanes. In a whole block they are a lane's
// first and numbers that the instructions have.
template <class H, class W> MK_INLINE void step_ask(H h, uint first, uint count, StepUnits<W>& ahead, uint lane) {
	const uint last = max(count, 1u) - 1;
	const char *keys = reinterpret_cast<const char*>(h.keys), *values = reinterpret_cast<const char*>(h.values);
	const char* more = keys + 4 * sizeof(W) * ulong(h.capacity);
	const uint key = lane % 4 * h.capacity + first, value = 8 * first + lane / 4;
	auto ask = [&](auto key_at, auto value_at) {
#pragma unroll
		for (uint i = 0; i < 8; i++) ahead.keys[i] = *reinterpret_cast<const W*>((i % 2 == 0 ? keys : more) + key_at(i));
#pragma unroll
		for (uint i = 0; i < 8; i++) ahead.values[i] = *reinterpret_cast<const W*>(values + value_at(i));
	};
	if (last == 31) {
		keys += uint(sizeof(W)) * (key + unit_key(0, lane));
		more += uint(sizeof(W)) * (key + unit_key(0, lane));
		values += uint(sizeof(W)) * (value + 8 * unit_value(0, lane));
		ask([](uint i) { return sizeof(W) * unit_key(i, 0); }, [](uint i) { return 8 * sizeof(W) * unit_value(i, 0); });
	} else {
		ask([=](uint i) { return uint(sizeof(W)) * (key + min(unit_key(i, lane), last)); },
			[=](uint i) { return uint(sizeof(W)) * (value + 8 * min(unit_value(i, lane), last)); });
	}
	if (unit_scaled(ahead)) {
#pragma unroll
		for (uint i = 0; i < 8; i++) {
			const uint column = first + min(unit_value(i, lane), last);
			ahead.key_scale[i] = h.key_scales[column];
			ahead.value_scale[i] = h.value_scales[column];
		}
	}
}

// A new column: the same eights as of an old one.
template <class W> struct UnitNew { float4 v[3][2]; W packed[3]; float scale[2]; };
template <class A, class W> MK_INLINE void step_ask_new(const A& a, const float* query, UnitNew<W>& fresh, uint lane) {
	const uint width = 64 * a.heads, g = lane / 4, t = lane % 4;
	const uint from[3] = {width + 8 * t, width + 8 * (t + 4), 2 * width + 8 * g};
#pragma unroll
	for (int i = 0; i < 6; i++) fresh.v[i / 2][i % 2] = *reinterpret_cast<const float4*>(query + from[i / 2] + i % 2 * 4);
}

template <class C, class W> MK_INLINE void step_grow(const C*, UnitNew<W>& fresh, uint last, StepUnits<W>& ahead, uint lane) {
	decltype(eight(W())) e[3];
	float most[3], inverse[2] = {1.0f, 1.0f};
#pragma unroll
	for (int i = 0; i < 3; i++) {
		e[i].a = fresh.v[i][0];
		e[i].b = fresh.v[i][1];
		most[i] = fmaxf(largest_of(e[i].a), largest_of(e[i].b));
	}
	if (unit_scaled(ahead)) {
		most[0] = max(most[0], most[1]);
		most[1] = most[2];
		for (uint mask = 1; mask < 4; mask *= 2) most[0] = max(most[0], simd_shuffle_xor(most[0], ushort(mask)));
		for (uint mask = 4; mask < 32; mask *= 2) most[1] = max(most[1], simd_shuffle_xor(most[1], ushort(mask)));
#pragma unroll
		for (int i = 0; i < 2; i++) {
			inverse[i] = most[i] > 0.0f ? 127.0f / most[i] : 0.0f;
			fresh.scale[i] = most[i] / 127.0f;
		}
	}
	for (int i = 0; i < 3; i++) pack(e[i], inverse[i / 2], fresh.packed[i]);
	// Places behind it, which no query sees, keep what was asked for, copies of the column before, if there is one.
#pragma unroll
	for (uint i = 0; i < 8; i++) {
		if (last != 0 && i / 2 != last / 8) continue;
		if (unit_key(i, lane) >= last) ahead.keys[i] = fresh.packed[i % 2];
		if (unit_value(i, lane) >= last) ahead.values[i] = fresh.packed[2];
	}
	if (unit_scaled(ahead)) {
#pragma unroll
		for (uint i = 0; i < 8; i++) {
			if (unit_value(i, lane) < last) continue;
			ahead.key_scale[i] = fresh.scale[0];
			ahead.value_scale[i] = fresh.scale[1];
		}
	}
}

template <class A, class C, class W>
MK_INLINE void step_keep(const A& a, C* numbers, float* scales, const UnitNew<W>& fresh, uint index, uint lane) {
	const uint g = lane / 4, t = lane % 4;
	const ulong size = 64 * ulong(a.capacity);
	C* keys = numbers + 2 * index * size;
	if (g == 0) {
		*reinterpret_cast<W*>(keys + 8 * (ulong(t) * a.capacity + a.column)) = fresh.packed[0];
		*reinterpret_cast<W*>(keys + 8 * (ulong(t + 4) * a.capacity + a.column)) = fresh.packed[1];
	}
	if (t == 0) *reinterpret_cast<W*>(keys + size + 8 * (8 * ulong(a.column) + g)) = fresh.packed[2];
	if (sizeof(W) == 8 && lane == 0) {
		float* to = scales + 2 * ulong(index) * a.capacity + a.column;
		to[0] = fresh.scale[0];
		to[a.capacity] = fresh.scale[1];
	}
}

// Where they are is found out before the wait.
MK_INLINE void step_point(UnitQueries& q, uint pitch, uint rows, uint lane) {
	q.place = min(lane / 4, rows - 1) * pitch + 8 * (lane % 4);
	asm volatile("" : "+r"(q.place));
}
MK_INLINE void step_queries(UnitQueries& q, const float* from, uint, uint, float scale, float*, uint, uint) {
	const float4* at = reinterpret_cast<const float4*>(from + q.place);
	const float4 v[4] = {at[0] * scale, at[1] * scale, at[8] * scale, at[9] * scale};
#pragma unroll
	for (int i = 0; i < 4; i++) {
		split(v[i].x, v[i].y, q.of[i][0], q.of[i][1]);
		split(v[i].z, v[i].w, q.of[i][2], q.of[i][3]);
	}
}

// The i-th two of eight numbers as halves. Bytes are put under 1024, of which halves have all integers up to the next power.
MK_INLINE uint two_halves(uint4 w, int i) { return w[i]; }
MK_INLINE uint two_halves(uint2 w, int i) {
	const uint both = byte_perm(w[i / 2] ^ 0x80808080u, 0x64646464u, i % 2 == 0 ? 0x4140 : 0x4342);
	return less(both, 0x64806480u);
}
// Over the four lanes of a query.
MK_INLINE float largest_of_four(float x) {
	x = fmaxf(x, simd_shuffle_xor(x, ushort(1)));
	return fmaxf(x, simd_shuffle_xor(x, ushort(2)));
}

template <class C, class W>
MK_INLINE void step_part(
	const C*, const UnitQueries& q, uint row, uint rows, uint count, uint span, StepUnits<W>& ahead, float2* both, float2* sums, uint lane)
{
	const uint g = lane / 4, t = lane % 4;
	float s[4][4] = {}, share[8], top = -1e30f, total = 0.0f, unit = 1.0f, inverse = 1.0f;
#pragma unroll
	for (int k = 0; k < 4; k++) {
#pragma unroll
		for (int i = 0; i < 4; i++) {
			const W& w = ahead.keys[2 * i + k / 2];
			multiply_unit(s[i], q.of[k], two_halves(w.words, k % 2 * 2), two_halves(w.words, k % 2 * 2 + 1));
		}
	}
	if (unit_scaled(ahead)) {
		unit = 1e-30f;
#pragma unroll
		for (int i = 0; i < 8; i++) unit = fmaxf(unit, ahead.value_scale[i]);
		unit = largest_of_four(unit);
		inverse = 1.0f / unit;
	}
#pragma unroll
	for (uint i = 0; i < 8; i++) {
		share[i] = s[i / 2][i % 2] + s[i / 2][2 + i % 2];
		if (unit_scaled(ahead)) share[i] *= ahead.key_scale[i];
		if (unit_value(i, lane) >= count) share[i] = -INFINITY;
		top = fmaxf(top, share[i]);
	}
	top = largest_of_four(top);
#pragma unroll
	for (uint i = 0; i < 8; i++) {
		share[i] = power(share[i] - top);
		total += share[i];
		if (unit_scaled(ahead)) share[i] *= ahead.value_scale[i] * inverse;
	}
	total += simd_shuffle_xor(total, ushort(1));
	total += simd_shuffle_xor(total, ushort(2));
	float o[8][4] = {};
#pragma unroll
	for (int k = 0; k < 2; k++) {
		uint shares[4];
		split(share[4 * k], share[4 * k + 1], shares[0], shares[1]);
		split(share[4 * k + 2], share[4 * k + 3], shares[2], shares[3]);
#pragma unroll
		for (int e = 0; e < 8; e++) {
			const int order = e % 2 == 0 ? 0x5410 : 0x7632;
			uint pairs[2];
#pragma unroll
			for (int h = 0; h < 2; h++) {
				const W &left = ahead.values[4 * k + 2 * h], &right = ahead.values[4 * k + 2 * h + 1];
				pairs[h] = byte_perm(two_halves(left.words, e / 2), two_halves(right.words, e / 2), order);
			}
			multiply_unit(o[e], shares, pairs[0], pairs[1]);
		}
	}
	if (g - row >= rows) return;
	if (t == 0) both[g * span] = float2(top, total);
	float4* to = reinterpret_cast<float4*>(sums + g * span * 32 + 8 * t);
#pragma unroll
	for (int i = 0; i < 4; i++) {
		const int e = i % 2 * 4, n = i / 2;
		to[i] = float4(o[e][n] + o[e][n + 2], o[e + 1][n] + o[e + 1][n + 2], o[e + 2][n] + o[e + 2][n + 2], o[e + 3][n] + o[e + 3][n + 2]) * unit;
	}
}
