package main

// The sizes of the model, and its configuration files in the words of Hugging Face transformers.

import "encoding/json"

const (
	codebooks = 4
	entries   = 256 // per codebook; also the special token's id
	width     = 128 // of the decoder
	heads     = 4
	layers    = 3
	feed      = 4 * width

	textWidth  = 64
	textHeads  = 4
	textFeed   = 128
	textLayers = 2
	textWords  = 160 // rows of the text embedding: the tokenizer's pieces and some to spare, as in t5-base

	filters  = 6
	latent   = 32 // width of a codebook's row
	rate     = 32000
	kernel   = 7
	residual = 3
)

var ratios = []int{8, 5, 4, 4} // of the codec's decoder; the product is the hop, 640 samples

type object map[string]any

func config() object {
	return object{
		"architectures":      []string{"MusicgenForConditionalGeneration"},
		"model_type":         "musicgen",
		"is_encoder_decoder": true,
		"dtype":              "float16",
		"text_encoder": object{
			"model_type": "t5", "d_model": textWidth, "d_ff": textFeed, "d_kv": textWidth / textHeads,
			"num_heads": textHeads, "num_layers": textLayers, "vocab_size": textWords, "feed_forward_proj": "relu",
			"dense_act_fn": "relu", "is_gated_act": false, "layer_norm_epsilon": 1e-6, "pad_token_id": 0, "eos_token_id": 1,
			"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
		},
		"audio_encoder": object{
			"model_type": "encodec", "sampling_rate": rate, "audio_channels": 1, "normalize": false, "chunk_length_s": nil,
			"overlap": nil, "hidden_size": latent, "codebook_size": entries, "codebook_dim": latent, "num_filters": filters,
			"num_residual_layers": 1, "num_lstm_layers": 2, "upsampling_ratios": ratios, "norm_type": "weight_norm",
			"kernel_size": kernel, "last_kernel_size": kernel, "residual_kernel_size": residual, "dilation_growth_rate": 2,
			"compress": 2, "pad_mode": "reflect", "use_causal_conv": false, "use_conv_shortcut": false,
			"trim_right_ratio": json.Number("1.0"), "target_bandwidths": []float64{1.6}, // kbit/s: 50 frames · 4 codebooks · 8 bits
		},
		"decoder": object{
			"model_type": "musicgen_decoder", "vocab_size": entries, "num_codebooks": codebooks, "audio_channels": 1,
			"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": feed,
			"activation_function": "gelu", "max_position_embeddings": 2048, "scale_embedding": false,
			"tie_word_embeddings": false, "bos_token_id": entries, "pad_token_id": entries, "eos_token_id": nil,
		},
	}
}

func generation() object {
	return object{
		"bos_token_id": entries, "decoder_start_token_id": entries, "pad_token_id": entries,
		"do_sample": true, "guidance_scale": json.Number("3.0"), "max_length": 1500,
	}
}

// encode writes JSON with sorted keys, so that the files are the same each time. Fractions that happen to be whole are
// json.Number: the reference refuses an integer where it wants a fraction.
func encode(o object) []byte {
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		panic(err) // a bug in this program: objects of plain values always encode
	}
	return append(text, '\n')
}
