// What a library of kernels, built for the processor, offers to those who run it: the stand-in for Metal, and the
// program that replays dispatches under sanitizers. Plain C, so that both sides may be built with other options.
#pragma once
#include <stdint.h>

// One dispatch, or a part of it: the threadgroups from..to-1, counted with x fastest.
struct mk_launch {
	void* buffer[31];
	uint32_t groups[3];
	uint32_t threads[3];
	uint64_t seed;  // of the order in which threads run; 0 is the natural order
	uint64_t from, to;
	char error[512];
};

struct mk_kernel {
	const char* name;
	int (*run)(mk_launch*);  // 0, or another number and a text in error
	uint32_t writes;         // a bit for each buffer that may be written
	uint32_t buffers;        // how many, with the constants
	uint32_t constants;      // bytes of buffer 0
};
