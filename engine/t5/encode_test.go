package t5

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/weights"
)

// machine is a golden encoder on the reference backend.
type machine struct {
	backend kern.Backend
	stream  kern.Stream
	encoder *Encoder
}

func load(t *testing.T, variant string) machine {
	t.Helper()
	checkpoint, err := weights.Open(filepath.Join(goldens, variant), weights.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { checkpoint.Close() })
	config, err := ParseConfig(checkpoint.Section("text_encoder"))
	if err != nil {
		t.Fatal(err)
	}
	binder := checkpoint.Bind()
	w := Bind(binder, config)
	for _, others := range []string{"decoder.", "audio_encoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj."} {
		binder.Ignore(others)
	}
	if err := binder.Err(); err != nil {
		t.Fatal(err)
	}
	m := machine{}
	if m.backend, err = cpukern.Open(cpukern.Options{Threads: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.backend.Close() })
	if m.stream, err = m.backend.Stream(); err != nil {
		t.Fatal(err)
	}
	if m.encoder, err = Load(t.Context(), m.backend, config, w, kern.Stored); err != nil {
		t.Fatal(err)
	}
	return m
}

// encode returns the states on the host.
func (m machine) encode(t *testing.T, ids []int32) []float32 {
	t.Helper()
	buffer, err := m.encoder.Encode(context.Background(), m.stream, ids)
	if err != nil {
		t.Fatal(err)
	}
	defer buffer.Free()
	states := make([]float32, len(ids)*m.encoder.Width())
	if err := m.stream.Download(states, kern.All(buffer)); err != nil {
		t.Fatal(err)
	}
	return states
}

// TestGoldenStates encodes each text alone; the reference padded them to one batch and masked the padding, which leaves
// the other rows as they are.
func TestGoldenStates(t *testing.T) {
	const tolerance = 1e-4
	for _, variant := range []string{"mono", "stereo", "stereo-sharded", "melody"} {
		m := load(t, variant)
		source := strings.TrimSuffix(variant, "-sharded")
		file, err := weights.OpenSafetensors(filepath.Join(goldens, source, "golden.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		padded, err1 := file.Tensors["text.input_ids"].Ints()
		mask, err2 := file.Tensors["text.attention_mask"].Ints()
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		hidden := file.Tensors["text.hidden"]
		want, texts, length, width := hidden.Floats(), hidden.Shape[0], hidden.Shape[1], hidden.Shape[2]
		for i := range texts {
			row := i * length
			n := length
			if end := slices.Index(mask[row:row+length], 0); end >= 0 {
				n = end
			}
			states := m.encode(t, padded[row:row+n])
			if got := farthest(states, want[row*width:(row+n)*width]); got > tolerance {
				t.Errorf("%s: text %d of %d tokens: got %g away, want at most %g", variant, i, n, got, tolerance)
			}
		}
	}
}

func farthest(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	worst := 0.0
	for i := range want {
		if d := math.Abs(float64(got[i] - want[i])); !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// TestEncodeAgain: buffers that have grown for a long text do not change a short one, and all memory comes back.
func TestEncodeAgain(t *testing.T) {
	m := load(t, "mono")
	short, long := []int32{5, 9, 1}, make([]int32, 150)
	for i := range long {
		long[i] = int32(i % 100)
	}
	loaded := m.backend.Allocated()
	before := m.encode(t, short)
	m.encode(t, long)
	grown := m.backend.Allocated()
	if after := m.encode(t, short); !slices.Equal(before, after) {
		t.Error("the same text gave other states after a longer one")
	}
	if m.encode(t, long); m.backend.Allocated() != grown {
		t.Errorf("got %d bytes held after the second text of a length, want %d", m.backend.Allocated(), grown)
	}
	m.encoder.Close()
	if left := m.backend.Allocated(); left != 0 {
		t.Errorf("got %d bytes held after Close, %d after Load, want 0", left, loaded)
	}
}

func TestEncodeRefuses(t *testing.T) {
	m := load(t, "mono")
	held := m.backend.Allocated()
	for name, ids := range map[string][]int32{"none": nil, "negative": {-1, 1}, "outside": {1 << 20, 1}} {
		if _, err := m.encoder.Encode(context.Background(), m.stream, ids); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if m.backend.Allocated() != held {
		t.Errorf("got %d bytes held, want %d", m.backend.Allocated(), held)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := m.encoder.Encode(cancelled, m.stream, []int32{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
	}
	if states := m.encode(t, []int32{1}); math.IsNaN(float64(states[0])) {
		t.Error("after a cancel: got NaN")
	}
	m.stream.Close()
	if _, err := m.encoder.Encode(context.Background(), m.stream, []int32{1}); err == nil {
		t.Error("closed stream: got no error")
	}
}

// TestLoadFails: what was uploaded before an error is freed.
func TestLoadFails(t *testing.T) {
	backend, err := cpukern.Open(cpukern.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	zeros := func(shape ...int) *weights.Tensor {
		return weights.FromFloats("zeros", make([]float32, kern.Product(shape...)), shape...)
	}
	c := Config{VocabSize: 4, DModel: 2, DKV: 1, DFF: 2, NumLayers: 1, NumHeads: 2, RelativeAttentionNumBuckets: 4}
	w := &Weights{Shared: zeros(4, 2), RelativeBias: zeros(4, 2), FinalNorm: zeros(2), Blocks: []Block{{
		AttentionNorm: zeros(2), Q: zeros(2, 2), K: zeros(2, 3), V: zeros(2, 2), // k has too many columns
		O: zeros(2, 2), DenseNorm: zeros(2), WI: zeros(2, 2), WO: zeros(2, 2),
	}}}
	if _, err := Load(t.Context(), backend, c, w, kern.Stored); err == nil {
		t.Fatal("got no error")
	}
	if held := backend.Allocated(); held != 0 {
		t.Errorf("got %d bytes held, want 0", held)
	}
}
