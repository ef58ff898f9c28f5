// Runs recorded dispatches again, in a program of its own because sanitizers must be there from the start: it is compiled
// together with a library of kernels. Buffers are exactly as long as they were, so that AddressSanitizer sees a step
// beyond. Threadgroups are shared out among threads that nothing orders, as are the dispatches of one stretch, so that
// ThreadSanitizer sees what they share.
//
// Each file runs in as many orders of threads as asked for: results that differ depend on the order.
//
//   replay ORDERS SUFFIX FILE...
//
// The suffix is added to the names of kernels: so one program holds a text and its mutants.
// Format: "MTLR1\n", count of buffers, each with length and content; count of dispatches, each with
//                      name, threadgroups, threads, count of bindings, each with index, buffer, offset (no buffer: length
//                      and bytes)
#include <cinttypes>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>
#include "mtl_launch.h"

namespace {
std::string suffix;

struct Buffer {
	std::vector<char> content;
};
struct Binding {
	uint32_t index, buffer;
	uint64_t offset;
	std::vector<char> bytes;
};
struct Dispatch {
	std::string name;
	const mk_kernel* kernel;
	uint32_t groups[3], threads[3];
	std::vector<Binding> bindings;
};

[[noreturn]] void stop(const char* file, const std::string& text) {
	fprintf(stderr, "replay: %s: %s\n", file, text.c_str());
	exit(1);
}

template <class T> T get(FILE* in, const char* file) {
	T v;
	if (fread(&v, sizeof v, 1, in) != 1) stop(file, "ends early");
	return v;
}
void get(FILE* in, const char* file, void* to, size_t n) {
	if (n && fread(to, n, 1, in) != 1) stop(file, "ends early");
}

struct Stretch {
	std::vector<Buffer> buffers;
	std::vector<Dispatch> dispatches;
};

Stretch load(const char* file) {
	FILE* in = fopen(file, "rb");
	if (!in) stop(file, "cannot be read");
	char magic[6];
	get(in, file, magic, sizeof magic);
	if (memcmp(magic, "MTLR1\n", sizeof magic)) stop(file, "is not a recorded dispatch");
	Stretch s;
	s.buffers.resize(get<uint32_t>(in, file));
	for (auto& b : s.buffers) {
		b.content.resize(get<uint64_t>(in, file));
		get(in, file, b.content.data(), b.content.size());
	}
	s.dispatches.resize(get<uint32_t>(in, file));
	for (auto& d : s.dispatches) {
		d.name.resize(get<uint32_t>(in, file));
		get(in, file, &d.name[0], d.name.size());
		get(in, file, d.groups, sizeof d.groups);
		get(in, file, d.threads, sizeof d.threads);
		d.bindings.resize(get<uint32_t>(in, file));
		for (auto& b : d.bindings) {
			b.index = get<uint32_t>(in, file);
			b.buffer = get<uint32_t>(in, file);
			b.offset = get<uint64_t>(in, file);
			if (b.buffer != ~0u) continue;
			b.bytes.resize(b.offset);
			get(in, file, b.bytes.data(), b.bytes.size());
		}
		d.kernel = static_cast<const mk_kernel*>(dlsym(RTLD_DEFAULT, ("mk_kernel_" + d.name + suffix).c_str()));
		if (!d.kernel) stop(file, d.name + suffix + ": there is no such kernel here");
	}
	fclose(in);
	return s;
}

// Workers run parts of a stretch at once. They live as long as the program, because making fibers known to a sanitizer
// takes long; nothing orders them but the beginning and the end of a stretch.
class Workers {
public:
	enum { count = 4 };
	Workers() {
		for (unsigned w = 0; w < count; w++) std::thread([this, w] { serve(w); }).detach();
	}
	void run(const std::function<void(unsigned)>& work) {
		std::unique_lock<std::mutex> guard(lock);
		this->work = &work;
		busy = count;
		round++;
		changed.notify_all();
		changed.wait(guard, [this] { return busy == 0; });
	}

private:
	std::mutex lock;
	std::condition_variable changed;
	const std::function<void(unsigned)>* work = nullptr;
	unsigned busy = 0;
	uint64_t round = 0;

	void serve(unsigned w) {
		for (uint64_t seen = 0;;) {
			const std::function<void(unsigned)>* mine;
			{
				std::unique_lock<std::mutex> guard(lock);
				changed.wait(guard, [&] { return round != seen; });
				seen = round;
				mine = work;
			}
			(*mine)(w);
			std::lock_guard<std::mutex> guard(lock);
			if (--busy == 0) changed.notify_all();
		}
	}
};

// run runs the threadgroups of a dispatch that fall to worker w.
void run(const char* file, const Dispatch& d, const std::vector<char*>& memory, uint64_t seed, unsigned w) {
	mk_launch l = {};
	std::vector<std::vector<char>> constants;
	for (auto& b : d.bindings) {
		if (b.buffer == ~0u) constants.push_back(b.bytes);
		l.buffer[b.index] = b.buffer == ~0u ? constants.back().data() : memory[b.buffer] + b.offset;
	}
	memcpy(l.groups, d.groups, sizeof d.groups);
	memcpy(l.threads, d.threads, sizeof d.threads);
	l.seed = seed;
	uint64_t all = uint64_t(d.groups[0]) * d.groups[1] * d.groups[2];
	for (uint64_t g = 0; g < all; g++) {
		if ((g * 0x9e3779b97f4a7c15ull + std::hash<std::string>()(d.name) + seed) >> 62 != w) continue;
		l.from = g;
		l.to = g + 1;
		if (d.kernel->run(&l)) stop(file, d.name + ": " + l.error);
	}
}

// run returns what the buffers hold at the end.
std::vector<std::vector<char>> run(const char* file, Stretch& s, uint64_t seed) {
	std::vector<char*> memory;
	for (auto& b : s.buffers) {
		char* p = static_cast<char*>(malloc(b.content.size()));
		memcpy(p, b.content.data(), b.content.size());
		memory.push_back(p);
	}
	static Workers* workers = new Workers;
	workers->run([&](unsigned w) {
		for (size_t i = 0; i < s.dispatches.size(); i++) run(file, s.dispatches[seed % 2 ? s.dispatches.size() - 1 - i : i], memory, seed, w);
	});
	std::vector<std::vector<char>> result;
	for (size_t i = 0; i < memory.size(); i++) {
		result.emplace_back(memory[i], memory[i] + s.buffers[i].content.size());
		free(memory[i]);
	}
	return result;
}
}  // namespace

int main(int count, char** arguments) {
	enum { first_file = 3 };
	if (count <= first_file) stop("arguments", "want ORDERS SUFFIX FILE...");
	uint64_t orders = strtoull(arguments[1], nullptr, 10);
	suffix = arguments[2];
	for (int i = first_file; i < count; i++) {
		const char* file = arguments[i];
		Stretch s = load(file);
		auto first = run(file, s, 1);
		for (uint64_t seed = 2; seed <= orders; seed++) {
			auto other = run(file, s, seed);
			for (size_t b = 0; b < first.size(); b++)
				if (first[b] != other[b]) {
					size_t at = 0;
					while (first[b][at] == other[b][at]) at++;
					stop(file, s.dispatches[0].name + ": the result depends on the order of threads: buffer " + std::to_string(b) + ", byte " + std::to_string(at));
				}
		}
	}
	printf("%d\n", count - first_file);
}
