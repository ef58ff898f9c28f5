// What mtl_warpgroup.h is written with, in instructions that only GPUs of compute capability 9.0 have. On the processor
// mtl_cpu_warpgroup.h has the same.

// Threadgroup memory that each launch brings, since a kernel may have no more than 48 KiB of its own. Package cuda reads in the comment
// how much.
#define TG_BROUGHT(name, count) \
	extern __shared__ __align__(1024) uint4 name[]; \
	asm volatile("// memory %0" : : "n"((count) * 16))

MK_INLINE uint shared_address(const void* memory) { return uint(__cvta_generic_to_shared(memory)); }

// A Signal says that a copy is there; it serves for one after another. signals_ready stands between making and using some.
typedef ulong Signal;
MK_INLINE void make_signal(Signal* s) { asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" : : "r"(shared_address(s)) : "memory"); }
MK_INLINE void signals_ready() { asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async.shared::cta;" : : : "memory"); }

// group_barrier is for the four simdgroups of a group alone.
MK_INLINE void group_barrier(uint group) { asm volatile("bar.sync %0, 128;" : : "r"(1 + group) : "memory"); }

// earlier_ready stands between waiting for the kernels before and the first copy of what they wrote.
MK_INLINE void earlier_ready() { asm volatile("fence.proxy.async.global;" : : : "memory"); }

// copy_stage asks for a copy of whole 16 bytes into threadgroup memory. until_there waits for a signal's copy: turn is 0 for the
// first, 1 for the second, 0 for the third.
MK_INLINE void copy_stage(uint4* to, const half* from, uint bytes, Signal* s) {
	asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(shared_address(s)), "r"(bytes) : "memory");
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
		: : "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(s)) : "memory");
}
MK_INLINE void until_there(Signal* s, uint turn) {
	uint there;
	do asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
		: "=r"(there) : "r"(shared_address(s)), "r"(turn) : "memory");
	while (there == 0);
}

// read_now reads when it stands there: what a compiler reads earlier, into registers that products under way read too, makes each
// product wait for the one before.
MK_INLINE uint4 read_now(const uint4* from) {
	uint4 v;
	asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(shared_address(from)) : "memory");
	return v;
}

// right_operand is 80 rows of 64 halves in threadgroup memory, at a multiple of 1,024 bytes: 128 bytes a row, of which piece p of 16
// bytes is at p ^ row % 8. Two more begin 16 inputs further on, 640 more at the next 80 rows.
MK_INLINE ulong right_operand(const uint4* memory) {
	return ulong((shared_address(memory) & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// settled has a left operand made before begin_products: what a product reads may not be written between that and the product.
MK_INLINE void settled(uint (&a)[2][4]) {
	asm volatile("" : "+r"(a[0][0]), "+r"(a[0][1]), "+r"(a[0][2]), "+r"(a[0][3]), "+r"(a[1][0]), "+r"(a[1][1]), "+r"(a[1][2]), "+r"(a[1][3]));
}

// multiply_64x80x16 adds the products of 64 rows of 16 halves, 16 of each simdgroup of four, with 80 columns of as many. A lane has of
// its simdgroup's rows and of the sums, for each eight columns, what it has with multiply_16x8x16. Products begin after
// begin_products and go on in the background; until_multiplied waits for all groups of them but the last few.
MK_INLINE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" : : : "memory"); }
MK_INLINE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory"); }
template <int LEFT> MK_INLINE void until_multiplied() { asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(LEFT) : "memory"); }
MK_INLINE void multiply_64x80x16(float (&d)[10][4], const uint (&a)[4], ulong b) {
#define MK_SUMS(i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
	asm volatile("wgmma.mma_async.sync.aligned.m64n80k16.f32.f16.f16 {"
		"%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "
		"%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39}, "
		"{%40, %41, %42, %43}, %44, 1, 1, 1, 0;"
		: MK_SUMS(0), MK_SUMS(1), MK_SUMS(2), MK_SUMS(3), MK_SUMS(4), MK_SUMS(5), MK_SUMS(6), MK_SUMS(7), MK_SUMS(8), MK_SUMS(9)
		: "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#undef MK_SUMS
}
