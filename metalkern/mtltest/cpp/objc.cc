// The runtime of objc.h.
#include "objc.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>

namespace standin {
static std::mutex names_lock;
static std::map<std::string, Selector>& selectors() { static auto* all = new std::map<std::string, Selector>; return *all; }
static std::map<std::string, Class*>& classes() { static auto* all = new std::map<std::string, Class*>; return *all; }

static std::mutex reports_lock;
static std::vector<std::string>& reports() { static auto* all = new std::vector<std::string>; return *all; }
static bool collecting;

void report(const char* format, ...) {
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	std::lock_guard<std::mutex> lock(reports_lock);
	if (!collecting) {
		fprintf(stderr, "stand-in for Metal: %s\n", text);
		abort();
	}
	reports().push_back(text);
}

EXPORT void mtltest_collect() { collecting = true; }

// mtltest_reports moves the reports so far, a line each, to text, which has room for size bytes.
EXPORT long mtltest_reports(char* text, long size) {
	std::lock_guard<std::mutex> lock(reports_lock);
	std::string all;
	for (auto& r : reports()) all += r + "\n";
	reports().clear();
	snprintf(text, size_t(size), "%s", all.c_str());
	return long(all.size());
}

static std::atomic<long> live{0};
EXPORT long mtltest_live() { return live; }

Object::Object(Class* isa) : isa(isa) { live++; }
Object::~Object() { live--; }

static Class* meta_root() {
	static Class* meta = new Class("NSObject", nullptr, nullptr, {});
	return meta;
}

EXPORT Selector sel_registerName(const char* name) {
	std::lock_guard<std::mutex> lock(names_lock);
	auto at = selectors().find(name);
	if (at == selectors().end()) at = selectors().emplace(name, strdup(name)).first;
	return at->second;
}

Class::Class(const char* name, Class* super, Class* meta, std::vector<Method> all) : Object(meta), name(name), super(super) {
	live--;  // classes live for ever
	for (auto& m : all) methods[sel_registerName(m.name)] = new Method(m);
	if (meta) {
		std::lock_guard<std::mutex> lock(names_lock);
		classes()[name] = this;
	}
}

EXPORT void* objc_getClass(const char* name) {
	std::lock_guard<std::mutex> lock(names_lock);
	auto at = classes().find(name);
	return at == classes().end() ? nullptr : at->second;
}
EXPORT Class* object_getClass(Object* o) { return o ? o->isa : nullptr; }

static Method* find(Class* c, Selector s) {
	for (; c; c = c->super) {
		auto at = c->methods.find(s);
		if (at != c->methods.end()) return at->second;
	}
	return nullptr;
}
EXPORT Method* class_getInstanceMethod(Class* c, Selector s) {
	if (!s) report("class_getInstanceMethod: no selector");
	return c ? find(c, s) : nullptr;
}
EXPORT const char* method_getTypeEncoding(Method* m) { return m->encoding; }

// Freed objects keep their place for a while, with a class that says what they were.
static Class* freed() {
	static Class* c = new Class("freed object", nullptr, meta_root(), {});
	return c;
}

static uintptr_t nothing() { return 0; }
EXPORT Implementation standin_lookup(Object* o, Selector s) {
	if (Method* m = find(o->isa, s)) return m->call;
	report("-[%s %s]: no such method", o->isa->name, s);
	return reinterpret_cast<Implementation>(nothing);
}

void retain(Object* o) { o->count++; }

void release(Object* o) {
	if (o->isa == freed()) return report("release of a freed object");
	long left = --o->count;
	if (left > 0) return;
	static std::mutex lock;
	static std::deque<void*> graves;
	void* place = o;
	o->~Object();
	new (place) Object(freed());
	live--;
	std::lock_guard<std::mutex> guard(lock);
	graves.push_back(place);
	if (graves.size() > 4096) {
		free(graves.front());
		graves.pop_front();
	}
}

static thread_local std::vector<std::vector<Object*>> pools;

EXPORT void* objc_autoreleasePoolPush() {
	pools.emplace_back();
	return reinterpret_cast<void*>(pools.size());
}

EXPORT void objc_autoreleasePoolPop(void* pool) {
	size_t depth = reinterpret_cast<size_t>(pool);
	if (depth == 0 || depth > pools.size()) return report("objc_autoreleasePoolPop of a pool that this thread does not have");
	while (pools.size() >= depth) {
		auto objects = std::move(pools.back());
		pools.pop_back();
		for (Object* o : objects) release(o);
	}
}

void autorelease(Object* o) {
	if (pools.empty()) return report("%s autoreleased without a pool: it leaks", o->isa->name);
	pools.back().push_back(o);
}

static Object* object_retain(Object* o, Selector) { retain(o); return o; }
static Object* object_init(Object* o, Selector) { return o; }
static void object_release(Object* o, Selector) { release(o); }
static bool object_responds(Object* o, Selector, Selector s) { return find(o->isa, s) != nullptr; }

Class* root() {
	static Class* c = new Class("NSObject", nullptr, meta_root(), {
		METHOD("init", object_init, "@16@0:8"),
		METHOD("retain", object_retain, "@16@0:8"),
		METHOD("release", object_release, "v16@0:8"),
		METHOD("respondsToSelector:", object_responds, "B24@0:8:16"),
	});
	return c;
}

static String* string_make(Object*, Selector, const char* text, uint64_t encoding) {
	if (encoding != 4) report("+[NSString stringWithCString:encoding:]: got encoding %lu, want 4 (UTF-8)", encoding);
	return autoreleased(new String(text));
}
static const char* string_utf8(String* s, Selector) { return s->text.c_str(); }
static String* error_description(Error* e, Selector) { return autoreleased(new String(e->text)); }
static int64_t error_code(Error* e, Selector) { return e->code; }

static Class* string_class() {
	static Class* meta = new Class("NSString", nullptr, nullptr, {METHOD("stringWithCString:encoding:", string_make, "@32@0:8r*16Q24")});
	static Class* c = new Class("NSString", root(), meta, {METHOD("UTF8String", string_utf8, "r*16@0:8")});
	return c;
}
static Class* error_class() {
	static Class* c = new Class("NSError", root(), meta_root(), {
		METHOD("localizedDescription", error_description, "@16@0:8"),
		METHOD("code", error_code, "q16@0:8"),
	});
	return c;
}
String::String(const std::string& text) : Object(string_class()), text(text) {}
Error::Error(const std::string& text, int64_t code) : Object(error_class()), text(text), code(code) {}

struct Register {
	Register() { string_class(); error_class(); }
} registered;
}  // namespace standin

// objc_msgSend finds the method and jumps to it with all argument registers as they were. A message to nil returns 0.
#if defined(__x86_64__)
__asm__(".text\n.p2align 4\n.globl objc_msgSend\n.type objc_msgSend,@function\nobjc_msgSend:\n"
	"test %rdi,%rdi\njz 1f\n"
	"push %rdi\npush %rsi\npush %rdx\npush %rcx\npush %r8\npush %r9\nsub $8,%rsp\ncall standin_lookup@PLT\nadd $8,%rsp\n"
	"pop %r9\npop %r8\npop %rcx\npop %rdx\npop %rsi\npop %rdi\njmp *%rax\n"
	"1: xor %eax,%eax\nxor %edx,%edx\nxorps %xmm0,%xmm0\nret\n");
#elif defined(__aarch64__)
__asm__(".text\n.p2align 4\n.globl objc_msgSend\n.type objc_msgSend,%function\nobjc_msgSend:\n"
	"cbz x0,1f\n"
	"stp x29,x30,[sp,#-80]!\nstp x0,x1,[sp,#16]\nstp x2,x3,[sp,#32]\nstp x4,x5,[sp,#48]\nstp x6,x7,[sp,#64]\nbl standin_lookup\nmov x16,x0\n"
	"ldp x0,x1,[sp,#16]\nldp x2,x3,[sp,#32]\nldp x4,x5,[sp,#48]\nldp x6,x7,[sp,#64]\nldp x29,x30,[sp],#80\nbr x16\n"
	"1: mov x1,#0\nfmov d0,xzr\nret\n");
#endif
