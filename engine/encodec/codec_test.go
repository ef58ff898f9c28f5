package encodec

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"segue/engine/kern"
)

// variants are the small codec in every mode that changes which samples a convolution sees.
func variants() map[string]Config {
	all := map[string]Config{}
	for _, pad := range []kern.PadMode{kern.PadZero, kern.PadReflect} {
		for _, causal := range []bool{false, true} {
			c := small()
			c.PadMode, c.UseCausalConv = pad, causal
			all[fmt.Sprintf("pad %d causal %t", pad, causal)] = c
			c.TrimRightRatio, c.NumLSTMLayers = 0.4, 1
			c.NumResidualLayers, c.DilationGrowthRate, c.UseConvShortcut = 3, 3, true
			all[fmt.Sprintf("pad %d causal %t dilated", pad, causal)] = c
		}
	}
	return all
}

func load(t testing.TB, k kern.Backend, c Config, w *Weights) *Codec {
	t.Helper()
	return loadAs(t, k, c, w, kern.Stored)
}

func loadAs(t testing.TB, k kern.Backend, c Config, w *Weights, p kern.Precision) *Codec {
	t.Helper()
	codec, err := Load(t.Context(), k, c, w, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(codec.Close)
	return codec
}

func noise(n int) []float32 {
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	samples := make([]float32, n)
	for i := range samples {
		samples[i] = float32(rng.NormFloat64() * 0.3)
	}
	return samples
}

func randomCodes(c Config, frames int) []int32 {
	rng := rand.New(rand.NewPCG(4, uint64(frames)))
	codes := make([]int32, c.Codebooks*frames)
	for i := range codes {
		codes[i] = rng.Int32N(int32(c.CodebookSize))
	}
	return codes
}

// TestReference compares all variants, in whole and in chunks, with the definition; lengths from one sample on.
func TestReference(t *testing.T) {
	k, s := open(t)
	for name, config := range variants() {
		t.Run(name, func(t *testing.T) {
			w := bind(&chance{}, config)
			codec := load(t, k, config, w)
			for _, n := range []int{1, 2, 3, 6, 7, 29, 30, 31, 59, 61, 150, 305} {
				compareEmbeddings(t, codec, s, w, noise(n))
			}
			for _, frames := range []int{1, 2, 3, 4, 7, 11} {
				compareDecoded(t, codec, s, w, frames)
			}
		})
	}
}

func compareEmbeddings(t *testing.T, codec *Codec, s kern.Stream, w *Weights, samples []float32) {
	t.Helper()
	want := refEmbed(codec.config, w, samples).floats()
	var first []float32
	for _, chunk := range []int{64, 1, 2, 5} {
		codec.chunk = chunk
		got, frames, err := codec.Embeddings(context.Background(), s, samples)
		if err != nil {
			t.Fatal(err)
		}
		if hop := codec.Hop(); frames != (len(samples)+hop-1)/hop {
			t.Errorf("%d samples: got %d frames of hop %d", len(samples), frames, hop)
		}
		if first == nil {
			first = got
		}
		if worst := maxError(got, want) / peak(want); worst > 1e-5 {
			t.Errorf("%d samples in chunks of %d: embeddings: error %.3g of the peak, want at most 1e-5", len(samples), chunk, worst)
		}
		if !slices.Equal(got, first) {
			t.Errorf("%d samples in chunks of %d: embeddings differ from those of one chunk", len(samples), chunk)
		}
	}
}

func compareDecoded(t *testing.T, codec *Codec, s kern.Stream, w *Weights, frames int) {
	t.Helper()
	codes := randomCodes(codec.config, frames)
	want := refDecode(codec.config, w, codes, frames).floats()
	codec.chunk = 64
	whole := decode(t, codec, s, codes, frames, 0)
	if worst := maxError(whole, want) / peak(want); worst > 1e-5 {
		t.Errorf("%d frames: decoded: error %.3g of the peak, want at most 1e-5", frames, worst)
	}
	for _, chunk := range []int{64, 1, 2, 5} {
		codec.chunk = chunk
		for from := range frames + 1 {
			if got := decode(t, codec, s, codes, frames, from); !slices.Equal(got, whole[from*codec.Hop():]) {
				t.Errorf("frames [%d, %d) in chunks of %d: differ from those of one chunk", from, frames, chunk)
			}
		}
	}
}

// TestChunksGolden: no sample of a trained shape depends on chunk or from.
func TestChunksGolden(t *testing.T) {
	k, s := open(t)
	codec := loadGolden(t, k, "mono")
	samples := noise(30*640 + 17)
	codes, frames, err := codec.Encode(context.Background(), s, samples)
	if err != nil {
		t.Fatal(err)
	}
	whole := decode(t, codec, s, codes, frames, 0)
	for _, chunk := range []int{1, 7, 30} {
		codec.chunk = chunk
		again, _, err := codec.Encode(context.Background(), s, samples)
		if err != nil || !slices.Equal(again, codes) {
			t.Errorf("chunks of %d: other codes (error %v)", chunk, err)
		}
		for _, from := range []int{0, 13, 30} {
			if got := decode(t, codec, s, codes, frames, from); !slices.Equal(got, whole[from*640:]) {
				t.Errorf("chunks of %d from %d: other samples", chunk, from)
			}
		}
	}
}

func TestEmpty(t *testing.T) {
	k, s := open(t)
	codec := load(t, k, small(), bind(&chance{}, small()))
	if codes, frames, err := codec.Encode(context.Background(), s, nil); err != nil || frames != 0 || len(codes) != 0 {
		t.Errorf("no samples: got %d frames, error %v", frames, err)
	}
	if samples := decode(t, codec, s, nil, 0, 0); len(samples) != 0 {
		t.Errorf("no codes: got %d samples", len(samples))
	}
}

func TestDecodeRefuses(t *testing.T) {
	k, s := open(t)
	codec := load(t, k, small(), bind(&chance{}, small()))
	for _, row := range []struct {
		codes        []int32
		frames, from int
		want         string
	}{
		{make([]int32, 5), 2, 0, "want 3 codebooks × 2 frames"},
		{make([]int32, 6), 2, 3, "from"},
		{make([]int32, 6), 2, -1, "from"},
		{nil, -1, -1, "from"},
		{[]int32{0, 0, 0, 11, 0, 0}, 2, 0, "codebook 1, frame 1: got code 11, want 0 to 10"},
		{[]int32{-1, 0, 0}, 1, 0, "got code -1"},
	} {
		err := codec.Decode(context.Background(), s, row.codes, row.frames, row.from, func([]float32) error { return nil })
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("codes %v, frames %d, from %d: got error %v, want %q", row.codes, row.frames, row.from, err, row.want)
		}
	}
}

// TestCancel: a cancelled run says so, leaves no memory behind and the codec usable.
func TestCancel(t *testing.T) {
	k, s := open(t)
	codec := load(t, k, small(), bind(&chance{}, small()))
	held := k.Allocated()
	cancelled, cancel := context.WithCancel(context.Background())
	codec.chunk = 2
	codes := randomCodes(codec.config, 9)
	calls := 0
	err := codec.Decode(cancelled, s, codes, 9, 0, func([]float32) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("decode: got error %v after %d chunks, want cancelled after 1", err, calls)
	}
	if _, _, err := codec.Encode(cancelled, s, noise(100)); !errors.Is(err, context.Canceled) {
		t.Errorf("encode: got error %v, want cancelled", err)
	}
	stop := errors.New("stop")
	if err := codec.Decode(context.Background(), s, codes, 9, 0, func([]float32) error { return stop }); err != stop {
		t.Errorf("emit: got error %v, want its own", err)
	}
	if now := k.Allocated(); now != held {
		t.Errorf("device memory: got %d bytes, want the %d before", now, held)
	}
	if got := decode(t, codec, s, codes, 9, 0); len(got) != 9*codec.Hop() {
		t.Errorf("afterwards: got %d samples", len(got))
	}
}

// TestMemory: the convolutions need no more for a longer signal, and Close returns everything.
func TestMemory(t *testing.T) {
	config := small()
	k, _ := open(t)
	before := k.Allocated()
	codec, err := Load(t.Context(), k, config, bind(&chance{}, config), kern.Stored)
	if err != nil {
		t.Fatal(err)
	}
	room := func(frames int) int { return codec.encoder.plan(frames*codec.Hop(), cut(0, frames, 64)).room }
	if room(192) != room(1920) {
		t.Errorf("chunk memory: %d floats for 192 frames, %d for 1920", room(192), room(1920))
	}
	codec.Close()
	codec.Close()
	if now := k.Allocated(); now != before {
		t.Errorf("after Close: got %d bytes of device memory, want %d", now, before)
	}
}

// The benchmarks run the released shapes over five seconds, with the LSTM in each precision; bytes are those of the
// samples. “x-realtime” is the length of the music over the time it takes.
func benchmarkCodec(b *testing.B, run func(b *testing.B, codec *Codec, s kern.Stream, frames int)) {
	config, err := parse(b, released())
	if err != nil {
		b.Fatal(err)
	}
	w := bind(&chance{}, config)
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		b.Run(p.String(), func(b *testing.B) {
			k, s := open(b)
			codec := loadAs(b, k, config, w, p)
			const frames = 250
			b.SetBytes(4 * frames * int64(codec.Hop()))
			run(b, codec, s, frames)
			length := float64(frames) / codec.FrameRate()
			b.ReportMetric(length*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	benchmarkCodec(b, func(b *testing.B, codec *Codec, s kern.Stream, frames int) {
		samples := noise(frames * codec.Hop())
		for b.Loop() {
			if _, _, err := codec.Encode(context.Background(), s, samples); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	benchmarkCodec(b, func(b *testing.B, codec *Codec, s kern.Stream, frames int) {
		codes := randomCodes(codec.config, frames)
		for b.Loop() {
			err := codec.Decode(context.Background(), s, codes, frames, 0, func([]float32) error { return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
