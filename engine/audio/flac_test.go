package audio

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// makeFLAC writes samples as FLAC and returns the file.
func makeFLAC(t testing.TB, f Format, samples []float32) []byte {
	t.Helper()
	f.Container = "flac"
	path := filepath.Join(t.TempDir(), "a.flac")
	w, err := Create(path, f, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(samples, false); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestFLACRoundTrip(t *testing.T) {
	for _, c := range []struct {
		bits           string
		channels, rate int
	}{{"16", 1, 44100}, {"16", 2, 48000}, {"24", 2, 96000}, {"24", 8, 32000}, {"16", 3, 8000}, {"24", 1, 44101},
		{"16", 2, 65537}, {"24", 2, 383999}, {"16", 1, 384000}} {
		for _, frames := range []int{1, 2, 5, 15, 17, 4095, 4096, 4097, 30000} {
			bits := int(c.bits[0]-'0')*10 + int(c.bits[1]-'0')
			_, want := integers(bits, frames*c.channels)
			copy(want[len(want)/2:], sine(300, 0.5, c.rate, len(want)/4)) // part noise, part predictable, part rounded
			f := Format{Bits: c.bits, Rate: c.rate, Channels: c.channels}
			r := mustOpen(t, write(t, "a.flac", makeFLAC(t, f, want)))
			info := r.Info()
			if info.Bits != c.bits || info.Rate != c.rate || info.Channels != c.channels || info.Frames != int64(frames) || info.Warnings != nil {
				t.Fatalf("%+v × %d: %+v", c, frames, info)
			}
			got := mustRead(t, r, 0, int64(frames))
			again := mustRead(t, mustOpen(t, write(t, "b.flac", makeFLAC(t, f, got))), 0, int64(frames))
			if !slices.Equal(got, again) || !slices.Equal(got[:len(want)/2], want[:len(want)/2]) {
				t.Fatalf("%+v × %d: samples differ", c, frames)
			}
		}
	}
}

// TestFLACWindows reads windows all over a file long enough for the bisection, in forms that make the header useless.
func TestFLACWindows(t *testing.T) {
	_, want := integers(16, 2*300000)
	plain := makeFLAC(t, Format{Bits: "16", Rate: 44100, Channels: 2}, want)
	unknown := bytes.Clone(plain)
	unknown[21] &= 0xf0 // the 36 bits of the length
	clear(unknown[22:26])
	tagged := join("ID3\x04\x00\x00\x00\x00\x01\x00", make([]byte, 128), plain, "TAG", make([]byte, 125))
	for name, file := range map[string][]byte{"plain": plain, "no length": unknown, "tags around": tagged} {
		r := mustOpen(t, write(t, "a.flac", file))
		if info := r.Info(); info.Frames != 300000 || info.Warnings != nil {
			t.Fatalf("%s: %+v", name, info)
		}
		for _, w := range [][2]int64{{0, 1}, {0, 4096}, {4095, 2}, {4096, 4096}, {123456, 7890}, {299999, 1}, {290000, 10000}, {300000, 0}} {
			if got := mustRead(t, r, w[0], w[1]); !slices.Equal(got, want[2*w[0]:2*(w[0]+w[1])]) {
				t.Errorf("%s: window %v differs", name, w)
			}
		}
	}
}

func TestFLACDamaged(t *testing.T) {
	_, want := integers(16, 2*100000)
	good := makeFLAC(t, Format{Bits: "16", Rate: 44100, Channels: 2}, want)
	cut := mustOpen(t, write(t, "cut.flac", good[:len(good)*2/3]))
	info := cut.Info()
	if info.Frames%flacBlock != 0 || info.Frames < 60000 || info.Frames > 67000 ||
		len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], fmt.Sprintf("truncated: %d of 100000", info.Frames)) {
		t.Errorf("cut: %+v", info)
	}
	if got := mustRead(t, cut, info.Frames-9000, 9000); !slices.Equal(got, want[2*(info.Frames-9000):2*info.Frames]) {
		t.Error("cut: samples differ")
	}
	hurt := bytes.Clone(good)
	hurt[len(hurt)/2] ^= 0x55
	r := mustOpen(t, write(t, "hurt.flac", hurt))
	if _, err := r.Read(0, 100000); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damage in the window: %v", err)
	}
	mustRead(t, r, 80000, 20000) // damage elsewhere does not matter
	for _, n := range []int{4, 20, 42, 50, 5000} {
		if _, err := Open(write(t, "stub.flac", good[:n])); err == nil {
			t.Errorf("a stub of %d bytes was opened", n)
		}
	}
}

// TestFLACPiece cuts frames out of a stream, so that positions do not begin at 0.
func TestFLACPiece(t *testing.T) {
	_, want := integers(16, 50000)
	good := makeFLAC(t, Format{Bits: "16", Rate: 44100, Channels: 1}, want)
	_, src, err := openFLAC(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := src.(*flacSource).find(3 * flacBlock)
	if err != nil {
		t.Fatal(err)
	}
	piece := join(good[:42], good[f.offset:])
	r := mustOpen(t, write(t, "piece.flac", piece))
	n := int64(50000 - 3*flacBlock)
	if r.Info().Frames != n {
		t.Fatalf("info: %+v, want %d frames", r.Info(), n)
	}
	if got := mustRead(t, r, 0, n); !slices.Equal(got, want[3*flacBlock:]) {
		t.Error("samples differ")
	}
}
