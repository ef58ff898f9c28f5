//go:build linux || darwin

#include "textflag.h"

GLOBL ·trampolineABI0(SB), NOPTR|RODATA, $8
DATA ·trampolineABI0(SB)/8, $trampoline(SB)

// trampoline is called by the runtime on a system stack by C's rules, with a *Call in DI.
TEXT trampoline(SB), NOSPLIT|NOFRAME, $0
	PUSHQ BX
	SUBQ  $48, SP
	MOVQ  DI, BX

	// Structs by value, if the function takes any; it does no harm otherwise.
	MOVUPS 72(BX), X0
	MOVUPS X0, 0(SP)
	MOVUPS 88(BX), X0
	MOVUPS X0, 16(SP)
	MOVUPS 104(BX), X0
	MOVUPS X0, 32(SP)

	MOVQ  0(BX), R11
	MOVQ  24(BX), DI
	MOVQ  32(BX), SI
	MOVQ  40(BX), DX
	MOVQ  48(BX), CX
	MOVQ  56(BX), R8
	MOVQ  64(BX), R9
	XORL  AX, AX     // no vector registers, should the function be variadic
	CALL  R11
	MOVQ  AX, 8(BX)
	MOVSD X0, 16(BX)
	ADDQ  $48, SP
	POPQ  BX
	RET
