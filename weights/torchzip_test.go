package weights

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A torchWriter pickles values as torch.save does, without a memo.
type torchWriter struct {
	pickle   []byte
	storages [][]byte
}

// view is a tensor of an earlier storage with its own offset, shape and strides.
type view struct {
	dtype                  DType
	storage, count, offset int
	shape, strides         []int
}

// raw is pickle code.
type raw string

func (w *torchWriter) value(v any) {
	switch v := v.(type) {
	case nil:
		w.code("N")
	case bool:
		w.code(map[bool]string{true: "\x88", false: "\x89"}[v])
	case int:
		w.code("J")
		w.pickle = binary.LittleEndian.AppendUint32(w.pickle, uint32(v))
	case string:
		w.code("X")
		w.pickle = binary.LittleEndian.AppendUint32(w.pickle, uint32(len(v)))
		w.code(v)
	case []int:
		w.code("(")
		for _, n := range v {
			w.value(n)
		}
		w.code("t")
	case raw:
		w.code(string(v))
	case *dict:
		w.code("ccollections\nOrderedDict\n)R(")
		for _, e := range v.entries {
			w.value(e.key)
			w.value(e.value)
		}
		w.code("u")
	case *Tensor:
		w.storages = append(w.storages, v.Data)
		w.value(view{v.DType, len(w.storages) - 1, v.Len(), 0, v.Shape, rowMajor(v.Shape)})
	case view:
		w.code("ctorch._utils\n_rebuild_tensor_v2\n((")
		for _, part := range []any{"storage", raw("ctorch\n" + storageName(v.dtype) + "\n"), fmt.Sprint(v.storage), "cpu", v.count,
			raw("tQ"), v.offset, v.shape, v.strides, false, &dict{}, raw("tR")} {
			w.value(part)
		}
	default:
		panic(fmt.Sprintf("no pickle for %T", v))
	}
}

func (w *torchWriter) code(s string) { w.pickle = append(w.pickle, s...) }

func storageName(d DType) string {
	for class, dtype := range storageTypes {
		if dtype == d {
			return strings.TrimPrefix(string(class), "torch.")
		}
	}
	return "BoolStorage"
}

func rowMajor(shape []int) []int {
	strides, step := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = step
		step *= shape[i]
	}
	return strides
}

// torchFileOf is a whole file that holds v.
func torchFileOf(v any, storages ...[]byte) []byte {
	w := torchWriter{pickle: []byte{0x80, 2}, storages: storages}
	w.value(v)
	w.code(".")
	return torchZip(zip.Store, w.pickle, w.storages)
}

func torchZip(method uint16, pickle []byte, storages [][]byte) []byte {
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	add := func(name string, data []byte) {
		entry, err := archive.CreateHeader(&zip.FileHeader{Name: "any/" + name, Method: method})
		if err == nil {
			_, err = entry.Write(data)
		}
		if err != nil {
			panic(err)
		}
	}
	add("data.pkl", pickle)
	add("byteorder", []byte("little"))
	for i, data := range storages {
		add(fmt.Sprintf("data/%d", i), data)
	}
	archive.Close()
	return file.Bytes()
}

// zipOf has one empty entry.
func zipOf(name string) []byte {
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	archive.Create(name)
	archive.Close()
	return file.Bytes()
}

func dictOf(pairs ...any) *dict {
	d := &dict{}
	for i := 0; i < len(pairs); i += 2 {
		d.entries = append(d.entries, entry{pairs[i], pairs[i+1]})
	}
	return d
}

func TestTorchRealFile(t *testing.T) {
	data, err := os.ReadFile(goldens + "mono-audiocraft/state_dict.bin")
	if err != nil {
		t.Fatal(err)
	}
	root, err := parseTorch("state_dict.bin", data)
	if err != nil {
		t.Fatal(err)
	}
	best, ok := root.get("best_state").(*dict)
	if !ok || len(best.entries) < 20 {
		t.Fatalf("best_state: got %T", root.get("best_state"))
	}
	embed, _ := best.get("emb.0.weight").(*Tensor)
	if embed == nil || embed.DType != F16 || !slices.Equal(embed.Shape, []int{129, 64}) {
		t.Error("emb.0.weight: want float16 of [129 64]")
	}
	if config, _ := root.get("xp.cfg").(string); !strings.Contains(config, "transformer_lm:") {
		t.Errorf("xp.cfg: got %.80q", config)
	}
	if root.get("exported") != true || root.get("absent") != nil {
		t.Errorf("exported: got %v, absent: got %v", root.get("exported"), root.get("absent"))
	}
}

func TestTorchViews(t *testing.T) {
	bytes := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	tests := []struct {
		name           string
		offset         int
		shape, strides []int
		want           []byte
		aliases        bool
	}{
		{"whole", 0, []int{3, 4}, []int{4, 1}, bytes, true},
		{"rows", 4, []int{2, 4}, []int{4, 1}, bytes[4:], true},
		{"scalar", 7, []int{}, []int{}, []byte{7}, true},
		{"one row, odd stride", 2, []int{1, 3}, []int{77, 1}, []byte{2, 3, 4}, true},
		{"transposed", 0, []int{4, 3}, []int{1, 4}, []byte{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}, false},
		{"column", 1, []int{3}, []int{4}, []byte{1, 5, 9}, false},
		{"expanded", 5, []int{2, 2}, []int{0, 0}, []byte{5, 5, 5, 5}, false},
		{"permuted", 0, []int{2, 2, 3}, []int{3, 6, 1}, []byte{0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11}, false},
		{"nothing", 0, []int{0, 5}, []int{5, 1}, nil, true},
	}
	for _, test := range tests {
		file := torchFileOf(dictOf("x", view{U8, 0, 12, test.offset, test.shape, test.strides}), bytes)
		root, err := parseTorch("views", file)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		got := root.tensors()["x"]
		if !slices.Equal(got.Data, test.want) || !slices.Equal(got.Shape, test.shape) {
			t.Errorf("%s: got %v %v, want %v", test.name, got.Shape, got.Data, test.want)
		}
		if test.aliases && len(got.Data) > 0 && !within(got.Data, file) {
			t.Errorf("%s: a contiguous view was copied", test.name)
		}
	}
}

// within says that part is a window of whole: a change of whole is seen through it.
func within(part, whole []byte) bool {
	seen := false
	for i := range whole {
		old := part[0]
		whole[i] ^= 0xff
		seen = seen || part[0] != old
		whole[i] ^= 0xff
	}
	return seen
}

func TestTorchSharedStorage(t *testing.T) {
	file := torchFileOf(dictOf("a", view{U8, 0, 4, 0, []int{4}, []int{1}}, "b", view{U8, 0, 4, 2, []int{2}, []int{1}}), []byte{1, 2, 3, 4})
	root, err := parseTorch("shared", file)
	if err != nil {
		t.Fatal(err)
	}
	if b := root.tensors()["b"]; !slices.Equal(b.Data, []byte{3, 4}) {
		t.Errorf("got %v, want [3 4]", b.Data)
	}
}

func TestTorchWrappers(t *testing.T) {
	// A parameter, and a subclass of Tensor around a tensor function.
	tensor := view{U8, 0, 2, 0, []int{2}, []int{1}}
	var inner torchWriter
	inner.value(tensor)
	arguments := strings.TrimSuffix(strings.TrimPrefix(string(inner.pickle), "ctorch._utils\n_rebuild_tensor_v2\n"), "R")
	parameter := raw("ctorch._utils\n_rebuild_parameter\n(" + string(inner.pickle) + "\x88ccollections\nOrderedDict\n)RtR")
	subclass := raw("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n" + arguments + "}tR")
	root, err := parseTorch("wrapped", torchFileOf(dictOf("parameter", parameter, "subclass", subclass), []byte{8, 9}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"parameter", "subclass"} {
		if got := root.tensors()[name]; got == nil || !slices.Equal(got.Data, []byte{8, 9}) {
			t.Errorf("%s: got %T, want a tensor of 8, 9", name, root.get(name))
		}
	}
	// Within each other they are nothing that torch writes, and would take long.
	const wrapper = global("torch._tensor._rebuild_from_type_v2")
	nested := tuple{wrapper, nil, tuple{global("collections.OrderedDict"), nil, tuple{}}}
	if got, err := (&torchFile{}).call(wrapper, nested); got != opaque(wrapper) || err != nil {
		t.Errorf("nested: got %T, %v", got, err)
	}
}

func TestTorchHostile(t *testing.T) {
	tensor := func(v view) []byte { return torchFileOf(dictOf("x", v), make([]byte, 16)) }
	fine := view{F32, 0, 4, 0, []int{4}, []int{1}}
	var good torchWriter
	good.value(dictOf("x", fine))
	tests := []struct {
		name, want string
		file       []byte
	}{
		{"no zip", "zip", []byte("hello, this is no archive at all")},
		{"legacy", "before 1.6", []byte{0x80, 2, 0x8a, 10}},
		{"empty", "zip", nil},
		{"no pickle", "data.pkl", zipOf("other/file")},
		{"compressed", "compressed", torchZip(zip.Deflate, append(good.pickle, '.'), [][]byte{make([]byte, 16)})},
		{"no storage", "missing", torchFileOf(dictOf("x", fine))},
		{"short storage", "5 elements of F32 in 16 bytes", tensor(view{F32, 0, 5, 0, []int{5}, []int{1}})},
		{"negative count", "elements", tensor(view{F32, 0, -1, 0, []int{1}, []int{1}})},
		{"beyond", "exceeds", tensor(view{F32, 0, 4, 1, []int{4}, []int{1}})},
		{"far offset", "exceeds", tensor(view{F32, 0, 4, 1 << 30, []int{1}, []int{1}})},
		{"stride overflow", "exceeds", tensor(view{F32, 0, 4, 0, []int{1 << 30, 1 << 30}, []int{1 << 30, 1 << 30}})},
		{"shape overflow", "exceeds", tensor(view{F32, 0, 4, 0, []int{1 << 30, 1 << 30, 1 << 30}, []int{0, 0, 0}})},
		{"bomb", "larger than the file", tensor(view{F32, 0, 4, 0, []int{1 << 30}, []int{0}})},
		{"negative shape", "sound", tensor(view{F32, 0, 4, 0, []int{-1}, []int{1}})},
		{"ranks differ", "sound", tensor(view{F32, 0, 4, 0, []int{4}, []int{1, 1}})},
		{"high rank", "sound", tensor(view{F32, 0, 4, 0, make([]int, 9), make([]int, 9)})},
		{"not a dict", "want a dict", torchFileOf("text")},
		{"key escapes", "missing", torchFileOf(raw("(X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x04\x00\x00\x00../xX\x00\x00\x00\x00K\x01tQ"))},
	}
	for _, test := range tests {
		_, err := parseTorch("state_dict.bin", test.file)
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want a FormatError with %q", test.name, err, test.want)
		}
	}
	var unsupported *UnsupportedError
	if _, err := parseTorch("x", torchFileOf(dictOf("x", view{DType(99), 0, 1, 0, []int{1}, []int{1}}), []byte{1})); !errors.As(err, &unsupported) ||
		!strings.Contains(err.Error(), "BoolStorage") {
		t.Errorf("got %v, want an UnsupportedError that names the type", err)
	}
}

func TestTorchBigEndian(t *testing.T) {
	file := torchFileOf(dictOf("x", nil))
	swapped := bytes.Replace(file, []byte("little"), []byte("bigbig"), 1)
	if _, err := parseTorch("x", swapped); err == nil || !strings.Contains(err.Error(), "byteorder") {
		t.Errorf("got %v, want a refusal of the byte order", err)
	}
}

func TestTorchTruncated(t *testing.T) {
	file := torchFileOf(dictOf("best_state", dictOf("a", FromFloats("a", []float32{1, 2}, 2)), "xp.cfg", "a: 1"))
	if _, err := parseTorch("whole", file); err != nil {
		t.Fatal(err)
	}
	for n := range file {
		if _, err := parseTorch("cut", file[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(file))
		}
	}
}

func TestPickleTruncated(t *testing.T) {
	w := torchWriter{pickle: []byte{0x80, 2}}
	w.value(dictOf("a", FromFloats("a", []float32{1, 2}, 2), "b", "text", "c", 3, "d", []int{1, 2, 3}))
	w.code(".")
	for n := range w.pickle {
		if _, err := parseTorch("cut", torchZip(zip.Store, w.pickle[:n], w.storages)); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(w.pickle))
		}
	}
}

// nothing is a host without storages or names.
type nothing struct{}

func (nothing) persistent(id tuple) (any, error)            { return nil, errors.New("no storage") }
func (nothing) call(callee global, args tuple) (any, error) { return opaque(callee), nil }

func TestPickleValues(t *testing.T) {
	tests := []struct {
		code string
		want any
	}{
		{"N.", nil},
		{"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00\x88.", true},
		{"K\xff.", int64(255)},
		{"M\x01\x02.", int64(513)},
		{"J\xfe\xff\xff\xff.", int64(-2)},
		{"\x8a\x00.", int64(0)},
		{"\x8a\x01\x80.", int64(-128)},
		{"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", int64(-1 << 63)},
		{"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.", opaque("int")},
		{"G\x3f\xf8\x00\x00\x00\x00\x00\x00.", 1.5},
		{"X\x02\x00\x00\x00hi.", "hi"},
		{"\x8c\x02hi.", "hi"},
		{"U\x02hi.", "hi"},
		{"C\x02hi.", []byte("hi")},
		{").", tuple{}},
		{"K\x01K\x02\x86.", tuple{int64(1), int64(2)}},
		{"(K\x01(K\x02tt.", tuple{int64(1), tuple{int64(2)}}},
		{"](K\x01K\x02e.", &list{[]any{int64(1), int64(2)}}},
		{"]K\x01a.", &list{[]any{int64(1)}}},
		{"(K\x01l.", &list{[]any{int64(1)}}},
		{"\x8f(K\x01\x90.", &list{[]any{int64(1)}}},
		{"}K\x01K\x02s.", dictOf(int64(1), int64(2))},
		{"(K\x01K\x02d.", dictOf(int64(1), int64(2))},
		{"})K\x02s.", &dict{}},                       // a tuple as a key names nothing
		{"}q\x000h\x00.", &dict{}},                   // memo, pop, recall
		{"K\x07\x940\x8c\x01a\x940h\x00.", int64(7)}, // two memoised, the first recalled
		{"cos\nsystem\n.", global("os.system")},
		{"\x8c\x02os\x8c\x06system\x93.", global("os.system")},
		{"cos\nsystem\n(X\x02\x00\x00\x00hitR.", opaque("os.system")},
		{"cnumpy\nobject\n)R}K\x01K\x02sb.", opaque("numpy.object")}, // BUILD
		{"cx\nList\n)RK\x01a.", opaque("x.List")},
		{"cx\nDict\n)\x81K\x01K\x02s.", opaque("x.Dict")},
	}
	for _, test := range tests {
		got, err := unpickle([]byte(test.code), nothing{})
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %#v (%v), want %#v", test.code, got, err, test.want)
		}
	}
}

// A value may contain itself, because it is memoised before it is filled.
func TestPickleMemoHoldsReferences(t *testing.T) {
	got, err := unpickle([]byte("}q\x00X\x04\x00\x00\x00selfh\x00s."), nothing{})
	if d, ok := got.(*dict); err != nil || !ok || d.get("self") != d {
		t.Errorf("got %T (%v), want a dict that holds itself", got, err)
	}
}

func TestPickleRefuses(t *testing.T) {
	for _, code := range []string{"", ".", "(.", "0.", "t.", "u.", "h\x00.", "a.", "s.", "R.", "b.", "Q.", "}K\x01s.", "K\x01K\x02a.",
		"NK\x01K\x02s.", "}(K\x01u.", "\x80\x06N.", "\xff.", "i.", "cos", "cos\nsystem", "X\xff\xff\xff\xff.", "NQ.", ")Q.", "q\x00.",
		"K\x01(\x85.", // takes a value from below the mark
	} {
		if got, err := unpickle([]byte(code), nothing{}); err == nil {
			t.Errorf("%q: got %#v, want an error", code, got)
		}
	}
	long := "\x58\x00\x10\x00\x00" + strings.Repeat("a", 4096) + "q\x00h\x00\x93."
	if _, err := unpickle([]byte(long), nothing{}); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("got %v, want a limit on names", err)
	}
	long = "\x58\x00\x01\x00\x00" + strings.Repeat("a", 256) + "q\x00" + strings.Repeat("h\x00h\x00\x93", maxPickleValues/8) + "."
	if _, err := unpickle([]byte(long), nothing{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v, want a limit on all names together", err)
	}
	if _, err := unpickle(bytes.Repeat([]byte("("), maxPickleValues+1), nothing{}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v, want a limit on marks", err)
	}
}

// FuzzPickle: whatever the pickle says, its tensors have the bytes that their shapes need.
func FuzzPickle(f *testing.F) {
	w := torchWriter{}
	w.value(dictOf("a", view{U8, 0, 64, 3, []int{4, 2}, []int{1, 4}}, "b", view{F32, 0, 16, 0, []int{16}, []int{1}}))
	f.Add(append(w.pickle, '.'))
	f.Add([]byte("}q\x00X\x04\x00\x00\x00selfh\x00s."))
	f.Add([]byte("cos\nsystem\n(X\x02\x00\x00\x00hitR."))
	if data, err := os.ReadFile(goldens + "mono-audiocraft/compression_state_dict.bin"); err == nil {
		f.Add(pickleOf(f, data))
	}
	f.Fuzz(func(t *testing.T, pickle []byte) {
		root, err := parseTorch("fuzz", torchZip(zip.Store, pickle, [][]byte{make([]byte, 64)}))
		if err != nil {
			return
		}
		for name, tensor := range root.tensors() {
			if len(tensor.Data) != tensor.Len()*tensor.DType.Size() {
				t.Fatalf("%s: %s %v has %d bytes", name, tensor.DType, tensor.Shape, len(tensor.Data))
			}
		}
	})
}

// pickleOf extracts data.pkl.
func pickleOf(tb testing.TB, file []byte) []byte {
	tb.Helper()
	archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/data.pkl") {
			r, err := f.Open()
			if err != nil {
				tb.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				tb.Fatal(err)
			}
			return data
		}
	}
	tb.Fatal("no data.pkl")
	return nil
}
