//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestSelectors holds the table to Apple's headers, which testdata/selectors.txt transcribes.
func TestSelectors(t *testing.T) {
	text, err := os.ReadFile("testdata/selectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 4 {
			t.Fatalf("testdata/selectors.txt: got %q, want four columns", line)
		}
		wanted[f[0]+" "+f[1]] = headerShape(t, f[3]) + "ww" + argumentShapes(t, f[2])
	}
	for _, m := range messages {
		key := strings.TrimPrefix(m.owner, "+") + " " + m.name
		got, err := shape(m.encoding)
		if err != nil {
			t.Error(err)
		}
		if want, ok := wanted[key]; !ok {
			t.Errorf("%s is not in testdata/selectors.txt", key)
		} else if got != want {
			t.Errorf("%s: the table's %q has shape %s, the headers say %s", key, m.encoding, got, want)
		}
		if colons := strings.Count(m.name, ":"); colons != strings.Count(got, "w")+strings.Count(got, "b")-structWords(got)-2-result(got) {
			t.Errorf("%s: %d colons, but the shape %s", key, colons, got)
		}
		delete(wanted, key)
	}
	for key := range wanted {
		t.Errorf("%s is in testdata/selectors.txt and not in the table", key)
	}
}

// OtherTypes makes the table want other types of a method, as if the system's had changed, until restore is called.
func OtherTypes(name string) (restore func()) {
	i := slices.IndexFunc(messages[:], func(m message) bool { return m.name == name })
	before := messages[i]
	messages[i].encoding = "d@:"
	return func() { messages[i] = before }
}

// structWords counts the words inside structs, less one for each struct: a struct is one argument.
func structWords(shape string) int { return strings.Count(shape, "{www}") * 2 }

func result(shape string) int {
	if shape[0] == 'w' || shape[0] == 'b' {
		return 1
	}
	return 0
}

func argumentShapes(t *testing.T, arguments string) (all string) {
	if arguments == "-" {
		return ""
	}
	for _, a := range strings.Split(arguments, ", ") {
		words := strings.Fields(a)
		all += headerShape(t, strings.Join(words[:len(words)-1], " "))
	}
	return all
}

// headerShape is the shape of a type as C++ writes it.
func headerShape(t *testing.T, typ string) string {
	switch strings.TrimPrefix(typ, "const ") {
	case "void":
		return "v"
	case "bool":
		return "b"
	case "CFTimeInterval":
		return "d"
	case "MTL::Size":
		return "{www}"
	case "id", "SEL", "NS::Integer", "NS::UInteger", "uint64_t", "StringEncoding", "MTL::ResourceOptions", "MTL::GPUFamily", "MTL::DispatchType", "MTL::BarrierScope",
		"MTL::CommandBufferStatus", "MTL::LanguageVersion", "MTL::MathMode", "MTL::MathFloatingPointFunctions":
		return "w" // enumerations of NSInteger or NSUInteger, as Apple's headers declare all of these
	}
	if strings.HasSuffix(typ, "*") || strings.HasPrefix(typ, "void(^)") {
		return "w" // a pointer or a block
	}
	t.Fatalf("testdata/selectors.txt: type %q is not understood", typ)
	return ""
}

// Encodings as systems give them, with offsets, qualifiers and private names.
func TestShape(t *testing.T) {
	for encoding, want := range map[string]string{
		"v16@0:8":                         "vww",
		"@40@0:8@16@24^@32":               "wwwwww",
		"v64@0:8{?=QQQ}16{?=QQQ}40":       "vww{www}{www}",
		"v64@0:8{MTLSize=QQQ}16{?=QQQ}40": "vww{www}{www}",
		"B24@0:8q16":                      "bwww",
		"c24@0:8q16":                      "bwww",
		"v40@0:8r^v16Q24Q32":              "vwwwww",
		"d16@0:8":                         "dww",
		"@48@0:8^v16Q24Q32@?40":           "wwwwwww",
		`@"NSString"16@0:8`:               "www",
		"r*16@0:8":                        "www",
		"v24@0:8^{Thing=QQ}16":            "vwww",
		"^":                               "w", // to nothing, without a panic
	} {
		got, err := shape(encoding)
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", encoding, got, err, want)
		}
	}
	for _, encoding := range []string{"f16@0:8", "v{?}", "v24@0:8i16", "{"} {
		if got, err := shape(encoding); err == nil {
			t.Errorf("%s: got %q, want an error", encoding, got)
		}
	}
	if sameShape("v24@0:8i16", "v@:Q") || sameShape("v24@0:8d16", "v@:Q") || !sameShape("v24@0:8@16", "v@:Q") {
		t.Error("sameShape: a word is another word, and neither a 4-byte integer nor a double")
	}
}
