//go:build darwin || linux

#include "textflag.h"

// callCode takes a *frame in R0, as C passes it, on the system's stack. Offsets are those of frame in call.go.
GLOBL ·callC(SB), NOPTR|RODATA, $8
DATA ·callC(SB)/8, $callCode(SB)

TEXT callCode(SB), NOSPLIT|NOFRAME, $0
	STP.W (R19, R30), -16(RSP)
	MOVD  R0, R19
	MOVD  0(R19), R16
	LDP   24(R19), (R0, R1)
	LDP   40(R19), (R2, R3)
	LDP   56(R19), (R4, R5)
	LDP   72(R19), (R6, R7)
	CALL  (R16)
	MOVD  R0, 8(R19)
	FMOVD F0, 16(R19)
	LDP.P 16(RSP), (R19, R30)
	RET
