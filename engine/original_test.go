package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"segue/engine"
	"segue/engine/audio"
)

// What becomes of originals of every kind in the new file.

// loud is a tone that passes full scale, at the end too, and has more bits than a float32.
func loud(frames, rate int) []float64 {
	x := make([]float64, frames)
	for i := range x {
		x[i] = 1.7 * math.Cos(2*math.Pi*110*float64(frames-1-i)/float64(rate))
	}
	return x
}

// doubles is a file of one channel of 64-bit floats.
func doubles(t testing.TB, path string, rate int, x []float64) string {
	t.Helper()
	var file []byte
	if filepath.Ext(path) == ".wav" {
		file = wavHeader(3, 64, uint32(8*len(x)))
		binary.LittleEndian.PutUint32(file[24:], uint32(rate))
		for _, v := range x {
			file = binary.LittleEndian.AppendUint64(file, math.Float64bits(v))
		}
	} else {
		be := binary.BigEndian
		file = be.AppendUint32([]byte("FORM\x00\x00\x00\x00AIFCCOMM\x00\x00\x00\x18\x00\x01"), uint32(len(x)))
		file = be.AppendUint16(file, 64)
		file = be.AppendUint16(file, 16383+15)
		file = be.AppendUint64(file, uint64(rate)<<48)
		file = append(file, "fl64\x00\x00SSND"...)
		file = append(be.AppendUint32(file, uint32(8+8*len(x))), make([]byte, 8)...)
		for _, v := range x {
			file = be.AppendUint64(file, math.Float64bits(v))
		}
	}
	return written(t, path, file)
}

// written is path, once the bytes are there.
func written(t testing.TB, path string, file []byte) string {
	t.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// 64-bit floats come back as 32-bit ones, rounded once, and whatever passes full scale is still there.
func TestDoublesStayFloats(t *testing.T) {
	w := newWorld(t, engine.Options{})
	const rate = 44100
	x := loud(rate, rate)
	want := make([]float32, len(x))
	for i, v := range x {
		want[i] = float32(v)
	}
	for _, name := range []string{"in.wav", "in.aif"} {
		path := doubles(t, filepath.Join(w.dir, name), rate, x)
		for _, include := range []string{"full", "continuation"} {
			o := w.run(t, func(j *engine.Job) { j.Path, j.Include = path, include }).Outputs[0]
			got, info := read(t, o.Path)
			if o.Bits != "32f" || info.Bits != "32f" {
				t.Errorf("%s, %s: got %s bits, the file has %s, want 32f", name, include, o.Bits, info.Bits)
			}
			if include == "full" && !slices.Equal(got[:len(want)], want) {
				t.Errorf("%s: the original is not untouched", name)
			}
		}
		flac := w.run(t, func(j *engine.Job) { j.Path, j.Format = path, "flac" }).Outputs[0]
		if flac.Bits != "24" {
			t.Errorf("%s: got a FLAC of %s bits, want 24", name, flac.Bits)
		}
	}
}

// Who asks for the original in a format that cannot hold it is told, and who gives silence to continue.
func TestWarnings(t *testing.T) {
	w := newWorld(t, engine.Options{})
	floats := w.floats(t, "floats.wav", 44100, make([]float64, 2*44100))
	music := w.tone(t, "music.wav", stereo44, 2)
	for _, c := range []struct {
		path, format, include string
		want                  []string
	}{
		{music, "flac", "full", nil},
		{floats, "wav", "full", []string{"silent"}},
		{floats, "flac", "continuation", []string{"silent"}},
		{floats, "flac", "full", []string{"32-bit float", "silent"}},
	} {
		for range 2 { // the prompt is known the second time
			r := w.run(t, func(j *engine.Job) { j.Path, j.Format, j.Include = c.path, c.format, c.include })
			if len(r.Warnings) != len(c.want) {
				t.Errorf("%+v: got warnings %q", c, r.Warnings)
				continue
			}
			for i, want := range c.want {
				if !strings.Contains(r.Warnings[i], want) {
					t.Errorf("%+v: got warnings %q", c, r.Warnings)
				}
			}
		}
	}
}

// Integers beyond 24 bits are written with 24, and a warning says so where that was not asked for.
func TestWideIntegers(t *testing.T) {
	w := newWorld(t, engine.Options{})
	file := wavHeader(1, 32, 4*44100)
	for i := range 44100 {
		file = binary.LittleEndian.AppendUint32(file, uint32(i*12345))
	}
	path := written(t, filepath.Join(w.dir, "wide.wav"), file)
	for _, c := range []struct {
		include, bits string
		warnings      int
	}{{"full", "", 1}, {"full", "24", 0}, {"continuation", "", 0}} {
		r := w.run(t, func(j *engine.Job) { j.Path, j.Include, j.Bits = path, c.include, engine.Bits(c.bits) })
		if r.Outputs[0].Bits != "24" || len(r.Warnings) != c.warnings {
			t.Errorf("%+v: got %s bits and warnings %q", c, r.Outputs[0].Bits, r.Warnings)
		}
	}
}

// floats is a WAV of one channel of 32-bit floats.
func (w world) floats(t testing.TB, name string, rate int, x []float64) string {
	t.Helper()
	file := wavHeader(3, 32, uint32(4*len(x)))
	binary.LittleEndian.PutUint32(file[24:], uint32(rate))
	for _, v := range x {
		file = binary.LittleEndian.AppendUint32(file, math.Float32bits(float32(v)))
	}
	return written(t, filepath.Join(w.dir, name), file)
}

// Another rate or number of channels is no reason to cut a float original at full scale.
func TestConvertedFloatsPassFullScale(t *testing.T) {
	w := newWorld(t, engine.Options{})
	const rate = 44100
	x := loud(rate, rate)
	path := w.floats(t, "in.wav", rate, x)
	for _, change := range []func(*engine.Job){
		func(j *engine.Job) { j.SampleRate = 48000 },
		func(j *engine.Job) { j.Channels = 2 },
	} {
		o := w.run(t, func(j *engine.Job) { j.Path, j.Include = path, "full"; change(j) }).Outputs[0]
		got, info := read(t, o.Path)
		original := got[:int(o.SeamSeconds*float64(info.Rate))*info.Channels]
		if peak, _ := audio.PeakDB(original); math.Abs(peak-20*math.Log10(1.7)) > 0.01 {
			t.Errorf("%d Hz, %d channels: the original's peak is %.2f dBFS, want %.2f", info.Rate, info.Channels, peak, 20*math.Log10(1.7))
		}
	}
}

// The end of an original beyond full scale fades out in the new part as it is: nothing cuts it at the seam. Behind the fade
// the new part keeps its ceiling.
func TestLoudFloatsFadeOut(t *testing.T) {
	w := newWorld(t, engine.Options{})
	const rate = 44100
	x := loud(rate, rate)
	path := w.floats(t, "in.wav", rate, x)
	o := w.run(t, func(j *engine.Job) { j.Path, j.Include, j.CrossfadeMS = path, "full", 10 }).Outputs[0]
	got, _ := read(t, o.Path)
	if step := math.Abs(float64(got[rate] - got[rate-1])); step > 0.02 {
		t.Errorf("a step of %g at the seam of a tone of peak 1.7, want none", step)
	}
	if peak, _ := audio.PeakDB(got[rate+rate/100:]); peak > -0.3+1e-3 {
		t.Errorf("the new part's peak is %.3f dBFS, want at most -0.3", peak)
	}
}

// A job clears away what a killed one has left in the folder to which it writes, once that is a day old.
func TestLeftoversAreSwept(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.tone(t, "in.wav", stereo44, 0.5)
	stale, fresh := filepath.Join(w.dir, ".segue-0123456789abcdef.part"), filepath.Join(w.dir, ".segue-1123456789abcdef.part")
	for file, age := range map[string]time.Duration{stale: 25 * time.Hour, fresh: time.Hour} {
		when := time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(file, []byte("RIFF"), 0o600), os.Chtimes(file, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	w.run(t, func(j *engine.Job) { j.Path, j.Variations = path, 2 })
	if files, want := w.files(t), []string{filepath.Base(fresh), "in-continued-2.wav", "in-continued.wav", "in.wav"}; !slices.Equal(files, want) {
		t.Errorf("the folder holds %v, want %v", files, want)
	}
}

// many is a file of 64 channels that is nearly all hole: silence, but for its last frame.
func (w world) many(t testing.TB, name string, rate, width int, seconds float64) string {
	t.Helper()
	const channels = 64
	frame := channels * width
	data := int64(seconds*float64(rate)) * int64(frame)
	head := wavHeader(1, uint16(8*width), uint32(data))
	binary.LittleEndian.PutUint16(head[22:], channels)
	binary.LittleEndian.PutUint32(head[24:], uint32(rate))
	binary.LittleEndian.PutUint16(head[32:], uint16(frame))
	path := filepath.Join(w.dir, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, headErr := f.Write(head)
	_, tailErr := f.WriteAt(slices.Repeat([]byte{0x40}, frame), int64(len(head))+data-int64(frame))
	if err := errors.Join(headErr, tailErr, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// 64 channels are probed and continued however long they last.
func TestManyChannels(t *testing.T) {
	w := newWorld(t, engine.Options{})
	path := w.many(t, "in.wav", 48000, 2, 130)
	info, err := w.engine.Probe(context.Background(), path)
	if err != nil || info.Channels != 64 || info.Seconds != 130 || info.PeakDB == nil || math.Abs(*info.PeakDB+6) > 0.1 {
		t.Errorf("got %+v, %v; want 130 s of 64 channels with a peak of -6 dBFS", info, err)
	}
	if want := "the last 43.69 s"; len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], want) {
		t.Errorf("got warnings %q, want %q", info.Warnings, want)
	}
	o := w.run(t, func(j *engine.Job) { j.Path, j.Seconds = path, 0.1 }).Outputs[0]
	if o.Channels != 64 || o.Frames != 4800 {
		t.Errorf("got %+v, want 0.1 s of 64 channels", o)
	}
}

// What a probe decodes is given up with its request.
func TestProbeIsCancelled(t *testing.T) {
	w := newWorld(t, engine.Options{})
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("the musician changed her mind")
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	if _, err := w.engine.Probe(ctx, w.many(t, "in.wav", 48000, 2, 130)); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

// An original that fits a WAV, but not with the new part, is refused before the model works for it; the error speaks of
// seconds, and of no format that has fewer channels.
func TestOriginalTooLongWithTheNewPart(t *testing.T) {
	w := newWorld(t, engine.Options{})
	job := engine.NewJob()
	job.Path, job.PromptSeconds, job.Include = w.many(t, "in.wav", 48000, 3, 460), 0.5, "full"
	_, err := w.engine.Run(context.Background(), job, func(p engine.Progress) {
		if p.Stage != engine.StageLoad {
			t.Errorf("came to %s", p.Stage)
		}
	})
	var known *engine.Error
	const want = "one of 470.0 s where 466.0 s fit at 48000 Hz, 64 channels and 24 bits, is not supported; write the continuation alone"
	if !errors.As(err, &known) || known.Kind != engine.BadParam || known.Field != "include" || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
