// Metal's classes for compute, as the driver uses them. Misuse that a Mac's validation layer would stop, or nothing would,
// is reported: open encoders, second commits, bad offsets and sizes, buffers freed while in use. Every way to fail that
// a test can ask for is here, by fails.
#include "metal.h"
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <sstream>
#include <sys/mman.h>
#include <unistd.h>

namespace standin {
enum : uint64_t { page = 16384, tail = 4096, untracked = 1 << 8, storage = 0xf0 };
enum { most_bindings = 31, most_bytes = 4096, most_threads = 1024 };

static std::mutex faults_lock;
static std::map<std::string, std::pair<long, long>>& faults() { static auto* all = new std::map<std::string, std::pair<long, long>>; return *all; }

// mtltest_fail makes what fail times times after skip successes; 0 times takes the fault back.
EXPORT void mtltest_fail(const char* what, long skip, long times) {
	std::lock_guard<std::mutex> guard(faults_lock);
	faults()[what] = {skip, times};
}

bool fails(const char* what) {
	std::lock_guard<std::mutex> guard(faults_lock);
	auto at = faults().find(what);
	if (at == faults().end() || at->second.second == 0) return false;
	if (at->second.first-- > 0) return false;
	at->second.second--;
	return true;
}

static std::atomic<uint64_t> thread_limit{most_threads};
EXPORT void mtltest_threads(uint64_t most) { thread_limit = most; }

template <class T> static T* fail(Error** e, const std::string& text) {
	if (e) *e = autoreleased(new Error(text));
	return nullptr;
}

static Class* meta() {
	static Class* m = new Class("MTL", nullptr, nullptr, {});
	return m;
}

// ---- buffers

static void* buffer_contents(Buffer* b, Selector) { return b->memory; }
static uint64_t buffer_length(Buffer* b, Selector) { return b->length; }
static Class* buffer_class() {
	static Class* c = new Class("StandinBuffer", root(), meta(), {
		METHOD("contents", buffer_contents, "^v16@0:8"),
		METHOD("length", buffer_length, "Q16@0:8"),
	});
	return c;
}
Buffer::Buffer(char* memory, uint64_t length, uint64_t options) : Object(buffer_class()), memory(memory), length(length), options(options) {}
Buffer::~Buffer() {
	if (!intact()) report("a buffer of %lu bytes was written behind its end", length);
	if (!there()) report("a buffer without a copy of %lu bytes: its memory was unmapped before it was released", length);
	if (mapping) munmap(mapping, mapped);
}
bool Buffer::intact() const {
	if (!mapping) return true;
	for (char* p = memory + length; p < mapping + mapped; p++)
		if (*p != char(0xff)) return false;
	return true;
}

bool Buffer::there() const {
	if (mapping) return true;
	std::vector<unsigned char> pages(length / uint64_t(sysconf(_SC_PAGESIZE)));
	return mincore(memory, length, pages.data()) == 0 || errno != ENOMEM;
}

// device_buffer gives memory full of 0xff, because Metal does not promise zeros, with a tail that nothing may write to.
static Buffer* device_buffer(Object*, Selector, uint64_t length, uint64_t options) {
	if (length == 0) report("newBufferWithLength: 0 bytes");
	if (options & storage) report("newBufferWithLength: options %lx: want shared storage", options);
	if (fails("buffer")) return nullptr;
	uint64_t mapped = (length + tail + 4095) / 4096 * 4096;
	char* p = static_cast<char*>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (p == MAP_FAILED) return nullptr;
	memset(p, 0xff, mapped);
	Buffer* b = new Buffer(p, length, options);
	b->mapping = p;
	b->mapped = mapped;
	return b;
}

static Buffer* device_buffer_no_copy(Object*, Selector, char* memory, uint64_t length, uint64_t options, void* deallocator) {
	if ((reinterpret_cast<uint64_t>(memory) | length) % uint64_t(sysconf(_SC_PAGESIZE)) || deallocator) {
		report("newBufferWithBytesNoCopy: want whole pages and no deallocator, got %p and %lu bytes", static_cast<void*>(memory), length);
		return nullptr;
	}
	if (options & storage) report("newBufferWithBytesNoCopy: options %lx: want shared storage", options);
	if (fails("buffer without a copy")) return nullptr;
	Buffer* b = new Buffer(memory, length, options);
	if (!b->there()) report("newBufferWithBytesNoCopy: %lu bytes at %p are not mapped", length, static_cast<void*>(memory));
	return b;
}

// ---- libraries, functions, pipelines

static Function* library_function(Library* l, Selector, String* name) {
	auto* k = static_cast<const mk_kernel*>(dlsym(l->handle, ("mk_kernel_" + name->text).c_str()));
	return k && !fails("function") ? new Function(k, l->path) : nullptr;
}
static Class* library_class() {
	static Class* c = new Class("StandinLibrary", root(), meta(), {METHOD("newFunctionWithName:", library_function, "@24@0:8@16")});
	return c;
}
Library::Library(void* handle, const std::string& path) : Object(library_class()), handle(handle), path(path) {}

static Class* function_class() {
	static Class* c = new Class("StandinFunction", root(), meta(), {});
	return c;
}
Function::Function(const mk_kernel* kernel, const std::string& library) : Object(function_class()), kernel(kernel), library(library) {}

static uint64_t pipeline_threads(Pipeline* p, Selector) { return p->most_threads; }
static uint64_t pipeline_width(Pipeline*, Selector) { return 32; }
static Class* pipeline_class() {
	static Class* c = new Class("StandinComputePipelineState", root(), meta(), {
		METHOD("maxTotalThreadsPerThreadgroup", pipeline_threads, "Q16@0:8"),
		METHOD("threadExecutionWidth", pipeline_width, "Q16@0:8"),
	});
	return c;
}
Pipeline::Pipeline(const Function* f) : Object(pipeline_class()), kernel(f->kernel), library(f->library), most_threads(thread_limit) {}

struct CompileOptions : Object {
	uint64_t language = 0;
	int64_t math = -1, functions = 0;  // the fast functions are Metal's own choice
	CompileOptions();
};
static Object* options_make(Object*, Selector) { return new CompileOptions; }
static void options_language(CompileOptions* o, Selector, uint64_t version) { o->language = version; }
static void options_math(CompileOptions* o, Selector, int64_t mode) { o->math = mode; }
static void options_functions(CompileOptions* o, Selector, int64_t functions) { o->functions = functions; }
static void options_fast(CompileOptions* o, Selector, bool fast) {
	o->math = fast ? 2 : 0;
	o->functions = fast ? 0 : 1;
}
// options_class is that of macOS 13 and 14, newer_options_class that of macOS 15.
static Class* options_class() {
	static Class* m = new Class("MTLCompileOptions", nullptr, nullptr, {METHOD("alloc", options_make, "@16@0:8")});
	static Class* c = new Class("MTLCompileOptions", root(), m, {
		METHOD("setLanguageVersion:", options_language, "v24@0:8Q16"),
		METHOD("setFastMathEnabled:", options_fast, "v20@0:8B16"),
	});
	return c;
}
static Class* newer_options_class() {
	static Class* c = new Class("StandinCompileOptions", options_class(), meta(), {
		METHOD("setMathMode:", options_math, "v24@0:8q16"),
		METHOD("setMathFloatingPointFunctions:", options_functions, "v24@0:8q16"),
	});
	return c;
}
CompileOptions::CompileOptions() : Object(fails("math mode") ? options_class() : newer_options_class()) {}

// folder is where this library lies, and beside it the program that compiles kernels.
static std::string folder() {
	Dl_info info;
	if (!dladdr(reinterpret_cast<void*>(&folder), &info) || !info.dli_fname) return ".";
	std::string path = info.dli_fname;
	return path.substr(0, path.rfind('/'));
}

static std::string read(const std::string& path) {
	std::ifstream in(path);
	std::stringstream all;
	all << in.rdbuf();
	return all.str();
}

// compile has the program print where the library lies, or say on standard error what is wrong.
static bool compile(const std::string& source, std::string& result) {
	char place[] = "/tmp/mtltestXXXXXX";
	if (!mkdtemp(place)) { result = "no temporary folder"; return false; }
	std::string in = std::string(place) + "/source.metal", out = std::string(place) + "/out", log = std::string(place) + "/log";
	std::ofstream(in) << source;
	std::string command = "'" + folder() + "/compiler' '" + in + "' >'" + out + "' 2>'" + log + "'";
	int status = system(command.c_str());
	result = read(status == 0 ? out : log);
	for (auto& f : {in, out, log}) unlink(f.c_str());
	rmdir(place);
	if (status != 0 && result.empty()) result = command + ": failed without a word";
	return status == 0;
}

static Library* device_library(Object*, Selector, String* source, CompileOptions* options, Error** e) {
	if (!options || options->math < 0 || options->language == 0) report("newLibraryWithSource: want options with a math mode and a language version");
	else if (options->functions != 1) report("newLibraryWithSource: want options with precise functions");
	if (fails("library")) return fail<Library>(e, "program_source:1:1: error: the library was made to fail");
	std::string result;
	if (!compile(source->text, result)) return fail<Library>(e, result);
	void* handle = dlopen(result.c_str(), RTLD_NOW | RTLD_LOCAL);
	if (!handle) return fail<Library>(e, dlerror());
	return new Library(handle, result);
}

static Pipeline* device_pipeline(Object*, Selector, Function* f, Error** e) {
	if (!f) { report("newComputePipelineStateWithFunction: nil function"); return nullptr; }
	if (fails("pipeline")) return fail<Pipeline>(e, "the pipeline was made to fail");
	return new Pipeline(f);
}

// ---- command buffers and encoders

static Encoder* buffer_encoder(CommandBuffer* c, Selector, uint64_t type) {
	if (c->status != not_enqueued) report("encoder for a committed command buffer");
	if (c->encoding) report("second encoder while the first is open");
	if (type > 1) report("computeCommandEncoderWithDispatchType: %lu", type);
	if (fails("encoder")) return nullptr;
	c->encoding = true;
	return autoreleased(new Encoder(c, type == 1));
}
static void buffer_commit(CommandBuffer* c, Selector) {
	if (c->encoding) report("commit while an encoder is open");
	{
		std::lock_guard<std::mutex> guard(c->lock);
		if (c->status != not_enqueued) return report("second commit of a command buffer");
		c->status = committed;
	}
	submit(c);
}
static void buffer_wait(CommandBuffer* c, Selector) {
	std::unique_lock<std::mutex> guard(c->lock);
	if (c->status == not_enqueued) return report("wait for a command buffer that was not committed");
	c->changed.wait(guard, [c] { return c->status >= completed; });
}
static uint64_t buffer_status(CommandBuffer* c, Selector) {
	std::lock_guard<std::mutex> guard(c->lock);
	return c->status;
}
static Error* buffer_error(CommandBuffer* c, Selector) {
	std::lock_guard<std::mutex> guard(c->lock);
	return c->status == error ? autoreleased(new Error(c->failure, c->code)) : nullptr;
}
static double buffer_start(CommandBuffer* c, Selector) { return c->start; }
static double buffer_end(CommandBuffer* c, Selector) { return c->end; }
static Class* command_buffer_class() {
	static Class* c = new Class("StandinCommandBuffer", root(), meta(), {
		METHOD("computeCommandEncoderWithDispatchType:", buffer_encoder, "@24@0:8Q16"),
		METHOD("commit", buffer_commit, "v16@0:8"),
		METHOD("waitUntilCompleted", buffer_wait, "v16@0:8"),
		METHOD("status", buffer_status, "Q16@0:8"),
		METHOD("error", buffer_error, "@16@0:8"),
		METHOD("GPUStartTime", buffer_start, "d16@0:8"),
		METHOD("GPUEndTime", buffer_end, "d16@0:8"),
	});
	return c;
}
CommandBuffer::CommandBuffer(Queue* queue) : Object(command_buffer_class()), queue(queue) { retain(queue); }
CommandBuffer::~CommandBuffer() { release(queue); }

static bool usable(Encoder* e, const char* message) {
	if (e->ended) report("%s after endEncoding", message);
	return !e->ended;
}
static void encoder_pipeline(Encoder* e, Selector, Pipeline* p) {
	if (!usable(e, "setComputePipelineState")) return;
	if (!p) return report("setComputePipelineState: nil");
	e->pipeline = p;
}
static void encoder_buffer(Encoder* e, Selector, Buffer* b, uint64_t offset, uint64_t index) {
	if (!usable(e, "setBuffer")) return;
	if (!b) return report("setBuffer: nil at index %lu", index);
	if (index >= most_bindings) return report("setBuffer: index %lu", index);
	if (offset >= b->length) return report("setBuffer: offset %lu in a buffer of %lu bytes, index %lu", offset, b->length, index);
	if (offset % 4) return report("setBuffer: offset %lu is not divisible by 4, index %lu", offset, index);
	e->bindings[int(index)] = Binding{b, offset, {}};
}
static void encoder_bytes(Encoder* e, Selector, const char* bytes, uint64_t length, uint64_t index) {
	if (!usable(e, "setBytes")) return;
	if (index >= most_bindings || length == 0 || length > most_bytes || !bytes) return report("setBytes: %lu bytes at index %lu", length, index);
	e->bindings[int(index)] = Binding{nullptr, 0, std::vector<char>(bytes, bytes + length)};
}
static bool sizes(const Command& c, Size groups, Size threads) {
	uint64_t most = uint64_t(1) << 31;
	if (!groups.width || !groups.height || !groups.depth || groups.width > most || groups.height > most || groups.depth > most) return false;
	if (!threads.width || !threads.height || !threads.depth) return false;
	return threads.width <= most_threads && threads.height <= most_threads && threads.depth <= 64 && threads.width * threads.height * threads.depth <= c.pipeline->most_threads;
}
static void encoder_dispatch(Encoder* e, Selector, Size groups, Size threads) {
	if (!usable(e, "dispatchThreadgroups")) return;
	if (!e->pipeline) return report("dispatchThreadgroups without a pipeline");
	Command c;
	c.pipeline = e->pipeline;
	const mk_kernel* k = c.pipeline->kernel;
	if (!sizes(c, groups, threads))
		return report("%s: dispatch of %lu,%lu,%lu threadgroups of %lu,%lu,%lu threads; the pipeline allows %lu", k->name, groups.width, groups.height, groups.depth, threads.width,
			threads.height, threads.depth, c.pipeline->most_threads);
	for (uint32_t i = 0; i < k->buffers; i++) {
		auto at = e->bindings.find(int(i));
		if (at == e->bindings.end()) return report("%s: nothing is bound at index %u", k->name, i);
		if (i == 0 && k->constants && at->second.bytes.size() != k->constants) return report("%s: %zu bytes of constants, want %u", k->name, at->second.bytes.size(), k->constants);
		if (at->second.buffer && !at->second.buffer->mapping && k->writes >> i & 1) return report("%s: buffer %u is without a copy, and may be written", k->name, i);
		c.bindings[int(i)] = at->second;
	}
	uint64_t g[3] = {groups.width, groups.height, groups.depth}, t[3] = {threads.width, threads.height, threads.depth};
	for (int i = 0; i < 3; i++) { c.groups[i] = uint32_t(g[i]); c.threads[i] = uint32_t(t[i]); }
	e->into->commands.push_back(std::move(c));
	if (!e->concurrent) e->into->commands.emplace_back();
}
static void encoder_barrier(Encoder* e, Selector, uint64_t scope) {
	if (!usable(e, "memoryBarrier")) return;
	if (scope != 1) report("memoryBarrierWithScope: %lu, want buffers (1)", scope);
	e->into->commands.emplace_back();
}
static void encoder_end(Encoder* e, Selector) {
	if (!usable(e, "endEncoding")) return;
	e->ended = true;
	e->into->encoding = false;
	e->into->commands.emplace_back();
}
static Class* encoder_class() {
	static Class* c = new Class("StandinComputeCommandEncoder", root(), meta(), {
		METHOD("setComputePipelineState:", encoder_pipeline, "v24@0:8@16"),
		METHOD("setBuffer:offset:atIndex:", encoder_buffer, "v40@0:8@16Q24Q32"),
		METHOD("setBytes:length:atIndex:", encoder_bytes, "v40@0:8r^v16Q24Q32"),
		METHOD("dispatchThreadgroups:threadsPerThreadgroup:", encoder_dispatch, "v64@0:8{?=QQQ}16{?=QQQ}40"),
		METHOD("memoryBarrierWithScope:", encoder_barrier, "v24@0:8Q16"),
		METHOD("endEncoding", encoder_end, "v16@0:8"),
	});
	return c;
}
static Class* other_encoder_class() {
	static Class* c = new Class("StandinOtherEncoder", encoder_class(), meta(), {METHOD("memoryBarrierWithScope:", encoder_barrier, "v20@0:8I16")});
	return c;
}
Encoder::Encoder(CommandBuffer* into, bool concurrent) : Object(fails("encoder types") ? other_encoder_class() : encoder_class()), into(into), concurrent(concurrent) { retain(into); }
Encoder::~Encoder() {
	if (!ended) report("encoder freed without endEncoding");
	release(into);
}

static CommandBuffer* queue_buffer(Queue* q, Selector) { return fails("command buffer") ? nullptr : autoreleased(new CommandBuffer(q)); }
static Class* queue_class() {
	static Class* c = new Class("StandinCommandQueue", root(), meta(), {METHOD("commandBufferWithUnretainedReferences", queue_buffer, "@16@0:8")});
	return c;
}
Queue::Queue() : Object(queue_class()) {}

// ---- the device

static String* device_name(Object*, Selector) { return autoreleased(new String("Metal stand-in")); }
static bool device_family(Object*, Selector, int64_t family) { return family >= 1001 && family <= 1007 && !fails("family"); }
static bool device_unified(Object*, Selector) { return true; }
static uint64_t device_memory(Object*, Selector) { return uint64_t(8) << 30; }
static uint64_t device_largest(Object*, Selector) { return uint64_t(4) << 30; }
static Queue* device_queue(Object*, Selector) { return fails("queue") ? nullptr : new Queue; }
static Class* device_class() {
	static Class* c = new Class("StandinDevice", root(), meta(), {
		METHOD("name", device_name, "@16@0:8"),
		METHOD("supportsFamily:", device_family, "B24@0:8q16"),
		METHOD("hasUnifiedMemory", device_unified, "B16@0:8"),
		METHOD("recommendedMaxWorkingSetSize", device_memory, "Q16@0:8"),
		METHOD("maxBufferLength", device_largest, "Q16@0:8"),
		METHOD("newCommandQueue", device_queue, "@16@0:8"),
		METHOD("newBufferWithLength:options:", device_buffer, "@32@0:8Q16Q24"),
		METHOD("newBufferWithBytesNoCopy:length:options:deallocator:", device_buffer_no_copy, "@48@0:8^v16Q24Q32@?40"),
		METHOD("newLibraryWithSource:options:error:", device_library, "@40@0:8@16@24^@32"),
		METHOD("newComputePipelineStateWithFunction:error:", device_pipeline, "@32@0:8@16^@24"),
	});
	return c;
}

struct Array : Object {
	std::vector<Object*> all;
	Array();
	~Array() { for (Object* o : all) release(o); }
};
static uint64_t array_count(Array* a, Selector) { return a->all.size(); }
static Object* array_at(Array* a, Selector, uint64_t i) {
	if (i < a->all.size()) return a->all[i];
	report("-[NSArray objectAtIndex:] %lu of %zu", i, a->all.size());
	return nullptr;
}
static Class* array_class() {
	static Class* c = new Class("NSArray", root(), meta(), {
		METHOD("count", array_count, "Q16@0:8"),
		METHOD("objectAtIndex:", array_at, "@24@0:8Q16"),
	});
	return c;
}
Array::Array() : Object(array_class()) {}

EXPORT Object* MTLCreateSystemDefaultDevice() { return fails("default device") ? nullptr : new Object(device_class()); }
EXPORT Object* MTLCopyAllDevices() {
	Array* a = new Array;
	if (!fails("all devices")) a->all.push_back(new Object(device_class()));
	return a;
}

struct Prepare {
	Prepare() { options_class(); }
} prepared;
}  // namespace standin
