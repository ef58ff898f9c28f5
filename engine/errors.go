package engine

import (
	"errors"
	"fmt"
)

// Kind is what went wrong, in one word that a host can switch on. rpc gives each its number.
type Kind string

const (
	BadParam         Kind = "params.invalid"
	Unsupported      Kind = "params.unsupported"
	ModelUnknown     Kind = "model.unknown"
	ModelMissing     Kind = "model.missing"
	ModelInvalid     Kind = "model.invalid"
	OutOfMemory      Kind = "memory"
	AudioMissing     Kind = "audio.missing"
	AudioUnsupported Kind = "audio.unsupported"
	AudioLength      Kind = "audio.length"
	OutputExists     Kind = "output.exists"
	OutputUnwritable Kind = "output.unwritable"
	DownloadFailed   Kind = "download.failed"
	DownloadChecksum Kind = "download.checksum"
	QueueFull        Kind = "queue.full"
	Timeout          Kind = "timeout"
	DeviceFailed     Kind = "device"
	Cancelled        Kind = "cancelled"
	ShuttingDown     Kind = "shutdown"
)

// Error is an answer to bad input or bad luck: its kind, the parameter or file concerned, and a text that says
// what was wrong, what was got and what would be right.
type Error struct {
	Kind   Kind
	Field  string // the parameter's name as the host wrote it, "" if none
	Path   string // the file concerned, "" if none
	Detail string // the whole text
	Err    error  // cause, may be nil
}

func (e *Error) Error() string { return e.Detail }

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error about a parameter ("" for none). %w keeps the cause.
func Errorf(kind Kind, field, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Field: field, Detail: err.Error(), Err: errors.Unwrap(err)}
}
