package audio

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestResolvePath(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the table has POSIX paths")
	}
	const base, home = "/work dir", "/home/zoë"
	for in, want := range map[string]string{
		"/a/b.wav":                          "/a/b.wav",
		"/a//b/../c.wav":                    "/a/c.wav",
		"a.wav":                             "/work dir/a.wav",
		"./a.wav":                           "/work dir/a.wav",
		"../a.wav":                          "/a.wav",
		" lead and trail ":                  "/work dir/ lead and trail ",
		"-dash.wav":                         "/work dir/-dash.wav",
		"~":                                 "/home/zoë",
		"~/x y.wav":                         "/home/zoë/x y.wav",
		"~other.wav":                        "/work dir/~other.wav",
		"/a/~/b":                            "/a/~/b",
		"/caf\u00e9.wav":                    "/caf\u00e9.wav",  // composed
		"/cafe\u0301.wav":                   "/cafe\u0301.wav", // decomposed, kept
		"/\xff\xfe.wav":                     "/\xff\xfe.wav",   // not even UTF-8
		"/日本/🎹 ループ.wav":                     "/日本/🎹 ループ.wav",
		"/100%.wav":                         "/100%.wav",
		"file:///a/b%20c%C3%A9.wav":         "/a/b cé.wav",
		"file:///a/b c#1?.wav":              "/a/b c#1?.wav",
		"FILE://LOCALHOST/a+b.wav":          "/a+b.wav",
		"file:/a.wav":                       "/a.wav",
		"Macintosh HD:/Users/x/a b.wav":     "/Users/x/a b.wav",
		"Samples 2:/kick.wav":               "/Volumes/Samples 2/kick.wav",
		"take 1: the end.wav":               "/work dir/take 1: the end.wav",
		"dir/odd:/a.wav":                    "/work dir/dir/odd:/a.wav",
		strings.Repeat("x", 300) + "/a.wav": "/work dir/" + strings.Repeat("x", 300) + "/a.wav",
	} {
		if got, err := ResolvePath(in, base, home); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
	for in, text := range map[string]string{
		"":                     "empty",
		"a\x00b":               "zero byte",
		"file:///a%00b":        "zero byte",
		"file:///a%zz":         "escapes",
		"file://server/a.wav":  `"server"`,
		"file:a.wav":           "file URI",
		"file:":                "file URI",
		"https://x.org/a.wav":  "URL",
		"smb://server/share/a": "URL",
	} {
		if got, err := ResolvePath(in, base, home); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q: got %q, %v, want an error with %q", in, got, err, text)
		}
	}
	if _, err := ResolvePath("~/a", base, ""); err == nil {
		t.Error("~ without a home was resolved")
	}
	if _, err := ResolvePath("a", "", home); err == nil {
		t.Error("a relative path without a base was resolved")
	}
}

func TestFreeName(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"take.wav", "take-2.wav", "take-3.wav"} {
		got := FreeName(dir, "take", "wav", nil)
		if got != filepath.Join(dir, want) || got != FreeName(dir, "take", ".wav", nil) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if err := os.WriteFile(got, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("é", 200)
	for range 2 {
		got := FreeName(dir, long, "wav", nil)
		if name := filepath.Base(got); len(name) > maxName || !strings.HasSuffix(strings.TrimRight(strings.TrimSuffix(name, ".wav"), "-2"), "é") {
			t.Errorf("long name: %d bytes, %q", len(name), name)
		}
		if err := os.WriteFile(got, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
