// Writes dispatches with all that they read to files, so that a program built with sanitizers can run them again
// (replay.cc, which has the format). A file holds a stretch: the dispatches between two barriers. Of each combination of
// kernels a sample is kept, the same whatever the order of tests: those whose hashes are least.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include "metal.h"

namespace standin {
enum { sample = 6, most_content = 4 << 20 };

static std::mutex recording;
static std::string& into() { static auto* s = new std::string; return *s; }

EXPORT void mtltest_record(const char* folder) {
	std::lock_guard<std::mutex> lock(recording);
	into() = folder;
	if (*folder) mkdir(folder, 0755);
}

struct Hash {
	uint64_t value = 14695981039346656037ull;
	void add(const void* p, size_t n) {
		for (size_t i = 0; i < n; i++) value = (value ^ static_cast<const unsigned char*>(p)[i]) * 1099511628211ull;
	}
	template <class T> void add(T v) { add(&v, sizeof v); }
};

static uint64_t key(const std::vector<Command*>& stretch) {
	Hash h;
	for (Command* c : stretch) {
		h.add(c->pipeline->kernel->name, strlen(c->pipeline->kernel->name));
		h.add(c->groups, sizeof c->groups);
		h.add(c->threads, sizeof c->threads);
		for (auto& b : c->bindings) {
			h.add(b.first);
			if (b.second.buffer) { h.add(b.second.offset); h.add(b.second.buffer->length); }
			else h.add(b.second.bytes.data(), b.second.bytes.size());
		}
	}
	return h.value;
}

// stem names a library and the kernels of a stretch; stretches with kernels of two libraries are not kept.
static bool stem(const std::vector<Command*>& stretch, std::string& folder, std::string& kernels) {
	const std::string& library = stretch[0]->pipeline->library;
	folder = library.substr(library.rfind('/') + 1);
	folder = folder.substr(0, folder.find('.'));
	std::set<std::string> names;
	for (Command* c : stretch) {
		if (c->pipeline->library != library) return false;
		names.insert(c->pipeline->kernel->name);
	}
	for (auto& n : names) kernels += (kernels.empty() ? "" : "+") + n;
	if (stretch.size() > 1 && names.size() == 1) kernels += "+";
	return kernels.size() < 200;
}

template <class T> static void put(std::ofstream& out, T v) { out.write(reinterpret_cast<const char*>(&v), sizeof v); }

static void write(const std::vector<Command*>& stretch, const std::map<Buffer*, uint32_t>& buffers, const std::string& path) {
	std::ofstream out(path, std::ios::binary);
	out.write("MTLR1\n", 6);
	put(out, uint32_t(buffers.size()));
	std::vector<Buffer*> ordered(buffers.size());
	for (auto& b : buffers) ordered[b.second] = b.first;
	for (Buffer* b : ordered) {
		put(out, b->length);
		out.write(b->memory, std::streamsize(b->length));
	}
	put(out, uint32_t(stretch.size()));
	for (Command* c : stretch) {
		std::string name = c->pipeline->kernel->name;
		put(out, uint32_t(name.size()));
		out.write(name.data(), std::streamsize(name.size()));
		out.write(reinterpret_cast<const char*>(c->groups), sizeof c->groups);
		out.write(reinterpret_cast<const char*>(c->threads), sizeof c->threads);
		put(out, uint32_t(c->bindings.size()));
		for (auto& b : c->bindings) {
			put(out, uint32_t(b.first));
			put(out, b.second.buffer ? buffers.at(b.second.buffer) : ~0u);
			put(out, b.second.buffer ? b.second.offset : uint64_t(b.second.bytes.size()));
			out.write(b.second.bytes.data(), std::streamsize(b.second.bytes.size()));
		}
	}
}

void record(const std::vector<Command*>& stretch) {
	std::lock_guard<std::mutex> lock(recording);
	if (into().empty() || stretch.empty()) return;
	std::string folder, kernels;
	if (!stem(stretch, folder, kernels)) return;
	uint64_t hash = key(stretch);
	static std::map<std::string, std::set<uint64_t>> kept;
	auto& mine = kept[into() + "/" + folder + "/" + kernels];
	if (mine.count(hash) || (mine.size() >= sample && *mine.rbegin() < hash)) return;
	std::map<Buffer*, uint32_t> buffers;
	uint64_t content = 0;
	for (Command* c : stretch)
		for (auto& b : c->bindings)
			if (b.second.buffer && buffers.emplace(b.second.buffer, uint32_t(buffers.size())).second) content += b.second.buffer->length;
	if (content > most_content) return;
	folder = into() + "/" + folder;
	if (mkdir(folder.c_str(), 0755) == 0) {
		std::string library = stretch[0]->pipeline->library;
		std::ifstream in(library.substr(0, library.rfind('.')) + ".cc", std::ios::binary);
		std::ofstream(folder + ".cc", std::ios::binary) << in.rdbuf();
	}
	auto path = [&](uint64_t h) {
		char text[32];
		snprintf(text, sizeof text, "-%016lx.dispatch", h);
		return folder + "/" + kernels + text;
	};
	mine.insert(hash);
	if (mine.size() > sample) {
		unlink(path(*mine.rbegin()).c_str());
		mine.erase(--mine.end());
	}
	write(stretch, buffers, path(hash));
}
}  // namespace standin
