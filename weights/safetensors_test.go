package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// safetensorsFile puts a header of any text before data.
func safetensorsFile(header string, data int) []byte {
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(file, header...), make([]byte, data)...)
}

func TestSafetensorsRoundTrip(t *testing.T) {
	tensors := []*Tensor{
		{Name: "bytes", DType: U8, Shape: []int{3}, Data: []byte{1, 2, 3}},
		FromFloats("matrix", []float32{1, 2, 3, 4, 5, 6}, 2, 3),
		FromFloats("scalar", []float32{7}),
		{Name: "none", DType: F16, Shape: []int{0, 4}, Data: []byte{}},
		{Name: "long", DType: I64, Shape: []int{1}, Data: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	}
	var file bytes.Buffer
	if err := WriteSafetensors(&file, tensors, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Metadata["format"] != "pt" || len(f.Tensors) != len(tensors) {
		t.Errorf("got metadata %v and %d tensors", f.Metadata, len(f.Tensors))
	}
	for _, want := range tensors {
		requireEqual(t, f.Tensors[want.Name], want)
	}
}

// requireEqual compares name, dtype, shape and every byte.
func requireEqual(t *testing.T, got, want *Tensor) {
	t.Helper()
	if got == nil {
		t.Fatalf("%s is missing", want.Name)
	}
	if got.Name != want.Name || got.DType != want.DType || !bytes.Equal(got.Data, want.Data) ||
		!(len(got.Shape) == 0 && len(want.Shape) == 0 || reflect.DeepEqual(got.Shape, want.Shape)) {
		t.Fatalf("got %s %s %v, want %s %s %v with the same bytes", got.Name, got.DType, got.Shape, want.Name, want.DType, want.Shape)
	}
}

func TestSafetensorsWriterRefuses(t *testing.T) {
	one := FromFloats("a", []float32{1}, 1)
	for name, tensors := range map[string][]*Tensor{
		"twice":    {one, one},
		"metadata": {FromFloats(metadataKey, []float32{1}, 1)},
		"short":    {{Name: "a", DType: F32, Shape: []int{2}, Data: make([]byte, 4)}},
	} {
		if err := WriteSafetensors(&bytes.Buffer{}, tensors, nil); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestSafetensorsUnaligned(t *testing.T) {
	// A header of odd length puts the floats at an odd address.
	file := safetensorsFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} `, 8)
	binary.LittleEndian.PutUint32(file[len(file)-4:], 0x3f800000)
	f, err := ParseSafetensors("odd", file)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Tensors["a"].Floats(); got[0] != 0 || got[1] != 1 {
		t.Errorf("got %v, want [0 1]", got)
	}
}

func TestSafetensorsHostile(t *testing.T) {
	const good = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	tests := []struct{ name, header, want string }{
		{"array", `[]`, "JSON object"},
		{"empty", ``, "JSON object"},
		{"cut", `{"a":{`, "tensor"},
		{"open", `{` + good, "header"},
		{"tail", `{` + good + `}{}`, "after the JSON object"},
		{"twice", `{` + good + `,` + good + `}`, "listed twice"},
		{"metadata", `{"__metadata__":{"a":1},` + good + `}`, "__metadata__"},
		{"dtype", `{"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}`, `tensor "a" has dtype "F8_E4M3"`},
		{"no dtype", `{"a":{"shape":[2],"data_offsets":[0,8]}}`, "dtype"},
		{"negative", `{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, "impossible shape"},
		{"overflow", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, "impossible shape"},
		{"overflow in bytes", `{"a":{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8]}}`, "impossible shape"},
		{"huge number", `{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}`, "tensor"},
		{"fraction", `{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}`, "tensor"},
		{"size", `{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, "want 12"},
		{"three offsets", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, "want 2"},
		{"past the end", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}`, "outside"},
		{"negative offset", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}`, "outside"},
		{"backwards", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, "outside"},
		{"overlap", `{` + good + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "overlap"},
		{"hole", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "hole"},
		{"unused tail", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "end at byte 4 of 8"},
	}
	for _, test := range tests {
		_, err := ParseSafetensors("model.safetensors", safetensorsFile(test.header, 8))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "model.safetensors") {
			t.Errorf("%s: got %v, want %q and the file's name", test.name, err, test.want)
		}
	}
	if _, err := ParseSafetensors("big", binary.LittleEndian.AppendUint64(nil, 1<<40)); err == nil {
		t.Error("a header larger than the file was accepted")
	}
	if _, err := ParseSafetensors("lfs", []byte("version https://git-lfs.github.com/spec/v1\n")); err == nil || !strings.Contains(err.Error(), "git lfs pull") {
		t.Errorf("got %v, want the cure for an LFS pointer", err)
	}
}

func TestSafetensorsTruncated(t *testing.T) {
	var file bytes.Buffer
	if err := WriteSafetensors(&file, []*Tensor{FromFloats("a", []float32{1, 2}, 2)}, nil); err != nil {
		t.Fatal(err)
	}
	for n := range file.Len() {
		if _, err := ParseSafetensors("cut", file.Bytes()[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, file.Len())
		}
	}
}

func TestMapFileRefuses(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	for _, path := range []string{dir, empty} {
		if _, err := OpenSafetensors(path); !errors.As(err, &format) {
			t.Errorf("%s: got %v, want a FormatError", path, err)
		}
	}
	if _, err := OpenSafetensors(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// FuzzSafetensors: what is accepted has exactly the bytes its shape needs, and survives being written again.
func FuzzSafetensors(f *testing.F) {
	f.Add(safetensorsFile(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Add(safetensorsFile(`{"__metadata__":{"a":"b"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]}}`, 2))
	f.Add(safetensorsFile(`{"a":{"dtype":"I64","shape":[0,9],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := ParseSafetensors("fuzz", data)
		if err != nil {
			return
		}
		tensors := []*Tensor{}
		for _, tensor := range file.Tensors {
			if len(tensor.Data) != tensor.Len()*tensor.DType.Size() {
				t.Fatalf("%s %v has %d bytes", tensor.DType, tensor.Shape, len(tensor.Data))
			}
			tensors = append(tensors, tensor)
		}
		var again bytes.Buffer
		if err := WriteSafetensors(&again, tensors, file.Metadata); err != nil {
			t.Fatal(err)
		}
		reread, err := ParseSafetensors("again", again.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range tensors {
			requireEqual(t, reread.Tensors[tensor.Name], tensor)
		}
	})
}
