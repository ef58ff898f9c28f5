package weights

import (
	"math"
	"testing"
)

// Every half survives the trip through float32, and values between two halves go to the nearer, ties to the even one.
func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := F16ToF32(uint16(h))
		if f != f {
			if got := F32ToF16(f); got&0x7c00 != 0x7c00 || got&0x3ff == 0 {
				t.Fatalf("NaN %#x became %#x", h, got)
			}
			continue
		}
		if got := F32ToF16(f); got != uint16(h) {
			t.Fatalf("%#x became %g became %#x", h, f, got)
		}
		if h&0x7fff >= 0x7bff {
			continue
		}
		next := F16ToF32(uint16(h + 1))
		middle := f + (next-f)/2 // exact: a half has 11 bits
		for _, c := range []struct {
			value float32
			want  int
		}{{middle, h + h&1}, {math.Nextafter32(middle, f), h}, {math.Nextafter32(middle, next), h + 1}} {
			if got := F32ToF16(c.value); got != uint16(c.want) {
				t.Fatalf("%g: got %#x, want %#x", c.value, got, c.want)
			}
		}
	}
	if F32ToF16(65520) != 0x7c00 || F32ToF16(65519.996) != 0x7bff || F32ToF16(float32(math.Inf(-1))) != 0xfc00 {
		t.Error("the largest half is where infinity begins")
	}
}
