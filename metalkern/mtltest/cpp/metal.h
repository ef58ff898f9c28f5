// The classes of the stand-in for Metal; executor.cc runs what they record.
#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include "mtl_launch.h"
#include "objc.h"

namespace standin {
struct Size { uint64_t width, height, depth; };

enum Status : uint64_t { not_enqueued, enqueued, committed, scheduled, completed, error };

enum Code : int64_t { internal = 1, out_of_memory = 8 };  // of MTLCommandBufferErrorDomain

struct Buffer : Object {
	char* memory;
	uint64_t length, options;
	char* mapping = nullptr;  // what to unmap, where the memory is ours
	uint64_t mapped = 0;
	Buffer(char* memory, uint64_t length, uint64_t options);
	~Buffer();
	bool intact() const;  // nothing was written behind its end
	bool there() const;   // memory that is not ours is still mapped
};

struct Library : Object {
	void* handle;
	std::string path;
	Library(void* handle, const std::string& path);
};

struct Function : Object {
	const mk_kernel* kernel;
	std::string library;
	Function(const mk_kernel* kernel, const std::string& library);
};

struct Pipeline : Object {
	const mk_kernel* kernel;
	std::string library;
	uint64_t most_threads;
	Pipeline(const Function* f);
};

struct Binding {
	Buffer* buffer = nullptr;
	uint64_t offset = 0;
	std::vector<char> bytes;
};

// A Command is a dispatch, or a barrier where it has no pipeline.
struct Command {
	Pipeline* pipeline = nullptr;
	std::map<int, Binding> bindings;
	uint32_t groups[3], threads[3];
};

struct Queue : Object {
	bool ignores = false;  // what is committed to it: it has caused an error
	Queue();
};

struct CommandBuffer : Object {
	Queue* queue;
	std::vector<Command> commands;
	std::mutex lock;
	std::condition_variable changed;
	Status status = not_enqueued;
	std::string failure;
	Code code = internal;  // of the failure
	double start = 0, end = 0;
	bool encoding = false;
	explicit CommandBuffer(Queue*);
	~CommandBuffer();
};

struct Encoder : Object {
	CommandBuffer* into;
	Pipeline* pipeline = nullptr;
	std::map<int, Binding> bindings;
	bool ended = false, concurrent;
	Encoder(CommandBuffer* into, bool concurrent);
	~Encoder();
};

// fails says whether what a test asked for by mtltest_fail is to fail now.
bool fails(const char* what);

// submit runs a command buffer after those before it, on another thread.
void submit(CommandBuffer*);
double now();

// record writes dispatches that no barrier orders to the folder that mtltest_record named, if one is.
void record(const std::vector<Command*>&);
}  // namespace standin
