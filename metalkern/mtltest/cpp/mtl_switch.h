// Changes from one stack to another: saves what the calling convention asks a function to keep, and nothing else.
#pragma once
#include <cstring>

extern "C" void mk_switch(void** save, void* load);

#if defined(__x86_64__)
__asm__(".text\n.p2align 4\n.globl mk_switch\n.hidden mk_switch\n.type mk_switch,@function\nmk_switch:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\n"
	"pop %rcx\njmp *%rcx\n");  // not ret: the processor foretells it from calls of another stack

// mk_first_frame makes a stack from which mk_switch returns into entry.
static inline void* mk_first_frame(char* top, void (*entry)()) {
	void** sp = reinterpret_cast<void**>(top - 64);
	*--sp = nullptr;  // where entry would return to; also what keeps its stack aligned
	*--sp = reinterpret_cast<void*>(entry);
	for (int i = 0; i < 6; i++) *--sp = nullptr;
	return sp;
}
#elif defined(__aarch64__)
__asm__(".text\n.p2align 4\n.globl mk_switch\n.hidden mk_switch\n.type mk_switch,%function\nmk_switch:\n"
	"sub sp,sp,#160\n"
	"stp x19,x20,[sp]\nstp x21,x22,[sp,#16]\nstp x23,x24,[sp,#32]\nstp x25,x26,[sp,#48]\nstp x27,x28,[sp,#64]\nstp x29,x30,[sp,#80]\n"
	"stp d8,d9,[sp,#96]\nstp d10,d11,[sp,#112]\nstp d12,d13,[sp,#128]\nstp d14,d15,[sp,#144]\n"
	"mov x9,sp\nstr x9,[x0]\nmov sp,x1\n"
	"ldp x19,x20,[sp]\nldp x21,x22,[sp,#16]\nldp x23,x24,[sp,#32]\nldp x25,x26,[sp,#48]\nldp x27,x28,[sp,#64]\nldp x29,x30,[sp,#80]\n"
	"ldp d8,d9,[sp,#96]\nldp d10,d11,[sp,#112]\nldp d12,d13,[sp,#128]\nldp d14,d15,[sp,#144]\n"
	"add sp,sp,#160\nret\n");

static inline void* mk_first_frame(char* top, void (*entry)()) {
	char* sp = top - 64 - 160;
	memset(sp, 0, 160);
	void* address = reinterpret_cast<void*>(entry);
	memcpy(sp + 88, &address, sizeof address);  // x30
	return sp;
}
#else
#error "fibers are written for x86-64 and arm64"
#endif
