package audio

// Whatever the bytes: no panic, memory in proportion to the file, and an Info that the samples bear out.

import (
	"bytes"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func FuzzWAV(f *testing.F) {
	data := chunkLE("data", packLE(2, 1, 2, 3, 4, 5, 6, 7, 8))
	f.Add(riff(fmtChunk(1, 2, 44100, 2, 16), data))
	f.Add(riff(extensible(3, 1, 48000, 4, 32), data))
	f.Add(riff(chunkLE("LIST", []byte("INFOodd")), fmtChunk(3, 1, 8000, 8, 64), data))
	f.Add(join("RF64", le32(-1), "WAVE", chunkLE("ds64", make([]byte, 28)), fmtChunk(1, 1, 8000, 3, 24), "data", le32(-1), make([]byte, 9)))
	f.Add(join("RIFF", le32(-1), "WAVE", fmtChunk(1, 1, 8000, 1, 8), "data", le32(-1), make([]byte, 9)))
	f.Fuzz(check)
}

func FuzzAIFF(f *testing.F) {
	for _, kind := range []string{"", "NONE", "sowt", "fl32", "FL64", "in24", "ulaw"} {
		f.Add(aiff(kind, 2, 16, 44100, 8, make([]byte, 64)))
	}
	f.Fuzz(check)
}

func FuzzFLAC(f *testing.F) {
	for _, format := range []Format{{Bits: "16", Rate: 8000, Channels: 1}, {Bits: "24", Rate: 44100, Channels: 2}} {
		_, x := integers(16, 200)
		f.Add(makeFLAC(f, format, x))
		f.Add(makeFLAC(f, format, append(sine(100, 0.5, 8000, 9000), make([]float32, 5000)...)))
	}
	f.Fuzz(check)
}

func check(t *testing.T, file []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		runtime.ReadMemStats(&after)
		// A FLAC frame of a few bytes may stand for 65535 silent frames of 8 channels, and be met more than once.
		limit := uint64(64<<20) + 200_000*uint64(len(file))
		if used := after.TotalAlloc - before.TotalAlloc; used > limit {
			t.Errorf("%d bytes of input made %d MB of allocations", len(file), used>>20)
		}
	}()
	in := bytes.NewReader(file)
	info, src, err := open(in, int64(len(file)))
	if err != nil {
		return
	}
	if info.Frames < 1 || checkShape(info.Rate, info.Channels) != nil || info.Encoding == "" {
		t.Fatalf("opened with %+v", info)
	}
	n := min(info.Frames, 10000)
	count := func(from, n int64) (frames int64, err error) {
		err = src.blocks(from, n, func(block []float32) error {
			if len(block)%info.Channels != 0 || len(block) == 0 {
				t.Fatalf("block of %d samples in %d channels", len(block), info.Channels)
			}
			frames += int64(len(block) / info.Channels)
			return nil
		})
		return frames, err
	}
	for _, from := range []int64{0, info.Frames - n} {
		if got, err := count(from, n); err == nil && got != n {
			t.Fatalf("window of %d frames at %d gave %d", n, from, got)
		} else if err != nil && info.Format != "flac" { // only FLAC can be damaged inside
			t.Fatalf("window of %d frames at %d of %+v: %v", n, from, info, err)
		}
	}
}

// Whatever a host sends as a path: an error, or a clean absolute path that resolves to itself.
func FuzzResolvePath(f *testing.F) {
	for _, p := range []string{"/a//b/../c.wav", "../a", "~", "~/x", "file:///a/b%20c", "FILE://LOCALHOST/a", "file:/%2e%2e/x", "Macintosh HD:/x", "Samples 2:/../x", "C:/x", "file:///~/x", "file:///a://b", "\x00"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, err := ResolvePath(p, filepath.FromSlash("/work dir"), filepath.FromSlash("/home/zoë"))
		if err != nil {
			return
		}
		if !filepath.IsAbs(got) || filepath.Clean(got) != got || strings.ContainsRune(got, 0) {
			t.Errorf("%q: got %q", p, got)
		}
	})
}
