// As much of the Objective-C runtime as the Metal driver calls: classes with type encodings, messages, reference counts,
// autorelease pools of a thread. What would be undefined on a Mac is reported: unknown selectors, messages to freed
// objects, too many releases, autorelease without a pool.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace standin {
typedef const char* Selector;
typedef void (*Implementation)();

struct Method {
	const char* name;
	Implementation call;
	const char* encoding;
};

struct Class;

struct Object {
	Class* isa;
	std::atomic<long> count{1};
	explicit Object(Class*);
	virtual ~Object();
};

struct Class : Object {
	const char* name;
	Class* super;
	std::map<Selector, Method*> methods;
	Class(const char* name, Class* super, Class* meta, std::vector<Method> methods);
};

// report notes a misuse. Without someone who collects reports, it ends the process with the text.
void report(const char* format, ...) __attribute__((format(printf, 1, 2)));

void retain(Object*);
void release(Object*);
void autorelease(Object*);
template <class T> T* autoreleased(T* o) {
	if (o) autorelease(o);
	return o;
}

struct String : Object {
	std::string text;
	explicit String(const std::string& text);
};
struct Error : Object {
	std::string text;
	int64_t code;
	explicit Error(const std::string& text, int64_t code = 0);
};

Class* root();
}  // namespace standin

#define METHOD(name, f, encoding) standin::Method{name, reinterpret_cast<standin::Implementation>(f), encoding}
