package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"segue/weights"
)

// smallest is how many numbers a matrix must have for 8 bits to be worth a tensor of scales.
const smallest = 4096

// average is what a codebook's training leaves behind, as large as the codebook. Nobody reads it, but transformers wants it
// to be there, so unpack writes the codebook in its place.
const average = ".codebook.embed_avg"

func packTensors(path string) ([]byte, error) {
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var out []*weights.Tensor
	for _, t := range file.Tensors {
		switch {
		case strings.HasSuffix(t.Name, average):
		case len(t.Shape) == 2 && t.Len() >= smallest:
			values, scales, err := weights.Group(t)
			if err != nil {
				return nil, err
			}
			out = append(out, values, scales)
		default:
			half, err := halves(t)
			if err != nil {
				return nil, err
			}
			out = append(out, half)
		}
	}
	return encode(out)
}

func unpackTensors(path string) ([]byte, error) {
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var out []*weights.Tensor
	for name, t := range file.Tensors {
		if base, ok := strings.CutSuffix(name, ".scale"); ok && file.Tensors[base] != nil {
			continue // part of that one
		}
		values := t.Floats()
		if t.DType == weights.I8 {
			if values, err = grouped(t, file.Tensors[name+".scale"]); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
		}
		out = append(out, weights.FromFloats(name, values, t.Shape...))
		if codec, ok := strings.CutSuffix(name, ".codebook.embed"); ok {
			out = append(out, weights.FromFloats(codec+average, values, t.Shape...))
		}
	}
	return encode(out)
}

// grouped multiplies integers with their scales.
func grouped(t, scales *weights.Tensor) ([]float32, error) {
	if scales == nil || len(t.Shape) != 2 {
		return nil, fmt.Errorf("%s: got I8 without %s.scale, want both", t.Name, t.Name)
	}
	whole := *t
	whole.Scales = scales.Data
	if cols := t.Shape[1]; scales.Len() != t.Shape[0]*((cols+weights.GroupSize-1)/weights.GroupSize) || scales.DType != weights.F16 {
		return nil, fmt.Errorf("%s.scale: got %s %v for %v", t.Name, scales.DType, scales.Shape, t.Shape)
	}
	return whole.Floats(), nil
}

// halves is t as float16.
func halves(t *weights.Tensor) (*weights.Tensor, error) {
	half := &weights.Tensor{Name: t.Name, DType: weights.F16, Shape: t.Shape}
	for i, v := range t.Floats() {
		h := weights.F32ToF16(v)
		if h&0x7c00 == 0x7c00 {
			return nil, fmt.Errorf("%s: number %d: got %g, want one that float16 holds", t.Name, i, v)
		}
		half.Data = binary.LittleEndian.AppendUint16(half.Data, h)
	}
	return half, nil
}

func encode(tensors []*weights.Tensor) ([]byte, error) {
	var file bytes.Buffer
	err := weights.WriteSafetensors(&file, tensors, map[string]string{"format": "pt"})
	return file.Bytes(), err
}

// withDType is a config.json that says in which type its tensors are.
func withDType(config []byte, dtype string) ([]byte, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(config, &members); err != nil {
		return nil, err
	}
	members["dtype"], _ = json.Marshal(dtype)
	return json.MarshalIndent(members, "", "  ")
}
