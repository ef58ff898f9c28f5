package engine

import (
	"testing"

	"segue/engine/kern"
	"segue/engine/musicgen"
)

// Auto is what a request gets that names nothing, or names it; what it names otherwise is its own.
func TestAuto(t *testing.T) {
	named := ModelOptions{Quantization: "auto", Embeddings: "auto", KVCache: "auto", TextEncoder: "auto", Codec: "auto"}
	exact := musicgen.Auto
	exact.Codec = kern.Stored
	small, stored := musicgen.Auto, musicgen.Auto
	small.Decoder.Linears, small.Decoder.Embeddings = kern.Q4, kern.Q4
	stored.Decoder.Linears, stored.Decoder.Embeddings = kern.Q4, kern.Stored
	for o, want := range map[ModelOptions]musicgen.Precisions{
		{}: musicgen.Auto, named: musicgen.Auto, {Codec: "none"}: exact,
		{Quantization: "q4_decoder_linears_emb"}: small, {Quantization: "q4_decoder_linears_emb", Embeddings: "auto"}: small,
		{Quantization: "q4_decoder_linears_emb", Embeddings: "none"}: stored,
	} {
		if got := o.precisions(); got != want {
			t.Errorf("%+v: got %+v, want %+v", o, got, want)
		}
	}
}
