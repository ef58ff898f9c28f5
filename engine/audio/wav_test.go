package audio

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestWAVKinds(t *testing.T) {
	unsigned := func(ints []int) []int {
		out := slices.Clone(ints)
		for i := range out {
			out[i] += 128
		}
		return out
	}
	shifted := func(ints []int, by int) []int {
		out := slices.Clone(ints)
		for i := range out {
			out[i] <<= by
		}
		return out
	}
	i8, f8 := integers(8, 30)
	i12, f12 := integers(12, 30)
	i16, f16 := integers(16, 30)
	i20, f20 := integers(20, 30)
	i24, f24 := integers(24, 30)
	i32, f32 := integers(32, 30)
	float := []float32{0, 0.25, -1, 1.5, 1e-30, -0.1}
	double := []float64{0, 0.25, -1, 1.5, 0.1, -0.1}
	halfs := []float32{0, 0.25, -1, 1.5, float32(0.1), float32(-0.1)}
	junk := chunkLE("JUNK", make([]byte, 28))
	odd := chunkLE("LIST", []byte("INFOx"))
	pcm16 := fmtChunk(1, 2, 44100, 2, 16)
	cases := []struct {
		name     string
		file     []byte
		want     []float32
		channels int
		encoding string
		bits     string
	}{
		{"8", riff(fmtChunk(1, 1, 8000, 1, 8), chunkLE("data", packLE(1, unsigned(i8)...))), f8, 1, "8-bit integer", "16"},
		{"12 in 16", riff(fmtChunk(1, 1, 8000, 2, 12), chunkLE("data", packLE(2, shifted(i12, 4)...))), f12, 1, "12-bit integer", "16"},
		{"16", riff(pcm16, chunkLE("data", packLE(2, i16...))), f16, 2, "16-bit integer", "16"},
		{"20 in 24", riff(extensible(1, 3, 96000, 3, 20), chunkLE("data", packLE(3, shifted(i20, 4)...))), f20, 3, "20-bit integer", "24"},
		{"24", riff(fmtChunk(1, 5, 384000, 3, 24), chunkLE("data", packLE(3, i24...))), f24, 5, "24-bit integer", "24"},
		{"24 in 32", riff(extensible(1, 2, 48000, 4, 24), chunkLE("data", packLE(4, shifted(i24, 8)...))), f24, 2, "24-bit integer", "24"},
		{"32", riff(fmtChunk(1, 6, 48000, 4, 32), chunkLE("data", packLE(4, i32...))), f32, 6, "32-bit integer", ""},
		{"float", riff(fmtChunk(3, 2, 48000, 4, 32), chunkLE("data", floats32(float...))), float, 2, "32-bit float", "32f"},
		{"float extensible", riff(extensible(3, 1, 48000, 4, 32), chunkLE("data", floats32(float...))), float, 1, "32-bit float", "32f"},
		{"double", riff(fmtChunk(3, 2, 48000, 8, 64), chunkLE("data", floats64(double...))), halfs, 2, "64-bit float", "32f"},
		{"16 extensible", riff(extensible(1, 2, 44100, 2, 16), chunkLE("data", packLE(2, i16...))), f16, 2, "16-bit integer", "16"},
		{"chunks before and between", riff(junk, odd, pcm16, odd, chunkLE("data", packLE(2, i16...)), odd), f16, 2, "16-bit integer", "16"},
		{"data before fmt", riff(chunkLE("data", packLE(2, i16...)), pcm16), f16, 2, "16-bit integer", "16"},
		{"odd data with pad", riff(fmtChunk(1, 1, 8000, 1, 8), chunkLE("data", packLE(1, unsigned(i8[:5])...))), f8[:5], 1, "8-bit integer", "16"},
		{"half a frame too much", riff(pcm16, chunkLE("data", packLE(2, i16[:5]...))), f16[:4], 2, "16-bit integer", "16"},
		{"RIFF size 0", join("RIFF", le32(0), "WAVE", pcm16, chunkLE("data", packLE(2, i16...))), f16, 2, "16-bit integer", "16"},
		{"RF64", join("RF64", le32(-1), "WAVE", chunkLE("ds64", join(le32(0), le32(0), le32(60), le32(0), make([]byte, 12))), pcm16,
			"data", le32(-1), packLE(2, i16...), odd), f16, 2, "16-bit integer", "16"},
		{"BW64", join("BW64", le32(-1), "WAVE", chunkLE("ds64", join(le32(0), le32(0), le32(60), le32(0), make([]byte, 12))), pcm16,
			"data", le32(-1), packLE(2, i16...)), f16, 2, "16-bit integer", "16"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := mustOpen(t, write(t, "a.bin", c.file))
			info := r.Info()
			frames := int64(len(c.want) / c.channels)
			if info.Format != "wav" || info.Encoding != c.encoding || info.Bits != c.bits || info.Channels != c.channels ||
				info.Frames != frames || len(info.Warnings) != 0 {
				t.Errorf("info: %+v, want %d frames", info, frames)
			}
			if got := mustRead(t, r, 0, frames); !slices.Equal(got, c.want) {
				t.Errorf("samples:\n got %v\nwant %v", got, c.want)
			}
			if got := mustRead(t, r, 1, frames-2); !slices.Equal(got, c.want[c.channels:len(c.want)-c.channels]) {
				t.Errorf("inner window: %v", got)
			}
		})
	}
}

func TestWAVLyingSizes(t *testing.T) {
	ints, want := integers(16, 400)
	audio := packLE(2, ints...)
	format := fmtChunk(1, 2, 44100, 2, 16)
	file := func(size int, tail ...[]byte) []byte {
		return riff(append([][]byte{format, join("data", le32(size), audio)}, tail...)...)
	}
	cases := []struct {
		name    string
		file    []byte
		frames  int64
		warning string
	}{
		{"streamed, all ones", file(-1), 200, "streamed"},
		{"streamed, sox", file(0x7ffff000), 200, "streamed"},
		{"streamed, zero", file(0), 200, "streamed"},
		{"truncated", file(4000), 200, "truncated: 800 of 4000"},
		{"cut in a frame", file(4000)[:44+799], 199, "truncated"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := mustOpen(t, write(t, "a.wav", c.file))
			if info := r.Info(); info.Frames != c.frames || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], c.warning) {
				t.Errorf("info: %+v", info)
			}
			if got := mustRead(t, r, 0, c.frames); !slices.Equal(got, want[:2*c.frames]) {
				t.Error("samples differ")
			}
		})
	}
	if n, _ := dataLength(nil, 5<<30, chunk{body: 44, size: 0xffffffff}, 0); n != 5<<30-44 {
		t.Errorf("streamed over 4 GiB: got %d bytes, want all", n)
	}
	if n, _ := dataLength(nil, 5<<30, chunk{body: 44, size: 3 << 30}, 0); n != 3<<30 {
		t.Errorf("3 GiB and more behind: got %d bytes, want 3 GiB", n)
	}
	empty := riff(format, chunkLE("data", nil), chunkLE("LIST", []byte("INFOISFT1234567890")))
	if _, err := Open(write(t, "a.wav", empty)); err == nil || !strings.Contains(err.Error(), "no audio") {
		t.Errorf("metadata behind an empty data chunk was taken for audio: %v", err)
	}
}

func TestRefused(t *testing.T) {
	format := fmtChunk(1, 2, 44100, 2, 16)
	data := chunkLE("data", make([]byte, 64))
	file := func(tag, channels, rate, container, bits int) []byte {
		return riff(fmtChunk(tag, channels, rate, container, bits), data)
	}
	const bad, unsupported = "format", "unsupported"
	cases := []struct {
		name, kind, text string
		file             []byte
	}{
		{"empty", bad, "empty file", nil},
		{"one byte", bad, "not an audio file", []byte{'R'}},
		{"text", bad, "not an audio file", []byte("dear diary, today I")},
		{"RIFF head only", bad, "fmt", riff()},
		{"no data", bad, "data chunk", riff(format)},
		{"no fmt", bad, "fmt chunk", riff(data)},
		{"short fmt", bad, "14 bytes", riff(chunkLE("fmt ", make([]byte, 14)), data)},
		{"huge fmt", bad, "fmt", join("RIFF", le32(-1), "WAVE", "fmt ", le32(0xfffffff0))},
		{"huge LIST", bad, "fmt chunk", join("RIFF", le32(-1), "WAVE", "LIST", le32(0xfffffff0), "INFO", make([]byte, 99))},
		{"no samples", bad, "no audio", riff(format, chunkLE("data", nil))},
		{"0 channels", bad, "0 channels", file(1, 0, 44100, 2, 16)},
		{"0 bits", bad, "0 bits", file(1, 2, 44100, 2, 0)},
		{"bits over container", bad, "24 bits", file(1, 2, 44100, 2, 24)},
		{"rate 0", bad, "0 Hz", file(1, 2, 0, 2, 16)},
		{"rate 7999", unsupported, "7999 Hz", file(1, 2, 7999, 2, 16)},
		{"rate 384001", unsupported, "384001 Hz", file(1, 1, 384001, 2, 16)},
		{"65 channels", unsupported, "65 channels", riff(fmtChunk(1, 65, 44100, 1, 8), chunkLE("data", make([]byte, 65)))},
		{"A-law", unsupported, "A-law", file(6, 2, 44100, 1, 8)},
		{"µ-law", unsupported, "µ-law", file(7, 2, 44100, 1, 8)},
		{"MP3 in WAV", unsupported, "MP3 in WAV", file(0x55, 2, 44100, 1, 8)},
		{"unknown tag", unsupported, "0x1234", file(0x1234, 2, 44100, 2, 16)},
		{"half float", unsupported, "16-bit", file(3, 2, 44100, 2, 16)},
		{"64-bit integer", unsupported, "64-bit", file(1, 2, 44100, 8, 64)},
		{"RIFX", unsupported, "RIFX", join("RIFX", le32(4), "WAVE")},
		{"AVI", unsupported, "AVI", join("RIFF", le32(4), "AVI ")},
		{"mp3", unsupported, "MP3", join("\xff\xfb\x90\x64", make([]byte, 99))},
		{"mp3 with tag", unsupported, "MP3", join("ID3\x03\x00\x00\x00\x00\x00\x02..", "\xff\xfb\x90\x64", make([]byte, 99))},
		{"UTF-16 text", bad, "not an audio file", []byte("\xff\xfeh\x00i\x00")},
		{"aac", unsupported, "AAC", join("\xff\xf1\x50\x80", make([]byte, 99))},
		{"ogg", unsupported, "Ogg", []byte("OggS\x00\x02............")},
		{"m4a", unsupported, "m4a", []byte("\x00\x00\x00\x20ftypM4A ....")},
		{"mp4", unsupported, "MP4", []byte("\x00\x00\x00\x20ftypisom....")},
		{"caf", unsupported, "caf", []byte("caff\x00\x01\x00\x00desc")},
		{"midi", unsupported, "MIDI", []byte("MThd\x00\x00\x00\x06....")},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, "a.wav", c.file)
			_, err := Open(path)
			var format *FormatError
			var unsupportedErr *UnsupportedError
			switch {
			case err == nil:
				t.Fatal("was opened")
			case errors.As(err, &format) != (c.kind == bad), errors.As(err, &unsupportedErr) != (c.kind == unsupported):
				t.Errorf("%T, want %s: %v", err, c.kind, err)
			case !strings.Contains(err.Error(), c.text), !strings.Contains(err.Error(), path):
				t.Errorf("text %q, want the path and %q", err, c.text)
			}
		})
	}
}

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.wav")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	var format *FormatError
	if _, err := Open(dir); !errors.As(err, &format) || !strings.Contains(err.Error(), "folder") {
		t.Errorf("folder: %v", err)
	}
	if _, err := Open(os.DevNull); runtime.GOOS != "windows" && (!errors.As(err, &format) || !strings.Contains(err.Error(), "device")) {
		t.Errorf("device: %v", err)
	}
}

func TestNonFinite(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		r := mustOpen(t, write(t, "a.wav", riff(fmtChunk(3, 1, 8000, 4, 32), chunkLE("data", floats32(0, 0, float32(v), 0)))))
		var format *FormatError
		if _, err := r.Read(0, 4); !errors.As(err, &format) || !strings.Contains(err.Error(), "frame 2") {
			t.Errorf("%v: %v", v, err)
		}
		mustRead(t, r, 0, 2) // outside the window it does no harm
		mustRead(t, r, 3, 1)
	}
}

func TestWindowOutside(t *testing.T) {
	r := mustOpen(t, write(t, "a.wav", riff(fmtChunk(1, 1, 8000, 2, 16), chunkLE("data", make([]byte, 20)))))
	for _, w := range [][2]int64{{-1, 2}, {0, 11}, {10, 1}, {5, -1}, {math.MaxInt64, 1}, {1, math.MaxInt64}, {0, 1 << 40}} {
		if _, err := r.Read(w[0], w[1]); err == nil {
			t.Errorf("window %v was read", w)
		}
	}
	if x := mustRead(t, r, 10, 0); len(x) != 0 {
		t.Errorf("empty window: %v", x)
	}
}

// TestHugeRF64 reads the last ten seconds of 6 GB, most of them a hole in the file, and counts what that allocates.
func TestHugeRF64(t *testing.T) {
	const bytesOfAudio, rate, frameSize = 6 << 30, 96000, 2 * 3
	head := join("RF64", le32(-1), "WAVE", chunkLE("ds64", join(make([]byte, 8), packLE(8, bytesOfAudio/frameSize*frameSize), make([]byte, 12))),
		fmtChunk(1, 2, rate, 3, 24), "data", le32(-1))
	path := write(t, "huge.wav", head)
	if err := os.Truncate(path, int64(len(head))+bytesOfAudio); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	frames := int64(bytesOfAudio / frameSize)
	_, err = f.WriteAt(packLE(3, 1<<22, -1<<22), int64(len(head))+(frames-1)*frameSize)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := mustOpen(t, path)
	if r.Info().Frames != frames {
		t.Fatalf("frames: %+v, want %d", r.Info(), frames)
	}
	x := mustRead(t, r, frames-10*rate, 10*rate)
	runtime.ReadMemStats(&after)
	if n := len(x); n != 20*rate || x[n-2] != 0.5 || x[n-1] != -0.5 {
		t.Errorf("%d samples, last %v", n, x[n-2:])
	}
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 64 {
		t.Errorf("allocated %d MB in all for 7 MB of samples", mb)
	}
}

// A window of many channels costs what is kept of it: with all of them it is refused, in seconds, mixed down it is read.
func TestReadMixed(t *testing.T) {
	const channels, frames = 64, 3000 // more than one block
	ints, _ := integers(16, channels*frames)
	r := mustOpen(t, write(t, "a.wav", riff(fmtChunk(1, channels, 8000, 2, 16), chunkLE("data", packLE(2, ints...)))))
	whole := Deinterleave(mustRead(t, r, 5, frames-5), channels)
	before := maxWindow
	t.Cleanup(func() { maxWindow = before })
	maxWindow = channels * 2000
	for _, to := range []int{1, 2, 40} {
		got, err := r.ReadMixed(5, frames-5, to)
		if err != nil || !slices.EqualFunc(got, Mix(whole, to), slices.Equal) {
			t.Errorf("to %d channels: got other samples, %v", to, err)
		}
	}
	_, err := r.Read(5, frames-5)
	_, mixedErr := r.ReadMixed(5, frames-5, channels)
	for _, err := range []error{err, mixedErr} {
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "a window of 0.4 s in 64 channels at 8000 Hz") ||
			!strings.Contains(err.Error(), "read at most 0.2 s at once") {
			t.Errorf("got %v, want the seconds that were asked for, and those that may be", err)
		}
	}
	if _, err := r.ReadMixed(5, frames, 1); err == nil {
		t.Error("a window beyond the end was read")
	}
}
