package engine

import (
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
)

// precisions reads the options' names, which Validate has checked.
func (o ModelOptions) precisions() musicgen.Precisions {
	auto := musicgen.Auto
	p := musicgen.Precisions{
		Decoder: lm.Precisions{
			Linears:    precision(o.Quantization, auto.Decoder.Linears),
			Embeddings: precision(o.Embeddings, auto.Decoder.Embeddings),
			Cache:      precision(o.KVCache, auto.Decoder.Cache),
		},
		Text:  precision(o.TextEncoder, auto.Text),
		Codec: precision(o.Codec, auto.Codec),
	}
	if o.Quantization == "q4_decoder_linears_emb" && (o.Embeddings == "" || o.Embeddings == "auto") {
		p.Decoder.Embeddings = kern.Q4
	}
	return p
}

// aliases are the names that older systems gave.
var aliases = map[string]kern.Precision{
	"q8_decoder_linears": kern.Q8, "q4_decoder_linears": kern.Q4, "q4_decoder_linears_emb": kern.Q4, "int8": kern.Q8,
}

func precision(name string, auto kern.Precision) kern.Precision {
	if name == "" || name == "auto" {
		return auto
	}
	if p, ok := aliases[name]; ok {
		return p
	}
	p, _ := kern.ParsePrecision(name) // an enum of the parameter
	return p
}
