//go:build amd64 || arm64

package metal

import (
	"fmt"
	"os"
)

// LibraryVariable names a stand-in for Objective-C and Metal, as package mtltest builds it; there is no Metal on Linux.
const LibraryVariable = "SEGUE_METAL_LIBRARY"

func libraries() ([]string, error) {
	path := os.Getenv(LibraryVariable)
	if path == "" {
		return nil, fmt.Errorf("metal: there is no Metal on Linux; %s may name a stand-in", LibraryVariable)
	}
	return []string{path}, nil
}

func systemDetail() string { return "Linux, stand-in" }
