package weights

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// torch.save writes a zip of stored (uncompressed) entries under one folder of any name:
//
//	<folder>/data.pkl     a pickle of the object; each tensor names a storage, an offset, a shape and strides
//	<folder>/data/<key>   one storage each
//	<folder>/byteorder    "little", in newer files
//
// Contiguous tensors are windows of the file. Others are copied, within the size of the file. Checksums are not looked
// at: some versions of torch write zeros.

// maxRank bounds the dimensions of a tensor; MusicGen's have at most three.
const maxRank = 8

type torchFile struct {
	data    []byte
	entries map[string]*zip.File // names without the folder
	spare   int                  // bytes that strided tensors may still be copied into
}

// A storage is the flat memory that tensors are views of.
type storage struct {
	dtype DType
	data  []byte
}

// parseTorch reads the object that torch.save was given, a dict; path is for errors only. Its tensors alias data.
func parseTorch(path string, data []byte) (*dict, error) {
	if err := checkPointer(path, data); err != nil {
		return nil, err
	}
	file, err := openTorch(data)
	if err != nil {
		return nil, formatErrorf(path, "torch file: %v", err)
	}
	pickle, err := file.stored("data.pkl")
	if err != nil {
		return nil, formatErrorf(path, "torch file: %v", err)
	}
	root, err := unpickle(pickle, file)
	var unsupported *UnsupportedError
	if errors.As(err, &unsupported) {
		return nil, &UnsupportedError{path, unsupported.Reasons}
	}
	if err != nil {
		return nil, formatErrorf(path, "torch file: %v", err)
	}
	object, ok := root.(*dict)
	if !ok {
		return nil, formatErrorf(path, "torch file: holds a %T, want a dict of tensors", root)
	}
	return object, nil
}

func openTorch(data []byte) (*torchFile, error) {
	if len(data) > 1 && data[0] == 0x80 && data[1] <= 5 { // a bare pickle
		return nil, errors.New("written by torch before 1.6; load and save it again with a newer one")
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	file := &torchFile{data: data, entries: map[string]*zip.File{}, spare: len(data)}
	folder := ""
	for _, f := range archive.File {
		if top, rest, _ := strings.Cut(f.Name, "/"); rest == "data.pkl" {
			folder = top + "/"
			break
		}
	}
	for _, f := range archive.File {
		if name, ok := strings.CutPrefix(f.Name, folder); ok {
			file.entries[name] = f
		}
	}
	if file.entries["byteorder"] == nil {
		return file, nil
	}
	if order, err := file.stored("byteorder"); err != nil || string(order) != "little" {
		return nil, fmt.Errorf("byteorder: got %.16q, want little (%v)", order, err)
	}
	return file, nil
}

// stored is the content of an uncompressed entry, as a window of the file.
func (f *torchFile) stored(name string) ([]byte, error) {
	entry := f.entries[name]
	if entry == nil {
		return nil, fmt.Errorf("zip entry %.64q is missing", name)
	}
	if entry.Method != zip.Store || entry.Flags&1 != 0 {
		return nil, fmt.Errorf("zip entry %.64q is compressed or encrypted, want it stored", name)
	}
	offset, err := entry.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("zip entry %.64q: %w", name, err)
	}
	size := entry.UncompressedSize64
	if offset < 0 || offset > int64(len(f.data)) || size > uint64(int64(len(f.data))-offset) {
		return nil, fmt.Errorf("zip entry %.64q: %d bytes at %d of %d; the file is cut short", name, size, offset, len(f.data))
	}
	end := offset + int64(size)
	return f.data[offset:end:end], nil
}

var storageTypes = map[global]DType{
	"torch.FloatStorage": F32, "torch.HalfStorage": F16, "torch.BFloat16Storage": BF16, "torch.DoubleStorage": F64,
	"torch.IntStorage": I32, "torch.LongStorage": I64, "torch.ByteStorage": U8,
}

// persistent resolves ("storage", type, key, device, elements).
func (f *torchFile) persistent(id tuple) (any, error) {
	if len(id) < 5 || id[0] != "storage" {
		return nil, errors.New("persistent id is not a torch storage")
	}
	class, _ := id[1].(global)
	dtype, known := storageTypes[class]
	if !known {
		return nil, &UnsupportedError{Reasons: []string{fmt.Sprintf("tensors of type %.80q", class)}}
	}
	key, isText := id[2].(string)
	count, isInt := id[4].(int64)
	if !isText || !isInt {
		return nil, fmt.Errorf("storage has key %T and size %T, want a string and an integer", id[2], id[4])
	}
	data, err := f.stored("data/" + key)
	if err != nil {
		return nil, err
	}
	if count < 0 || count > int64(len(data)/dtype.Size()) {
		return nil, fmt.Errorf("storage %.64q: %d elements of %s in %d bytes", key, count, dtype, len(data))
	}
	return &storage{dtype, data[:int(count)*dtype.Size()]}, nil
}

// call knows the few names that state dicts are made of. Every other becomes opaque: nothing is run.
func (f *torchFile) call(callee global, args tuple) (any, error) {
	if callee == "torch._tensor._rebuild_from_type_v2" && len(args) > 2 { // (function, type, arguments, state); it is never its own function
		name, _ := args[0].(global)
		inner, _ := args[2].(tuple)
		callee, args = name, inner
	}
	switch callee {
	case "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor":
		return f.tensor(args)
	case "torch._utils._rebuild_parameter":
		if len(args) > 0 {
			return args[0], nil
		}
	case "collections.OrderedDict":
		if len(args) == 0 { // always so from Python 3: items follow
			return &dict{}, nil
		}
	}
	return opaque(callee), nil
}

// tensor makes a tensor of (storage, offset, shape, strides, …); offset and strides count elements.
func (f *torchFile) tensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor has %d arguments, want at least 4", len(args))
	}
	source, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("tensor has a %T, want a storage", args[0])
	}
	numbers, okOffset := integers(tuple{args[1]})
	shape, okShape := integers(args[2])
	strides, okStrides := integers(args[3])
	if !okOffset || !okShape || !okStrides || len(shape) != len(strides) {
		return nil, errors.New("tensor has no sound offset, shape and strides")
	}
	offset, size := numbers[0], source.dtype.Size()
	count, ok := elements(shape)
	if !ok || !reaches(len(source.data)/size, offset, shape, strides) {
		return nil, fmt.Errorf("tensor of shape %v, strides %v at %d exceeds its storage of %d elements",
			shape, strides, offset, len(source.data)/size)
	}
	t := &Tensor{DType: source.dtype, Shape: shape}
	switch {
	case count == 0:
	case contiguous(shape, strides):
		t.Data = source.data[offset*size : (offset+count)*size]
	case count > f.spare/size:
		return nil, fmt.Errorf("tensor of shape %v, strides %v would be larger than the file", shape, strides)
	default:
		f.spare -= count * size
		t.Data = gather(make([]byte, 0, count*size), source.data, size, offset, shape, strides)
	}
	return t, nil
}

// integers reads a short tuple of numbers that are not negative.
func integers(v any) ([]int, bool) {
	values, ok := v.(tuple)
	if len(values) > maxRank {
		return nil, false
	}
	numbers := make([]int, len(values))
	for i, value := range values {
		n, isInt := value.(int64)
		if !isInt || n < 0 || int64(int(n)) != n {
			return nil, false
		}
		numbers[i] = int(n)
	}
	return numbers, ok
}

// reaches says that the last element of a strided view lies within the storage.
func reaches(size, offset int, shape, strides []int) bool {
	last := offset
	for i, d := range shape {
		if d == 0 {
			return true
		}
		if last >= size || strides[i] > 0 && d-1 > (size-1-last)/strides[i] {
			return false
		}
		last += (d - 1) * strides[i]
	}
	return last < size
}

func contiguous(shape, strides []int) bool {
	want := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}

// gather appends a strided view to out in row-major order, counting through the indices like an odometer.
func gather(out, source []byte, size, offset int, shape, strides []int) []byte {
	index := make([]int, len(shape))
	for {
		out = append(out, source[offset*size:(offset+1)*size]...)
		axis := len(shape) - 1
		for ; axis >= 0; axis-- {
			if index[axis]++; index[axis] < shape[axis] {
				offset += strides[axis]
				break
			}
			offset -= (shape[axis] - 1) * strides[axis]
			index[axis] = 0
		}
		if axis < 0 {
			return out
		}
	}
}

// tensors are the entries of a dict that are tensors, under their names.
func (d *dict) tensors() map[string]*Tensor {
	tensors := map[string]*Tensor{}
	for _, e := range d.entries {
		name, isText := e.key.(string)
		if t, isTensor := e.value.(*Tensor); isText && isTensor {
			tensors[name] = t.named(name)
		}
	}
	return tensors
}
