package audio

// Paths as hosts write them, and names for new files. Bytes are kept as they come: macOS and Linux disagree about
// Unicode normalisation, and a rewritten name may not be the file's.

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// ResolvePath turns a host's path into an absolute one. It takes absolute paths, paths relative to base, ~ and ~/x,
// file:// URIs, and Max's "Macintosh HD:/x". Of a URI everything after the host is path, "?" and "#" included: hosts
// that forget to escape them are common, audio files with queries are not.
func ResolvePath(p, base, home string) (string, error) {
	if p == "" {
		return "", fmt.Errorf("audio: path is empty, want the path of a file")
	}
	if len(p) >= 5 && strings.EqualFold(p[:5], "file:") {
		var err error
		if p, err = uriPath(p); err != nil {
			return "", err
		}
	}
	switch {
	case strings.ContainsRune(p, 0):
		return "", fmt.Errorf("audio: path %q contains a zero byte", p)
	case strings.Contains(p, "://"):
		return "", fmt.Errorf("audio: path %q is a URL, want a path or a file:// URI", p)
	case filepath.IsAbs(p):
		return filepath.Clean(p), nil
	case p == "~" || strings.HasPrefix(p, "~/"):
		return absolute(home, p[1:], "the home folder")
	}
	if volume, rest, ok := strings.Cut(p, ":/"); ok && volume != "" && !strings.Contains(volume, "/") {
		return volumePath(volume, rest), nil
	}
	return absolute(base, p, "the working folder")
}

func absolute(folder, p, name string) (string, error) {
	if !filepath.IsAbs(folder) {
		return "", fmt.Errorf("audio: path %q is relative to %s, which is not known; give an absolute path", p, name)
	}
	return filepath.Join(folder, p), nil
}

// uriPath returns the path of file:///x, file://localhost/x or file:/x.
func uriPath(uri string) (string, error) {
	rest := uri[len("file:"):]
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		host, path, _ := strings.Cut(after, "/")
		if host != "" && !strings.EqualFold(host, "localhost") {
			return "", fmt.Errorf("audio: path %q is on the host %q, want a file of this machine", uri, host)
		}
		rest = "/" + path
	}
	path, err := url.PathUnescape(rest)
	if err != nil || !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("audio: path %q is not a file URI, want file:///folder/name with %%XX escapes", uri)
	}
	if filepath.VolumeName(path[1:]) != "" { // file:///C:/x
		path = filepath.FromSlash(path[1:])
	}
	return path, nil
}

// volumePath maps a volume of macOS to its folder. The boot volume is a link to / among the others.
func volumePath(volume, rest string) string {
	mount := "/Volumes/" + volume
	if target, err := os.Readlink(mount); volume == "Macintosh HD" || err == nil && target == "/" {
		mount = "/"
	}
	return filepath.Join(mount, rest)
}

// maxName is the longest file name that the common file systems hold, in bytes.
const maxName = 255

// FreeName returns the first of stem.ext, stem-2.ext, stem-3.ext … that neither exists in dir nor is reserved. A stem that
// would make the name too long loses its end. Create without overwrite still decides: another process may be faster.
func FreeName(dir, stem, ext string, reserved map[string]bool) string {
	ext = "." + strings.TrimPrefix(ext, ".")
	for i := 1; ; i++ {
		suffix := ext
		if i > 1 {
			suffix = fmt.Sprintf("-%d%s", i, ext)
		}
		path := filepath.Join(dir, clip(stem, maxName-len(suffix))+suffix)
		// Anything but success means: try this one. If the folder itself is the trouble, Create says so.
		if _, err := os.Lstat(path); err != nil && !reserved[path] {
			return path
		}
	}
}

// clip shortens s to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
