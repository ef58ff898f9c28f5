package encodec

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/weights"
)

const goldens = "../../testdata/goldens"

// open starts the CPU backend and a stream on it.
func open(t testing.TB) (kern.Backend, kern.Stream) {
	t.Helper()
	k, err := cpukern.Open(cpukern.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	s, err := k.Stream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return k, s
}

// loadGolden loads the codec of a golden checkpoint.
func loadGolden(t testing.TB, k kern.Backend, variant string) *Codec {
	t.Helper()
	return loadGoldenAs(t, k, variant, kern.Stored)
}

func loadGoldenAs(t testing.TB, k kern.Backend, variant string, p kern.Precision) *Codec {
	t.Helper()
	checkpoint, err := weights.Open(filepath.Join(goldens, variant), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	config, err := ParseConfig(checkpoint.Section("audio_encoder"))
	if err != nil {
		t.Fatal(err)
	}
	b := checkpoint.Bind()
	w := Bind(b, config)
	for _, others := range []string{"decoder.", "text_encoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj."} {
		b.Ignore(others)
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	codec, err := Load(t.Context(), k, config, w, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(codec.Close)
	return codec
}

// decode collects the samples of frames [from, frames).
func decode(t testing.TB, codec *Codec, s kern.Stream, codes []int32, frames, from int) []float32 {
	t.Helper()
	var all []float32
	err := codec.Decode(context.Background(), s, codes, frames, from, func(samples []float32) error {
		all = append(all, samples...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestGolden compares with transformers: embeddings before codes, because a near tie may flip a code.
func TestGolden(t *testing.T) {
	k, s := open(t)
	for _, variant := range []string{"mono", "stereo", "stereo-sharded"} {
		codec := loadGolden(t, k, variant)
		tensors := variant
		if variant == "stereo-sharded" {
			tensors = "stereo" // the same model in other files
		}
		golden, err := weights.OpenSafetensors(filepath.Join(goldens, tensors, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer golden.Close()
		for _, clip := range []string{"encodec.short", "encodec.long"} {
			t.Run(variant+"/"+clip, func(t *testing.T) { compareClip(t, codec, s, golden.Tensors, clip) })
		}
	}
}

func compareClip(t *testing.T, codec *Codec, s kern.Stream, golden map[string]*weights.Tensor, clip string) {
	audio := golden[clip+".audio"].Floats()
	z, frames, err := codec.Embeddings(context.Background(), s, audio)
	if err != nil {
		t.Fatal(err)
	}
	dim := len(z) / frames
	want := transpose(golden[clip+".embeddings"].Floats(), dim, frames)
	if worst := maxError(z, want); worst > 1e-4 {
		t.Errorf("embeddings: error %.3g, want at most 1e-4", worst)
	}
	codes, frames, err := codec.Encode(context.Background(), s, audio)
	if err != nil {
		t.Fatal(err)
	}
	wantCodes, err := golden[clip+".codes"].Ints()
	if err != nil {
		t.Fatal(err)
	}
	if len(codes) != len(wantCodes) {
		t.Fatalf("got %d codes, want %d", len(codes), len(wantCodes))
	}
	for i := range codes {
		if codes[i] != wantCodes[i] {
			t.Errorf("codebook %d, frame %d: got code %d, want %d", i/frames, i%frames, codes[i], wantCodes[i])
		}
	}
	samples := decode(t, codec, s, wantCodes, frames, 0)
	if worst := maxError(samples, golden[clip+".decoded"].Floats()); worst > 1e-4 {
		t.Errorf("decoded: error %.3g, want at most 1e-4", worst)
	}
}

// TestPrecisions bounds what rounding the LSTM's matrices does: noise against the exact samples, codes that change.
func TestPrecisions(t *testing.T) {
	k, s := open(t)
	exact := loadGolden(t, k, "stereo") // stored in float32
	samples := noise(50 * exact.Hop())
	codes, frames, err := exact.Encode(context.Background(), s, samples)
	if err != nil {
		t.Fatal(err)
	}
	want := decode(t, exact, s, codes, frames, 0)
	for _, test := range []struct {
		precision kern.Precision
		decibels  float64 // at least
		changed   int     // of 200 codes, at most
	}{{kern.F32, math.Inf(1), 0}, {kern.F16, 80, 1}, {kern.Q8, 50, 6}} {
		codec := loadGoldenAs(t, k, "stereo", test.precision)
		if ratio := decibels(decode(t, codec, s, codes, frames, 0), want); ratio < test.decibels {
			t.Errorf("%s: noise %.1f dB below the sound, want at least %g", test.precision, ratio, test.decibels)
		}
		again, _, err := codec.Encode(context.Background(), s, samples)
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for i := range codes {
			if again[i] != codes[i] {
				changed++
			}
		}
		if changed > test.changed {
			t.Errorf("%s: %d of %d codes change, want at most %d", test.precision, changed, len(codes), test.changed)
		}
	}
}

// decibels is how far the difference of two signals lies below the second.
func decibels(got, want []float32) float64 {
	noise, sound := 0.0, 0.0
	for i, v := range want {
		d := float64(got[i]) - float64(v)
		noise += d * d
		sound += float64(v) * float64(v)
	}
	return 10 * math.Log10(sound/noise)
}

// transpose turns [rows, columns] into [columns, rows].
func transpose(x []float32, rows, columns int) []float32 {
	y := make([]float32, len(x))
	for i := range rows {
		for j := range columns {
			y[j*rows+i] = x[i*columns+j]
		}
	}
	return y
}

// maxError is infinite for different lengths and for NaN.
func maxError(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range got {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if !(d <= worst) {
			worst = d
		}
		if math.IsNaN(d) {
			return math.Inf(1)
		}
	}
	return worst
}

func peak(x []float32) float64 {
	p := 0.0
	for _, v := range x {
		p = max(p, math.Abs(float64(v)))
	}
	return p
}
