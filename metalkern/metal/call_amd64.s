//go:build darwin || linux

#include "textflag.h"

// callCode takes a *frame in DI, as C passes it, on the system's stack. Offsets are those of frame in call.go.
GLOBL ·callC(SB), NOPTR|RODATA, $8
DATA ·callC(SB)/8, $callCode(SB)

TEXT callCode(SB), NOSPLIT|NOFRAME, $0
	PUSHQ BX
	SUBQ  $48, SP
	MOVQ  DI, BX

	// Two structs by value, if the function takes them; it does no harm otherwise.
	MOVQ 88(BX), AX
	MOVQ AX, 0(SP)
	MOVQ 96(BX), AX
	MOVQ AX, 8(SP)
	MOVQ 104(BX), AX
	MOVQ AX, 16(SP)
	MOVQ 112(BX), AX
	MOVQ AX, 24(SP)
	MOVQ 120(BX), AX
	MOVQ AX, 32(SP)
	MOVQ 128(BX), AX
	MOVQ AX, 40(SP)

	MOVQ  0(BX), R11
	MOVQ  24(BX), DI
	MOVQ  32(BX), SI
	MOVQ  40(BX), DX
	MOVQ  48(BX), CX
	MOVQ  56(BX), R8
	MOVQ  64(BX), R9
	XORL  AX, AX
	CALL  R11
	MOVQ  AX, 8(BX)
	MOVSD X0, 16(BX)
	ADDQ  $48, SP
	POPQ  BX
	RET
