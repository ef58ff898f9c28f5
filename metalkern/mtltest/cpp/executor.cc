// Runs command buffers in their order, dispatches between two barriers in any order, and the threadgroups of a dispatch on
// all processors. The seed that mtltest_seed sets decides the orders; the same seed gives the same orders.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <thread>
#include "metal.h"

namespace standin {
static std::atomic<uint64_t> seed{0};
EXPORT void mtltest_seed(uint64_t s) { seed = s; }

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// A Crew of threads takes the threadgroups of one dispatch, a few at a time.
class Crew {
public:
	Crew() {
		unsigned helpers = std::max(1u, std::thread::hardware_concurrency()) - 1;
		for (unsigned i = 0; i < helpers; i++) std::thread([this] { help(); }).detach();
		count = helpers;
	}

	bool run(const mk_kernel* kernel, const mk_launch& launch, std::string& failure) {
		uint64_t groups = launch.to;
		this->kernel = kernel;
		this->launch = &launch;
		taken = 0;
		failed = false;
		uint64_t threads = uint64_t(launch.threads[0]) * launch.threads[1] * launch.threads[2];
		if (groups < 4 || groups * threads < 1024 || count == 0) {
			chunk = groups;
			take();
		} else {
			chunk = std::max<uint64_t>(1, groups / (8 * (count + 1)));
			{
				std::lock_guard<std::mutex> guard(lock);
				working = count;
				round++;
			}
			wake.notify_all();
			take();
			std::unique_lock<std::mutex> guard(lock);
			idle.wait(guard, [this] { return working == 0; });
		}
		failure = text;
		return !failed;
	}

private:
	std::mutex lock;
	std::condition_variable wake, idle;
	unsigned count = 0, working = 0;
	uint64_t round = 0;
	const mk_kernel* kernel = nullptr;
	const mk_launch* launch = nullptr;
	std::atomic<uint64_t> taken{0};
	uint64_t chunk = 1;
	std::atomic<bool> failed{false};
	std::string text;

	void take() {
		mk_launch mine = *launch;
		for (;;) {
			mine.from = taken.fetch_add(chunk);
			mine.to = std::min(mine.from + chunk, launch->to);
			if (mine.from >= launch->to || failed) return;
			if (kernel->run(&mine) && !failed.exchange(true)) text = mine.error;
		}
	}

	void help() {
		uint64_t seen = 0;
		for (;;) {
			{
				std::unique_lock<std::mutex> guard(lock);
				wake.wait(guard, [&] { return round != seen; });
				seen = round;
			}
			take();
			std::lock_guard<std::mutex> guard(lock);
			if (--working == 0) idle.notify_one();
		}
	}
};

static bool execute(Command& c, uint64_t order, std::string& failure) {
	static Crew* crew = new Crew;
	mk_launch launch = {};
	for (auto& b : c.bindings) launch.buffer[b.first] = b.second.buffer ? b.second.buffer->memory + b.second.offset : b.second.bytes.data();
	memcpy(launch.groups, c.groups, sizeof c.groups);
	memcpy(launch.threads, c.threads, sizeof c.threads);
	launch.seed = order;
	launch.to = uint64_t(c.groups[0]) * c.groups[1] * c.groups[2];
	if (!crew->run(c.pipeline->kernel, launch, failure)) {
		failure = std::string(c.pipeline->kernel->name) + ": " + failure;
		return false;
	}
	for (auto& b : c.bindings)
		if (b.second.buffer && !b.second.buffer->intact()) report("%s wrote behind the end of its buffer %d", c.pipeline->kernel->name, b.first);
	return true;
}

// reachable looks for memory that was unmapped while the GPU still uses it.
static bool reachable(const std::vector<Command*>& stretch, std::string& failure) {
	for (Command* c : stretch)
		for (auto& b : c->bindings)
			if (b.second.buffer && !b.second.buffer->there()) {
				failure = std::string(c->pipeline->kernel->name) + ": the memory of buffer " + std::to_string(b.first) + " is not mapped";
				report("%s", failure.c_str());
				return false;
			}
	return true;
}

static bool execute(CommandBuffer* cb, std::string& failure) {
	std::vector<Command*> stretch;
	uint64_t order = seed;
	auto flush = [&] {
		if (!reachable(stretch, failure)) return false;
		record(stretch);
		for (size_t i = stretch.size(); order && i > 1; i--) {
			order = order * 6364136223846793005ull + 1442695040888963407ull;
			std::swap(stretch[i - 1], stretch[(order >> 33) % i]);
		}
		for (Command* c : stretch)
			if (!execute(*c, order, failure)) return false;
		stretch.clear();
		return true;
	};
	for (Command& c : cb->commands) {
		if (c.pipeline) stretch.push_back(&c);
		else if (!flush()) return false;
	}
	return flush();
}

// attempt executes, unless a test asked for a failure: of this command buffer, or of all from it on in its queue.
static bool attempt(CommandBuffer* cb) {
	if (cb->queue->ignores) {
		cb->failure = "Ignored (for causing prior/excessive GPU errors)";
		return false;
	}
	cb->queue->ignores = fails("execution for good");
	if (fails("out of memory")) {
		cb->failure = "Insufficient Memory";
		cb->code = out_of_memory;
		return false;
	}
	if (cb->queue->ignores || fails("execution")) {
		cb->failure = "the execution was made to fail";
		return false;
	}
	return execute(cb, cb->failure);
}

static void finish(CommandBuffer* cb) {
	cb->start = now();
	bool good = attempt(cb);
	{
		std::lock_guard<std::mutex> guard(cb->lock);
		cb->end = now();
		cb->status = good ? completed : error;
		cb->changed.notify_all();
	}
	release(cb);
}

struct Line {
	std::mutex lock;
	std::condition_variable changed;
	std::deque<CommandBuffer*> waiting;
	Line() {
		std::thread([this] {
			for (;;) {
				std::unique_lock<std::mutex> guard(lock);
				changed.wait(guard, [this] { return !waiting.empty(); });
				CommandBuffer* cb = waiting.front();
				waiting.pop_front();
				guard.unlock();
				finish(cb);
			}
		}).detach();
	}
};

void submit(CommandBuffer* cb) {
	static Line* line = new Line;
	retain(cb);
	std::lock_guard<std::mutex> guard(line->lock);
	line->waiting.push_back(cb);
	line->changed.notify_one();
}
}  // namespace standin
