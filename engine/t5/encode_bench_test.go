package t5

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"

	"segue/engine/cpukern"
	"segue/engine/kern"
	"segue/weights"
)

// BenchmarkEncoder is the forward pass at the shape of t5-base, which MusicGen's models have, over a description of 16
// tokens. Bytes are those of the linear weights.
func BenchmarkEncoder(b *testing.B) {
	config := Config{
		VocabSize: 1000, DModel: 768, DKV: 64, DFF: 3072, NumLayers: 12, NumHeads: 12,
		RelativeAttentionNumBuckets: 32, RelativeAttentionMaxDistance: 128, LayerNormEpsilon: 1e-6,
	}
	checkpoint, err := weights.Synthetic(fstest.MapFS{"config.json": {Data: []byte(`{"model_type": "musicgen", "decoder": {}, "text_encoder": {}, "audio_encoder": {}}`)}})
	if err != nil {
		b.Fatal(err)
	}
	defer checkpoint.Close()
	w := Bind(checkpoint.Bind(), config)
	ids := make([]int32, 16)
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		b.Run(fmt.Sprintf("%s/tokens=%d", p, len(ids)), func(b *testing.B) { benchEncoder(b, config, w, p, ids) })
	}
}

func benchEncoder(b *testing.B, config Config, w *Weights, p kern.Precision, ids []int32) {
	backend, err := cpukern.Open(cpukern.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	stream, err := backend.Stream()
	if err != nil {
		b.Fatal(err)
	}
	encoder, err := Load(b.Context(), backend, config, w, p)
	if err != nil {
		b.Fatal(err)
	}
	defer encoder.Close()
	bytes := int64(0)
	for _, block := range encoder.blocks {
		bytes += block.qkv.Bytes() + block.o.Bytes() + block.wi.Bytes() + block.wo.Bytes()
	}
	b.SetBytes(bytes)
	for b.Loop() {
		states, err := encoder.Encode(context.Background(), stream, ids)
		if err != nil {
			b.Fatal(err)
		}
		states.Free()
	}
}
