package metalkern

import (
	"reflect"
	"strings"
	"testing"

	"segue/metalkern/driver"
	"segue/metalkern/kernels"
	"segue/metalkern/kernels/translate"
)

// argumentTypes are the Go twins of the argument structs in the kernels' files.
var argumentTypes = map[string]any{
	"CopyArgs": copyArgs{}, "NormArgs": normArgs{}, "LinearArgs": linearArgs{}, "EmbedArgs": embedArgs{},
	"AttentionArgs": attentionArgs{}, "CausalArgs": causalArgs{}, "ConvArgs": convArgs{}, "LSTMArgs": lstmArgs{},
	"RVQArgs": rvqArgs{}, "SampleArgs": sampleArgs{}, "ProbeArgs": probeArgs{},
}

// TestArgumentLayout: fields of the same names, sizes and places on both sides of every dispatch.
func TestArgumentLayout(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range kernels.Names() {
		text, err := kernels.Source(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := translate.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range file.Structs {
			if !strings.HasSuffix(s.Name, "Args") {
				continue
			}
			seen[s.Name] = true
			twin, ok := argumentTypes[s.Name]
			if !ok {
				t.Errorf("%s: %s has no twin in Go", name, s.Name)
				continue
			}
			compareLayout(t, s, reflect.TypeOf(twin))
		}
	}
	for name := range argumentTypes {
		if !seen[name] {
			t.Errorf("%s is in no kernels' file", name)
		}
	}
}

func compareLayout(t *testing.T, s translate.Struct, twin reflect.Type) {
	if s.Size > driver.MaxConstants || uintptr(s.Size) != twin.Size() || len(s.Fields) != twin.NumField() {
		t.Errorf("%s: got %d bytes in %d fields, want the %d in %d of %v, and at most %d bytes",
			s.Name, s.Size, len(s.Fields), twin.Size(), twin.NumField(), twin, driver.MaxConstants)
		return
	}
	for i, f := range s.Fields {
		g := twin.Field(i)
		name := strings.ToLower(strings.ReplaceAll(f.Name, "_", ""))
		if !strings.EqualFold(name, g.Name) || uintptr(f.Offset) != g.Offset || uintptr(f.Size) != g.Type.Size() {
			t.Errorf("%s.%s: %d bytes at %d; %v.%s: %d at %d", s.Name, f.Name, f.Size, f.Offset, twin, g.Name, g.Type.Size(), g.Offset)
		}
		if kind := scalarKind(g.Type); kind != f.Type {
			t.Errorf("%s.%s: got %s, want the %s of %v.%s", s.Name, f.Name, f.Type, kind, twin, g.Name)
		}
	}
}

// scalarKind is a Go type's name in the kernels' language.
func scalarKind(t reflect.Type) string {
	if t.Kind() == reflect.Array {
		t = t.Elem()
	}
	return map[reflect.Kind]string{reflect.Uint32: "uint", reflect.Int32: "int", reflect.Float32: "float", reflect.Uint64: "ulong"}[t.Kind()]
}
