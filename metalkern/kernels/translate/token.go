package translate

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

type kind uint8

const (
	word kind = iota
	number
	punctuation
	literal // of a string or a character
)

// A token keeps its place, so that text can be changed without moving lines: compilers' messages stay true.
type token struct {
	kind       kind
	text       string
	start, end int
	line       int
	file       string
}

// place is file:line, as compilers write it.
func (t token) place() string {
	if t.file == "" {
		return fmt.Sprintf("line %d", t.line)
	}
	return fmt.Sprintf("%s:%d", t.file, t.line)
}

// scanner cuts text into tokens. Comments and directives are passed over; the line markers that a preprocessor leaves,
// and #line, are followed.
type scanner struct {
	text   string
	at     int
	line   int
	file   string
	tokens []token
}

func scan(text string) ([]token, error) {
	s := &scanner{text: text, line: 1}
	for s.at < len(s.text) {
		if err := s.next(); err != nil {
			return nil, err
		}
	}
	return s.tokens, nil
}

func (s *scanner) next() error {
	rest := s.text[s.at:]
	switch c := rest[0]; {
	case c == '\n':
		s.line++
		s.at++
	case unicode.IsSpace(rune(c)) || c == '\\':
		s.at++
	case strings.HasPrefix(rest, "//"):
		s.skip(strings.IndexByte(rest, '\n'))
	case strings.HasPrefix(rest, "/*"):
		end := strings.Index(rest, "*/")
		if end < 0 {
			return fmt.Errorf("translate: %s: comment has no end", token{line: s.line, file: s.file}.place())
		}
		s.skip(end + 2)
	case c == '#':
		s.directive()
	case c == '"' || c == '\'':
		return s.literal(c)
	case isWord(c) && (c < '0' || c > '9'):
		s.add(word, span(rest, isWord))
	case c >= '0' && c <= '9', c == '.' && len(rest) > 1 && rest[1] >= '0' && rest[1] <= '9':
		s.add(number, span(rest, func(c byte) bool { return isWord(c) || c == '.' }))
	default:
		s.add(punctuation, 1)
	}
	return nil
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func span(text string, belongs func(byte) bool) int {
	n := 0
	for n < len(text) && belongs(text[n]) {
		n++
	}
	return n
}

func (s *scanner) add(k kind, n int) {
	s.tokens = append(s.tokens, token{k, s.text[s.at : s.at+n], s.at, s.at + n, s.line, s.file})
	s.at += n
}

// skip passes n bytes, or all that is left where n is negative, and counts their lines.
func (s *scanner) skip(n int) {
	if n < 0 {
		n = len(s.text) - s.at
	}
	s.line += strings.Count(s.text[s.at:s.at+n], "\n")
	s.at += n
}

func (s *scanner) literal(quote byte) error {
	for n := 1; s.at+n < len(s.text); n++ {
		switch s.text[s.at+n] {
		case '\\':
			n++
		case '\n':
			n = len(s.text)
		case quote:
			s.add(literal, n+1)
			return nil
		}
	}
	return fmt.Errorf("translate: %s: literal has no end", token{line: s.line, file: s.file}.place())
}

// directive passes a line that begins with #, and those that continue it.
func (s *scanner) directive() {
	n := 0
	for s.at+n < len(s.text) && (s.text[s.at+n] != '\n' || s.text[s.at+n-1] == '\\') {
		n++
	}
	text := s.text[s.at+1 : s.at+n]
	s.skip(n)
	fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(text), "line"))
	if len(fields) == 0 {
		return
	}
	if line, err := strconv.Atoi(fields[0]); err == nil {
		s.line = line - 1 // the end of this line counts up
		if len(fields) > 1 {
			s.file = strings.Trim(fields[1], `"`)
		}
	}
}
