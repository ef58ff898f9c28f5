package weights

import (
	"fmt"
	"math"
	"strings"

	"gopkg.in/yaml.v3"
)

// Audiocraft keeps its whole training configuration as YAML text (xp.cfg) in which values may refer to others by an
// absolute path: "channels: ${encodec.channels}". The parsed nodes are walked in place, never expanded, so aliases and
// references cannot blow up. References with a resolver (${oc.env:HOME}) stay text.

const (
	maxSettings   = 1 << 20
	maxReferences = 32 // in one look-up; more is a cycle
)

// settings collects what is wrong while it is read, so that all of it can be told at once.
type settings struct {
	root     *yaml.Node
	problems []string
}

func parseSettings(text string) (*settings, error) {
	if len(text) > maxSettings {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(text), maxSettings)
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("got no YAML mapping")
	}
	return &settings{root: document.Content[0]}, nil
}

// refuse records that a key has a value that is not covered.
func (s *settings) refuse(key string, got any, want string) {
	s.problems = append(s.problems, fmt.Sprintf("%s: got %v, want %s", key, got, want))
}

// find returns the node of a dotted key, nil where it is absent or null.
func (s *settings) find(key string) *yaml.Node {
	hops := maxReferences
	node := s.walk(key, &hops)
	if hops < 0 {
		s.refuse(key, "references in a circle", "a value")
		return nil
	}
	if node == nil || node.ShortTag() == "!!null" {
		return nil
	}
	return node
}

func (s *settings) walk(key string, hops *int) *yaml.Node {
	node := s.root
	for part := range strings.SplitSeq(key, ".") {
		node = s.follow(member(node, part), hops)
	}
	return node
}

// follow resolves aliases and references until it meets a value.
func (s *settings) follow(node *yaml.Node, hops *int) *yaml.Node {
	for node != nil && *hops >= 0 {
		*hops--
		target, refers := reference(node)
		switch {
		case node.Kind == yaml.AliasNode:
			node = node.Alias
		case refers:
			node = s.walk(target, hops)
		default:
			return node
		}
	}
	return nil
}

// reference is the key that "${key}" stands for.
func reference(node *yaml.Node) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		return "", false
	}
	key, opens := strings.CutPrefix(node.Value, "${")
	key, closes := strings.CutSuffix(key, "}")
	return key, opens && closes && key != "" && !strings.ContainsAny(key, ":${}")
}

func member(node *yaml.Node, key string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}

// keys of a mapping, none where it is absent.
func (s *settings) keys(key string) []string {
	node, names := s.find(key), []string{}
	if node != nil && node.Kind == yaml.MappingNode {
		for i := 0; i < len(node.Content); i += 2 {
			names = append(names, node.Content[i].Value)
		}
	}
	return names
}

// value decodes a key into the type of fallback, which it returns where the key is absent or of another type.
func value[T any](s *settings, key string, fallback T) T {
	node := s.find(key)
	if node == nil {
		return fallback
	}
	var v T
	if node.Kind != yaml.ScalarNode || node.Decode(&v) != nil || !finite(v) {
		s.refuse(key, describe(node), fmt.Sprintf("a value like %v", fallback))
		return fallback
	}
	return v
}

// finite refuses the numbers that YAML can write and JSON cannot.
func finite(v any) bool {
	f, isFloat := v.(float64)
	return !isFloat || !math.IsNaN(f) && !math.IsInf(f, 0)
}

// values decodes a list of scalars.
func values[T any](s *settings, key string, fallback []T) []T {
	node := s.find(key)
	if node == nil {
		return fallback
	}
	list := make([]T, len(node.Content))
	sound := node.Kind == yaml.SequenceNode
	for i := 0; sound && i < len(list); i++ {
		hops := maxReferences
		item := s.follow(node.Content[i], &hops)
		sound = item != nil && item.Kind == yaml.ScalarNode && item.Decode(&list[i]) == nil
	}
	if !sound {
		s.refuse(key, describe(node), fmt.Sprintf("a list like %v", fallback))
		return fallback
	}
	return list
}

// expect refuses every value but one; absent counts as that one.
func expect[T comparable](s *settings, key string, want T) {
	if got := value(s, key, want); got != want {
		s.refuse(key, got, fmt.Sprint(want))
	}
}

// positive is an integer of at least 1 and of a size that no real model exceeds.
func (s *settings) positive(key string, fallback int) int {
	n := value(s, key, fallback)
	if n < 1 || n > 1<<20 {
		s.refuse(key, n, "1 to 1048576")
	}
	return n
}

func describe(node *yaml.Node) string {
	if node.Kind == yaml.ScalarNode {
		return fmt.Sprintf("%.64q", node.Value)
	}
	return node.ShortTag()
}
