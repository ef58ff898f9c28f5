package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A safetensors file is: u64 header length · JSON header · data. The header maps each tensor's name to its dtype, shape
// and [begin, end) within the data; "__metadata__" maps strings to strings. As in the reference reader, tensors cover
// the data without holes or overlap. Nothing is read beyond the header until a tensor is used.

const (
	maxSafetensorsHeader = 100 << 20 // the reference reader's limit
	metadataKey          = "__metadata__"
)

// File is an open file of tensors. The tensors alias it and die with Close.
type File struct {
	Tensors  map[string]*Tensor
	Metadata map[string]string
	mapping  *mapping
}

// Bytes is the whole file.
func (f *File) Bytes() []byte { return f.mapping.data }

// Close unmaps the file.
func (f *File) Close() error { return f.mapping.Close() }

// Prefetch tells the system that all of the file is about to be read: in large pages, where it has such for files.
func (f *File) Prefetch() { prefetch(f.mapping.data) }

// Forget gives back the memory that the file occupies since it was read; it may be read again.
func (f *File) Forget() { forget(f.mapping.data) }

// OpenSafetensors maps a file and reads its header.
func OpenSafetensors(path string) (*File, error) {
	m, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f, err := ParseSafetensors(path, m.data)
	if err != nil {
		m.Close()
		return nil, err
	}
	f.mapping = m
	return f, nil
}

// ParseSafetensors reads a file that is in memory; path is for errors only. The tensors alias data.
func ParseSafetensors(path string, data []byte) (*File, error) {
	if err := checkPointer(path, data); err != nil {
		return nil, err
	}
	if len(data) < 8 {
		return nil, formatErrorf(path, "safetensors: got %d bytes, want a header; the file is cut short", len(data))
	}
	size, rest := binary.LittleEndian.Uint64(data), data[8:]
	if size > maxSafetensorsHeader || size > uint64(len(rest)) {
		return nil, formatErrorf(path, "safetensors: header of %d bytes in a file of %d; cut short or not safetensors", size, len(data))
	}
	f := &File{Tensors: map[string]*Tensor{}, mapping: &mapping{data: data}}
	if err := f.parseHeader(path, rest[:size], rest[size:]); err != nil {
		return nil, err
	}
	return f, nil
}

// A safetensorsEntry is one tensor of the header.
type safetensorsEntry struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets []int  `json:"data_offsets"`
}

// parseHeader goes through the object key by key, because a map would hide duplicates.
func (f *File) parseHeader(path string, header, data []byte) error {
	bad := func(err error) error { return formatErrorf(path, "safetensors: header: %v", err) }
	decoder := json.NewDecoder(bytes.NewReader(header))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return bad(fmt.Errorf("got %v, want a JSON object (%v)", open, err))
	}
	spans := []span{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return bad(err)
		}
		name := key.(string) // a JSON object's key
		if name == metadataKey {
			if err := decoder.Decode(&f.Metadata); err != nil {
				return bad(fmt.Errorf("%s: %w", metadataKey, err))
			}
			continue
		}
		var entry safetensorsEntry
		if err := decoder.Decode(&entry); err != nil {
			return bad(fmt.Errorf("tensor %.200q: %w", name, err))
		}
		if f.Tensors[name] != nil {
			return bad(fmt.Errorf("tensor %.200q is listed twice", name))
		}
		if f.Tensors[name], err = entry.tensor(path, name, data); err != nil {
			return err
		}
		spans = append(spans, span{name, entry.Offsets[0], entry.Offsets[1]})
	}
	if _, err := decoder.Token(); err != nil {
		return bad(err)
	}
	if tail := bytes.TrimRight(header[decoder.InputOffset():], " \t\r\n\x00"); len(tail) > 0 {
		return bad(fmt.Errorf("%d bytes after the JSON object", len(tail)))
	}
	return checkCover(path, spans, len(data))
}

func (e safetensorsEntry) tensor(path, name string, data []byte) (*Tensor, error) {
	dtype, known := dtypeNamed(e.DType)
	if !known {
		return nil, &UnsupportedError{path, []string{fmt.Sprintf("tensor %.200q has dtype %.80q, want one of %s",
			name, e.DType, strings.Join(dtypeNames[:], " "))}}
	}
	count, ok := elements(e.Shape)
	if !ok || count > math.MaxInt/dtype.Size() {
		return nil, formatErrorf(path, "safetensors: tensor %.200q: impossible shape %v", name, e.Shape)
	}
	if len(e.Offsets) != 2 {
		return nil, formatErrorf(path, "safetensors: tensor %.200q: got %d data_offsets, want 2", name, len(e.Offsets))
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	if begin < 0 || end < begin || end > len(data) {
		return nil, formatErrorf(path, "safetensors: tensor %.200q: bytes %d to %d lie outside the %d of the file; it is cut short or damaged",
			name, begin, end, len(data))
	}
	if want := count * dtype.Size(); end-begin != want {
		return nil, formatErrorf(path, "safetensors: tensor %.200q: got %d bytes, want %d for %s %v", name, end-begin, want, dtype, e.Shape)
	}
	return &Tensor{Name: name, DType: dtype, Shape: e.Shape, Data: data[begin:end:end]}, nil
}

// A span is the range of data that a tensor occupies.
type span struct {
	name       string
	begin, end int
}

func checkCover(path string, spans []span, size int) error {
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at := 0
	for _, s := range spans {
		if s.begin != at {
			return formatErrorf(path, "safetensors: tensor %.200q begins at byte %d, want %d: tensors overlap or leave a hole", s.name, s.begin, at)
		}
		at = s.end
	}
	if at != size {
		return formatErrorf(path, "safetensors: tensors end at byte %d of %d", at, size)
	}
	return nil
}

func dtypeNamed(name string) (DType, bool) {
	i := slices.Index(dtypeNames[:], name)
	return DType(max(i, 0)), i >= 0
}

// elements is the product of a shape; not ok if a dimension is negative or the product does not fit in an int.
func elements(shape []int) (count int, ok bool) {
	count = 1
	for _, d := range shape {
		if d < 0 || d > 0 && count > math.MaxInt/d {
			return 0, false
		}
		count *= d
	}
	return count, true
}

// WriteSafetensors writes tensors so that each is aligned to its element: widest dtype first, then by name. The same
// tensors give the same bytes.
func WriteSafetensors(w io.Writer, tensors []*Tensor, metadata map[string]string) error {
	return WriteSafetensorsAt(w, tensors, metadata, 8)
}

// WriteSafetensorsAt is WriteSafetensors with the first tensor at a multiple of align, itself a multiple of 8.
func WriteSafetensorsAt(w io.Writer, tensors []*Tensor, metadata map[string]string, align int) error {
	tensors = slices.Clone(tensors)
	slices.SortFunc(tensors, func(a, b *Tensor) int {
		return cmp.Or(cmp.Compare(b.DType.Size(), a.DType.Size()), cmp.Compare(a.Name, b.Name))
	})
	header, at := map[string]any{}, 0
	if metadata != nil {
		header[metadataKey] = metadata
	}
	for _, t := range tensors {
		if header[t.Name] != nil || t.Name == metadataKey {
			return fmt.Errorf("weights: write safetensors: tensor name %q is taken", t.Name)
		}
		if want := t.Len() * t.DType.Size(); len(t.Data) != want {
			return fmt.Errorf("weights: write safetensors: %s: got %d bytes, want %d", t.Name, len(t.Data), want)
		}
		shape := append([]int{}, t.Shape...) // [] rather than null for a scalar
		header[t.Name] = safetensorsEntry{t.DType.String(), shape, []int{at, at + len(t.Data)}}
		at += len(t.Data)
	}
	text, err := json.Marshal(header)
	if err != nil {
		return fmt.Errorf("weights: write safetensors: %w", err)
	}
	text = append(text, strings.Repeat(" ", (align-(8+len(text))%align)%align)...)
	if _, err := w.Write(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}
