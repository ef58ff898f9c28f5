package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var pcm16 = Format{Container: "wav", Bits: "16", Rate: 44100, Channels: 2}

// save writes samples to a new file in dir.
func save(path string, f Format, overwrite, dither bool, blocks ...[]float32) error {
	w, err := Create(path, f, overwrite)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, block := range blocks {
		if err := w.Write(block, dither); err != nil {
			return err
		}
	}
	return w.Commit()
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWriteExact(t *testing.T) {
	for _, container := range []string{"wav", "flac"} {
		for _, bits := range []string{"16", "24", "32f"} {
			for _, channels := range []int{1, 2, 5} {
				if container == "flac" && bits == "32f" {
					continue
				}
				f := Format{Container: container, Bits: bits, Rate: 48000, Channels: channels}
				size := map[string]int{"16": 16, "24": 24, "32f": 20}[bits]
				_, want := integers(size, 100003*channels) // an odd number of frames, more than a block
				path := filepath.Join(t.TempDir(), "out")
				split := 7 * channels
				if err := save(path, f, false, false, want[:split], want[split:split], want[split:]); err != nil {
					t.Fatal(err)
				}
				r := mustOpen(t, path)
				if info := r.Info(); info.Format != container || info.Bits != bits || info.Rate != 48000 || info.Frames != 100003 || info.Warnings != nil {
					t.Errorf("%+v: %+v", f, info)
				}
				if !slices.Equal(mustRead(t, r, 0, 100003), want) {
					t.Errorf("%+v: samples differ", f)
				}
			}
		}
	}
}

// TestWAVHeader looks at the bytes: sizes right, odd data padded, the pad counted in RIFF only.
func TestWAVHeader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.wav")
	if err := save(path, Format{"wav", "24", 8000, 1}, false, false, []float32{0.5, -0.5, 0}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := riff(fmtChunk(1, 1, 8000, 3, 24), chunkLE("data", packLE(3, 1<<22, -1<<22, 0)))
	if !bytes.Equal(got, want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
	many := Format{"wav", "32f", 384000, 64}
	if err := save(path, many, true, false, make([]float32, 64)); err != nil {
		t.Fatal(err)
	}
	if info := mustOpen(t, path).Info(); info.Channels != 64 || info.Rate != 384000 {
		t.Errorf("%+v: %+v", many, info)
	}
}

func TestWriteClamps(t *testing.T) {
	loud := []float32{2, -2, 1, -1, 1e30, -1e30}
	for bits, top := range map[string]float32{"16": 1 - 1./(1<<15), "24": 1 - 1./(1<<23), "32f": 1} {
		for _, container := range []string{"wav", "flac"} {
			if container == "flac" && bits == "32f" {
				continue
			}
			path := filepath.Join(t.TempDir(), "out")
			if err := save(path, Format{container, bits, 8000, 1}, false, true, loud); err != nil {
				t.Fatal(err)
			}
			got := mustRead(t, mustOpen(t, path), 0, 6)
			for i, v := range got {
				near := math.Abs(math.Abs(float64(v))-1) < 2./(1<<15) // dither may take a step off ±1 itself
				if math.Signbit(float64(v)) != (i%2 == 1) || !near || v > top {
					t.Errorf("%s %s: %v became %v", container, bits, loud, got)
					break
				}
			}
		}
	}
	path := filepath.Join(t.TempDir(), "out") // an original in float keeps what passes full scale
	if err := save(path, Format{"wav", "32f", 8000, 1}, false, false, loud); err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, mustOpen(t, path), 0, 6); !slices.Equal(got, loud) {
		t.Errorf("untouched floats: got %v, want %v", got, loud)
	}
	w, err := Create(filepath.Join(t.TempDir(), "out"), pcm16, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Write([]float32{0, float32(math.NaN())}, true); err == nil {
		t.Error("NaN was written")
	}
	if err := w.Write(make([]float32, 3), true); err == nil {
		t.Error("half a frame was written")
	}
}

// TestDither: a level of a third of a step survives in the mean, the noise is triangular (variance 1/6 and rounding's
// 1/12, in steps²), and the same samples give the same bytes however they are split.
func TestDither(t *testing.T) {
	const n = 200000
	x := slices.Repeat([]float32{1. / 3 / 32768}, n)
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	f := Format{"wav", "16", 32000, 2}
	if err := errors.Join(save(a, f, false, true, x), save(b, f, false, true, x[:1234], x[1234:])); err != nil {
		t.Fatal(err)
	}
	one, _ := os.ReadFile(a)
	two, _ := os.ReadFile(b)
	if !bytes.Equal(one, two) {
		t.Error("two writes of the same samples differ")
	}
	var sum, squares float64
	for _, v := range mustRead(t, mustOpen(t, a), 0, n/2) {
		sum += float64(v) * 32768
		squares += math.Pow(float64(v)*32768-1./3, 2)
	}
	if mean := sum / n; math.Abs(mean-1./3) > 0.01 {
		t.Errorf("mean: got %.4f steps, want 0.3333", mean)
	}
	if variance := squares / n; math.Abs(variance-0.25) > 0.01 {
		t.Errorf("variance: got %.4f, want 0.25", variance)
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there.wav")
	if err := os.WriteFile(there, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	free := filepath.Join(dir, "free")
	link := filepath.Join(t.TempDir(), "link.wav")
	if err := os.Symlink(free, link); err != nil {
		t.Skipf("needs the right to make links: %v", err)
	}
	cases := []struct {
		name      string
		path      string
		format    Format
		overwrite bool
		want      error // nil: *UnsupportedError
	}{
		{"exists", there, pcm16, false, ErrExists},
		{"link to nothing", link, pcm16, false, ErrExists},
		{"folder", dir, pcm16, true, ErrUnwritable},
		{"device", os.DevNull, pcm16, true, ErrUnwritable},
		{"no folder", filepath.Join(dir, "none", "a.wav"), pcm16, false, ErrUnwritable},
		{"file for a folder", filepath.Join(there, "a.wav"), pcm16, false, ErrUnwritable},
		{"float in flac", free, Format{"flac", "32f", 44100, 2}, false, nil},
		{"9 channels in flac", free, Format{"flac", "16", 44100, 9}, false, nil},
		{"mp3", free, Format{"mp3", "16", 44100, 2}, false, nil},
		{"8 bits", free, Format{"wav", "8", 44100, 2}, false, nil},
		{"7999 Hz", free, Format{"wav", "16", 7999, 2}, false, nil},
		{"65 channels", free, Format{"wav", "16", 44100, 65}, false, nil},
	}
	for _, c := range cases {
		_, err := Create(c.path, c.format, c.overwrite)
		var unsupported *UnsupportedError
		if c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &unsupported) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if list := names(t, dir); !slices.Equal(list, []string{"there.wav"}) {
		t.Errorf("left behind: %v", list)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("root and Windows write to read-only folders")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(dir, "a.wav"), pcm16, false); !errors.Is(err, ErrUnwritable) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

func TestAbort(t *testing.T) {
	for _, container := range []string{"wav", "flac"} {
		dir := t.TempDir()
		w, err := Create(filepath.Join(dir, "a"), Format{container, "16", 44100, 2}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(make([]float32, 100000), true); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		if err := w.Write([]float32{0, 0}, false); err == nil {
			t.Error("Write after Abort succeeded")
		}
		if err := w.Commit(); err == nil {
			t.Error("Commit after Abort succeeded")
		}
		if err := save(filepath.Join(dir, "b"), pcm16, false, false); err == nil {
			t.Error("an empty file was made")
		}
		if list := names(t, dir); len(list) != 0 {
			t.Errorf("left behind: %v", list)
		}
	}
}

func TestOverwrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.wav")
	for i, level := range []float32{0.25, 0.5} {
		if err := save(path, pcm16, i > 0, false, []float32{level, level}); err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, mustOpen(t, path), 0, 1); got[0] != level {
			t.Errorf("got %v, want %v", got[0], level)
		}
	}
	if list := names(t, dir); !slices.Equal(list, []string{"a.wav"}) {
		t.Errorf("left behind: %v", list)
	}
}

// TestRace commits many writers of one name at once: one wins, whole; the others learn that it exists. Both ways of
// naming are raced.
func TestRace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.wav")
	var writers []*Writer
	for i := range 8 {
		w, err := Create(path, pcm16, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(slices.Repeat([]float32{float32(i) / 16}, 2000), false); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	won := make([]bool, len(writers))
	var all sync.WaitGroup
	for i, w := range writers {
		all.Go(func() {
			err := w.Commit()
			if won[i] = err == nil; err != nil && !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		t.Fatalf("winners: %v", won)
	}
	for _, v := range mustRead(t, mustOpen(t, path), 0, 1000) {
		if v != float32(winner)/16 {
			t.Fatalf("sample %v is not the winner's", v)
		}
	}
	if list := names(t, dir); !slices.Equal(list, []string{"a.wav"}) {
		t.Errorf("left behind: %v", list)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := renameReserved(other, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the fallback replaced a file: %v", err)
	}
	if err := renameReserved(other, filepath.Join(dir, "b")); err != nil {
		t.Errorf("the fallback: %v", err)
	}
}

func TestWAVTooLong(t *testing.T) {
	w, err := Create(filepath.Join(t.TempDir(), "a.wav"), pcm16, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	w.written = math.MaxUint32/2 - 1000
	var unsupported *UnsupportedError
	if err := w.Write(make([]float32, 2000), false); !errors.As(err, &unsupported) {
		t.Errorf("4 GiB: %v", err)
	}
	for _, c := range []struct {
		format Format
		want   string
	}{
		{Format{"wav", "24", 48000, 64}, "one of 480.0 s where 466.0 s fit at 48000 Hz, 64 channels and 24 bits, is not supported; write the continuation alone"},
		{Format{"wav", "32f", 384000, 8}, "one of 480.0 s where 349.5 s fit at 384000 Hz, 8 channels and 32 bits, is not supported; write flac, or the continuation alone"},
	} {
		if err := c.format.CheckFrames("a.wav", int64(480*c.format.Rate)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// What the disk says arrives as it is: the FLAC library wraps errors so that their cause is lost, in colours.
func TestDiskRefuses(t *testing.T) {
	for _, container := range []string{"wav", "flac"} {
		for _, frames := range []int{100, 1 << 20} { // refused by Commit, by Write
			w, err := Create(filepath.Join(t.TempDir(), "a"), Format{Container: container, Bits: "24", Rate: 44100, Channels: 1}, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.temp.Close(); err != nil {
				t.Fatal(err)
			}
			err = w.Write(noise(frames, 0.5), false)
			if frames == 100 {
				if err != nil {
					t.Fatal(err)
				}
				err = w.Commit()
			}
			if !errors.Is(err, ErrUnwritable) || !errors.Is(err, os.ErrClosed) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%s, %d frames: got %q, want what the disk said", container, frames, err)
			}
			w.Abort()
		}
	}
}

func TestFLACLast(t *testing.T) {
	file := makeFLAC(t, Format{Bits: "16", Rate: 8000, Channels: 1}, make([]float32, 5))
	if low, high := binary.BigEndian.Uint16(file[8:]), binary.BigEndian.Uint16(file[10:]); low != flacBlock || high != flacBlock {
		t.Errorf("block sizes %d and %d, want %d: the last block does not count", low, high, flacBlock)
	}
}
