package audio

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// extended is a whole rate as an 80-bit float.
func extended(rate int) []byte {
	exponent := 16383 + 63
	mantissa := uint64(rate)
	for mantissa>>63 == 0 {
		mantissa <<= 1
		exponent--
	}
	return join(be16(exponent), be32(int(mantissa>>32)), be32(int(mantissa&0xffffffff)))
}

func aiff(kind string, channels, bits, rate, frames int, sound []byte) []byte {
	common := join(be16(channels), be32(frames), be16(bits), extended(rate))
	form := "AIFF"
	if kind != "" {
		form = "AIFC"
		common = join(common, kind, "\x05named")
	}
	body := join(chunkBE("FVER", be32(0)), chunkBE("COMM", common), chunkBE("ANNO", []byte("odd")),
		chunkBE("SSND", join(be32(0), be32(0), sound)))
	return join("FORM", be32(4+len(body)), form, body)
}

func TestAIFFKinds(t *testing.T) {
	i8, f8 := integers(8, 30)
	i16, f16 := integers(16, 30)
	i24, f24 := integers(24, 30)
	i32, f32 := integers(32, 30)
	floats := []float32{0, 0.5, -1, 0.1, 1.25, -0.3}
	float32s := floats32(floats...)
	reverseEach(float32s, 4)
	float64s := floats64(0, 0.5, -1, 0.1, 1.25, -0.3)
	reverseEach(float64s, 8)
	cases := []struct {
		name           string
		kind           string
		bits, channels int
		sound          []byte
		want           []float32
		encoding, out  string
	}{
		{"8", "", 8, 1, packBE(1, i8...), f8, "8-bit integer", "16"},
		{"16", "", 16, 2, packBE(2, i16...), f16, "16-bit integer", "16"},
		{"24", "", 24, 3, packBE(3, i24...), f24, "24-bit integer", "24"},
		{"32", "", 32, 2, packBE(4, i32...), f32, "32-bit integer", ""},
		{"NONE", "NONE", 16, 2, packBE(2, i16...), f16, "16-bit integer", "16"},
		{"sowt", "sowt", 16, 2, packLE(2, i16...), f16, "16-bit integer", "16"},
		{"sowt 24", "sowt", 24, 1, packLE(3, i24...), f24, "24-bit integer", "24"},
		{"in24", "in24", 16, 1, packBE(3, i24...), f24, "24-bit integer", "24"},
		{"fl32", "fl32", 32, 2, float32s, floats, "32-bit float", "32f"},
		{"FL32 with 16 in COMM", "FL32", 16, 2, float32s, floats, "32-bit float", "32f"},
		{"fl64", "fl64", 64, 2, float64s, floats, "64-bit float", "32f"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			frames := len(c.want) / c.channels
			r := mustOpen(t, write(t, "a.wav", aiff(c.kind, c.channels, c.bits, 44100, frames, c.sound)))
			want := Info{Format: "aiff", Encoding: c.encoding, Bits: c.out, Rate: 44100, Channels: c.channels, Frames: int64(frames)}
			if got := r.Info(); got.Format != want.Format || got.Encoding != want.Encoding || got.Bits != want.Bits ||
				got.Rate != want.Rate || got.Channels != want.Channels || got.Frames != want.Frames || got.Warnings != nil {
				t.Errorf("info %+v, want %+v", got, want)
			}
			if got := mustRead(t, r, 1, int64(frames-1)); !slices.Equal(got, c.want[c.channels:]) {
				t.Errorf("samples\n got %v\nwant %v", got, c.want[c.channels:])
			}
		})
	}
}

func TestAIFFTruncated(t *testing.T) {
	ints, want := integers(16, 100)
	file := aiff("", 2, 16, 48000, 50, packBE(2, ints...))
	r := mustOpen(t, write(t, "a.aif", file[:len(file)-41])) // ten frames and one byte short
	info := r.Info()
	if info.Frames != 39 || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], "39 of 50") {
		t.Errorf("info: %+v", info)
	}
	if got := mustRead(t, r, 0, 39); !slices.Equal(got, want[:78]) {
		t.Error("samples differ")
	}
}

// Programs that stream, or crash, fill in neither the size of the sound nor its frames, or only one of them.
func TestAIFFLyingSizes(t *testing.T) {
	ints, want := integers(16, 100)
	file := func(frames, size int) []byte {
		f := aiff("", 2, 16, 48000, frames, packBE(2, ints...))
		copy(f[bytes.Index(f, []byte("SSND"))+4:], be32(size))
		return f
	}
	const streamed = "streamed"
	for name, c := range map[string]struct {
		file    []byte
		frames  int64
		warning string
	}{
		"neither, zero":          {file(0, 0), 50, streamed},
		"neither, head alone":    {file(0, 8), 50, streamed},
		"neither, all ones":      {file(-1, -1), 50, streamed},
		"no frames, all ones":    {file(0, -1), 50, streamed},
		"no frames":              {file(0, 208), 50, streamed},
		"size 0":                 {file(50, 0), 50, ""},
		"size of all ones":       {file(50, -1), 50, ""},
		"size 0, and truncated":  {file(60, 0), 50, "truncated: 50 of 60"},
		"no frames, more behind": {append(file(0, 208), chunkBE("ANNO", []byte("behind"))...), 50, streamed},
	} {
		t.Run(name, func(t *testing.T) {
			r := mustOpen(t, write(t, "a.aif", c.file))
			info := r.Info()
			if info.Frames != c.frames || (c.warning == "") != (len(info.Warnings) == 0) || !strings.Contains(strings.Join(info.Warnings, "|"), c.warning) {
				t.Errorf("got %d frames, warnings %q; want %d and %q", info.Frames, info.Warnings, c.frames, c.warning)
			}
			if got := mustRead(t, r, 0, info.Frames); !slices.Equal(got, want) {
				t.Error("samples differ")
			}
		})
	}
}

func TestAIFFRefused(t *testing.T) {
	good := aiff("", 2, 16, 48000, 4, make([]byte, 16))
	empty := aiff("", 2, 16, 48000, 0, nil)
	for name, c := range map[string]struct {
		file []byte
		text string
	}{
		"ulaw":                         {aiff("ulaw", 1, 8, 8000, 4, make([]byte, 4)), `"ulaw"`},
		"no sound":                     {bytes.Replace(good, []byte("SSND"), []byte("XXXX"), 1), "SSND"},
		"no common":                    {bytes.Replace(good, []byte("COMM"), []byte("XXXX"), 1), "COMM"},
		"0 bits":                       {aiff("", 2, 0, 48000, 4, make([]byte, 16)), "0 bits"},
		"0 frames":                     {empty, "no audio"},
		"0 frames, and a chunk behind": {append(empty, chunkBE("ANNO", []byte("eight or more"))...), "no audio"},
		"0 frames, and a stray frame":  {append(empty, 1, 2, 3, 4), "no audio"},
		"1 Hz":                         {aiff("", 2, 16, 1, 4, make([]byte, 16)), "1 Hz"},
		"cut":                          {good[:60], "SSND"},
	} {
		if _, err := Open(write(t, "a.aif", c.file)); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %q", name, err, c.text)
		}
	}
}
