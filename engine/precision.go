package engine

import (
	"segue/engine/kern"
	"segue/engine/lm"
	"segue/engine/musicgen"
)

// What auto stands for: what segue bench recommends on the machines at hand; SPEED.md has the measurements behind it.
const (
	autoQuantization = kern.Q8
	autoCache        = kern.Q8
	autoCodec        = kern.F16 // its rounding noise is 87 dB below the sound
)

// precisions reads the options' names, which Validate has checked.
func (o ModelOptions) precisions() musicgen.Precisions {
	p := musicgen.Precisions{
		Decoder: lm.Precisions{
			Linears:    precision(o.Quantization, autoQuantization),
			Embeddings: precision(o.Embeddings, kern.Stored),
			Cache:      precision(o.KVCache, autoCache),
		},
		Text:  precision(o.TextEncoder, kern.Stored),
		Codec: precision(o.Codec, autoCodec),
	}
	if o.Quantization == "q4_decoder_linears_emb" && p.Decoder.Embeddings == kern.Stored {
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
