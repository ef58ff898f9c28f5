package weights

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrNoCheckpoint is wrapped where a folder, or part of one, holds no model at all.
var ErrNoCheckpoint = errors.New("no checkpoint")

// FormatError: a file is damaged, cut short, or not what its name says.
type FormatError struct {
	Path   string
	Detail string
}

func (e *FormatError) Error() string { return fmt.Sprintf("weights: %s: %s", e.Path, e.Detail) }

// UnsupportedError: a file is sound, but asks for something that is not covered. All reasons are given at once.
type UnsupportedError struct {
	Path    string
	Reasons []string
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("weights: %s: not supported: %s", e.Path, strings.Join(e.Reasons, "; "))
}

// BaseError: an audiocraft checkpoint lacks the parts that Options.Base supplies.
type BaseError struct {
	Path  string
	Parts string // what is lacking, for people
	Want  string // the released model whose folder would do
}

func (e *BaseError) Error() string {
	return fmt.Sprintf("weights: %s: an audiocraft checkpoint without %s; give the folder of %s (Hugging Face layout) as its base (--base)",
		e.Path, e.Parts, e.Want)
}

// plain is a name out of a file as an error may show it: as it is only where it is short and can be printed.
func plain(name string) string {
	const longest = 300
	if len(name) <= longest && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return name
	}
	return fmt.Sprintf("%.*q", longest, name)
}

func formatErrorf(path, format string, args ...any) error {
	return &FormatError{Path: path, Detail: fmt.Sprintf(format, args...)}
}
