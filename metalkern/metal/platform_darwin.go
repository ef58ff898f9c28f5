//go:build amd64 || arm64

package metal

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// libraries are what a Mac has. CoreGraphics is there because MTLCreateSystemDefaultDevice finds nothing without it in a
// program that has no window.
func libraries() ([]string, error) {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return nil, fmt.Errorf("metal: version of macOS: %w", err)
	}
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 13 {
		return nil, fmt.Errorf("metal: got macOS %s, want 13 or later", version)
	}
	return []string{
		"/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics",
		"/System/Library/Frameworks/Foundation.framework/Foundation",
		"/usr/lib/libobjc.A.dylib",
		"/System/Library/Frameworks/Metal.framework/Metal",
	}, nil
}

func systemDetail() string {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return "macOS"
	}
	return "macOS " + version
}
