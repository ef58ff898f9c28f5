//go:build linux || darwin

#include "textflag.h"

GLOBL ·trampolineABI0(SB), NOPTR|RODATA, $8
DATA ·trampolineABI0(SB)/8, $trampoline(SB)

// trampoline is called by the runtime on a system stack by C's rules, with a *Call in DI.
TEXT trampoline(SB), NOSPLIT|NOFRAME, $0
	PUSHQ BX
	MOVQ  DI, BX
	MOVQ  0(BX), R11
	MOVQ  16(BX), DI
	MOVQ  24(BX), SI
	MOVQ  32(BX), DX
	MOVQ  40(BX), CX
	MOVQ  48(BX), R8
	MOVQ  56(BX), R9
	XORL  AX, AX     // no vector registers, should the function be variadic
	CALL  R11
	MOVQ  AX, 8(BX)
	POPQ  BX
	RET
