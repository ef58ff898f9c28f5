package main

import "testing"

func TestBare(t *testing.T) {
	const made = `//
	// begin inline asm
	// after earlier
	// end inline asm
.version 8.0
.global .align 8 .u64 _ZN43_INTERNAL_00000000_7_lstm_cu_229caa3a_309132nv6target6detail9all_hostsE = 1;
.global .align 4 .u32 _ZN43_INTERNAL_00000000_7_lstm_cu_229caa3a_309132mk8ACT_GELUE = 1; // 1

	ld.u32 %r1, [_ZN43_INTERNAL_00000000_7_lstm_cu_229caa3a_309132mk8ACT_GELUE];
	.shared .b8 _ZZN43_INTERNAL_00000000_7_lstm_cu_229caa3a_309132mk4bodyE[4];
`
	const want = `	// after earlier
.version 8.0
.global .align 4 .u32 _ZN4file2mk8ACT_GELUE = 1;
	ld.u32 %r1, [_ZN4file2mk8ACT_GELUE];
	.shared .b8 _ZZN4file2mk4bodyE[4];
`
	if got := bare(made); got != want {
		t.Errorf("got %q", got)
	}
}
