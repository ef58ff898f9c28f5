// Package hub downloads models from a Hugging Face hub into the cache that the hub's own Python clients use, in their
// layout, so that what either side has downloaded serves both.
//
//	Plan   what a repository offers ─► the files a model needs ─► hash and size of each that is not there
//	Fetch  several files at once: lock ─► resume ─► verify ─► blob ─► link in the snapshot; at last the reference
//
// config.go reads the environment, api.go asks the hub, files.go chooses, cache.go knows the layout, transfer.go moves
// one file, fetch.go all of them. The oddity: a file's name in the cache is its hash (SHA-256 for large files, git's
// SHA-1 for others), and nothing gets that name before its content has been seen to have that hash.
package hub

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const defaultEndpoint = "https://huggingface.co"

// Config says where the cache is and how to reach the hub.
type Config struct {
	Dir      string // cache of repositories; "" for none
	Endpoint string // "" is the public hub
	Token    string // sent to the endpoint and to no other host; "" for none
	Offline  bool   // ask nobody
}

// FromEnvironment follows the rules of the hub's own clients: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_TOKEN,
// HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_ENDPOINT, and the older names that they still obey. home may be "" if unknown.
func FromEnvironment(getenv func(string) string, home string) Config {
	first := func(names ...string) string {
		for _, name := range names {
			if value := getenv(name); value != "" {
				return value
			}
		}
		return ""
	}
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~"); ok && home != "" && (rest == "" || os.IsPathSeparator(rest[0])) {
			path = home + rest
		}
		return os.Expand(path, getenv)
	}
	base := expand(getenv("HF_HOME"))
	if base == "" {
		cache := expand(getenv("XDG_CACHE_HOME"))
		if cache == "" && home != "" {
			cache = filepath.Join(home, ".cache")
		}
		if cache != "" {
			base = filepath.Join(cache, "huggingface")
		}
	}
	c := Config{Dir: expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")), Endpoint: getenv("HF_ENDPOINT")}
	if c.Dir == "" && base != "" {
		c.Dir = filepath.Join(base, "hub")
	}
	c.Token = strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	if c.Token == "" {
		c.Token = readToken(expand(getenv("HF_TOKEN_PATH")), base)
	}
	yes := []string{"1", "ON", "YES", "TRUE"}
	c.Offline = slices.Contains(yes, strings.ToUpper(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")))
	return c
}

// readToken reads the file that a login wrote: path, else token in the folder base. No file, no token.
func readToken(path, base string) string {
	if path == "" && base != "" {
		path = filepath.Join(base, "token")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
