package engine

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"segue/engine/audio"
)

// whenAsked is a context that does something each time that it is asked whether it ended.
type whenAsked struct {
	context.Context
	do func()
}

func (c whenAsked) Err() error {
	c.do()
	return nil
}

// A copy that fails is blamed on the side that failed, whatever the error is.
func TestCopyBlamesTheSideThatFailed(t *testing.T) {
	const frames = 1 << 17 // some blocks
	huge := slices.Repeat([]float32{3.4e38, 3.4e38, -3.4e38, -3.4e38}, frames/4)
	sourceGone := func(s *source, _ *output) { s.reader.Close() }
	outputGone := func(_ *source, o *output) { o.writer.Abort() }
	for _, test := range []struct {
		name    string
		samples []float32
		rate    int                        // of the output
		fail    func(s *source, o *output) // while the first block is copied
		kind    Kind
		field   string
	}{
		{"the source's drive is gone", make([]float32, frames), 44100, sourceGone, AudioUnsupported, "path"},
		{"the same, at another rate", make([]float32, frames), 48000, sourceGone, AudioUnsupported, "path"},
		{"the output's file is gone", make([]float32, frames), 44100, outputGone, OutputUnwritable, "outputDir"},
		{"the same, at another rate", make([]float32, frames), 48000, outputGone, OutputUnwritable, "outputDir"},
		{"what the output does not take", huge, 48000, func(*source, *output) {}, OutputUnwritable, "outputDir"},
	} {
		s, o, f := copying(t, test.samples, test.rate)
		path := map[string]string{s.field: s.path, o.field: o.path}[test.field]
		ctx := whenAsked{context.Background(), func() { test.fail(s, o) }}
		_, err := (&run{source: s}).writeOriginal(ctx, o, f)
		if got, ok := err.(*Error); !ok || got.Kind != test.kind || got.Field != test.field || got.Path != path {
			t.Errorf("%s: got %v, want %s on %s, %s", test.name, err, test.kind, test.field, path)
		}
	}
}

// copying is a source of samples at 44.1 kHz and an output at rate.
func copying(t *testing.T, samples []float32, rate int) (*source, *output, audio.Format) {
	t.Helper()
	dir := t.TempDir()
	f := audio.Format{Container: "wav", Bits: "32f", Rate: 44100, Channels: 1}
	create := func(name string) *audio.Writer {
		w, err := audio.Create(filepath.Join(dir, name), f, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Abort)
		return w
	}
	in := create("in.wav")
	if err := in.Write(samples, false); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	reader, err := audio.Open(in.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	s := &source{field: "path", path: in.Path(), reader: reader, info: reader.Info(), seam: reader.Info().Frames}
	f.Rate = rate
	out := create("out.wav")
	return s, &output{field: "outputDir", path: out.Path(), writer: out}, f
}
