package audio

// What can be wrong with audio, for callers to tell apart: FormatError is bad input, UnsupportedError is good input
// (or a good wish) that is not covered, ErrExists and ErrUnwritable are about the file to be made. A missing or
// forbidden input keeps fs.ErrNotExist or fs.ErrPermission.

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrExists: the output is there already and was not to be replaced.
	ErrExists = errors.New("the file exists already")
	// ErrUnwritable: the output cannot be written where it was asked for.
	ErrUnwritable = errors.New("cannot write the file")
)

// FormatError is input that is not audio, or damaged audio.
type FormatError struct {
	Path      string
	What      string // what is wrong, or which field
	Got, Want string // either may be empty
}

func (e *FormatError) Error() string {
	var s strings.Builder
	s.WriteString("audio: ")
	if e.Path != "" {
		s.WriteString(e.Path + ": ")
	}
	s.WriteString(e.What)
	if e.Got != "" {
		s.WriteString(", got " + e.Got)
	}
	if e.Want != "" {
		s.WriteString(", want " + e.Want)
	}
	return s.String()
}

// UnsupportedError is valid audio, or a valid wish, that this package does not cover. Cure says what does work.
type UnsupportedError struct {
	Path string
	What string
	Cure string
}

func (e *UnsupportedError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("audio: %s is not supported; %s", e.What, e.Cure)
	}
	return fmt.Sprintf("audio: %s: %s is not supported; %s", e.Path, e.What, e.Cure)
}

// withPath names the file in an error of ours that does not name it yet; the parsers below Open know no path.
func withPath(path string, err error) error {
	if format := (*FormatError)(nil); errors.As(err, &format) && format.Path == "" {
		format.Path = path
	}
	if unsupported := (*UnsupportedError)(nil); errors.As(err, &unsupported) && unsupported.Path == "" {
		unsupported.Path = path
	}
	return err
}

// guarded runs a call into a codec library and turns its panic into an error: a crafted file must not end the worker.
func guarded(what string, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &FormatError{What: fmt.Sprintf("%s: damaged (%v)", what, r)}
		}
	}()
	return call()
}
