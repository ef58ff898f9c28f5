package main

import (
	"bytes"
	"io/fs"
	"math"
	"testing"

	"segue/weights"
	"segue/weights/bundled"
)

// The stored model is what the program makes, byte for byte, and small enough to carry.
func TestBundledIsFresh(t *testing.T) {
	made, err := files("../../testdata/goldens/mono/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for name, want := range made {
		got, err := fs.ReadFile(bundled.FS(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what scripts/bundled makes: run make generate", name)
		}
		total += len(got)
	}
	if total > 4<<20 {
		t.Errorf("bundled model: %d bytes, want at most 4 MiB", total)
	}
}

// half is the inverse of the widening for every finite value, and rounds to the nearest between them.
func TestHalf(t *testing.T) {
	for bits := range uint16(0x7c00) {
		for _, h := range []uint16{bits, bits | 0x8000} {
			if got := half(float64(weights.F16ToF32(h))); got != h {
				t.Fatalf("half(%g): got %#x, want %#x", weights.F16ToF32(h), got, h)
			}
		}
	}
	for _, c := range []struct {
		x    float64
		want uint16
	}{
		{1 + 1.0/2048, 0x3c00},          // a tie goes to the even neighbour below
		{1 + 3.0/2048, 0x3c02},          // and above
		{math.Nextafter(2, 0), 0x4000},  // a carry raises the exponent
		{math.Ldexp(1, -25), 0x0000},    // half the smallest: a tie
		{math.Ldexp(1.01, -25), 0x0001}, // a little more is the smallest
	} {
		if got := half(c.x); got != c.want {
			t.Errorf("half(%g): got %#x, want %#x", c.x, got, c.want)
		}
	}
}
