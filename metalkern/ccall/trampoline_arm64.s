//go:build linux || darwin

#include "textflag.h"

GLOBL ·trampolineABI0(SB), NOPTR|RODATA, $8
DATA ·trampolineABI0(SB)/8, $trampoline(SB)

// trampoline is called by the runtime on a system stack by C's rules, with a *Call in R0.
TEXT trampoline(SB), NOSPLIT|NOFRAME, $0
	STP.W (R19, R30), -16(RSP)
	MOVD  R0, R19
	MOVD  0(R19), R16
	LDP   24(R19), (R0, R1)
	LDP   40(R19), (R2, R3)
	LDP   56(R19), (R4, R5)
	CALL  (R16)
	MOVD  R0, 8(R19)
	FMOVD F0, 16(R19)
	LDP.P 16(RSP), (R19, R30)
	RET
