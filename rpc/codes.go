package rpc

// Errors as the host sees them. This is the only place with numbers: a kind goes in, its code, whether the same request
// may succeed later, and the cure come out. Hosts switch on data.kind; the numbers are for those that must have one.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sourcegraph/jsonrpc2"

	"segue/engine"
)

type errorKind = engine.Kind

// Kinds of the protocol itself; the engine knows nothing of them.
const (
	parseFailed    errorKind = "parse"
	requestInvalid errorKind = "request.invalid"
	methodUnknown  errorKind = "method.unknown"
	internal       errorKind = "internal"
)

type errorCode struct {
	kind      errorKind
	code      int64
	title     string // what every message of this kind begins with
	retryable bool   // the same request may succeed later
	hint      string
}

// errorCodes is sorted as the documentation shows it: first of the protocol, then of the host's input, then of luck.
var errorCodes = []errorCode{
	{parseFailed, jsonrpc2.CodeParseError, "Parse error: ", false, "send one JSON message per line, or Content-Length headers, in UTF-8"},
	{requestInvalid, jsonrpc2.CodeInvalidRequest, "Invalid Request: ", false, "see the JSON-RPC 2.0 specification"},
	{methodUnknown, jsonrpc2.CodeMethodNotFound, "Method not found: ", false, "rpc.discover lists the methods"},
	{engine.BadParam, jsonrpc2.CodeInvalidParams, "Invalid params: ", false, "rpc.discover lists the parameters and their ranges"},
	{engine.Unsupported, jsonrpc2.CodeInvalidParams, "Invalid params: ", false, "rpc.discover lists what this version can do"},
	{internal, jsonrpc2.CodeInternalError, "Internal error: ", false, "this is a fault of segue: please report it with the log from stderr"},
	{engine.Cancelled, -32800, "", true, ""},
	{engine.ShuttingDown, -32802, "", true, "start a new worker"},
	{engine.ModelUnknown, 1001, "", false, "models/list shows the models that can be used"},
	{engine.ModelMissing, 1002, "", true, "models/pull brings it; or put its files in the models folder"},
	{engine.ModelInvalid, 1003, "", false, "download the model again"},
	{engine.OutOfMemory, 1004, "", true, "unload another model, or ask for fewer variations or a smaller model"},
	{engine.AudioMissing, 1101, "", false, "check the path"},
	{engine.AudioUnsupported, 1102, "", false, "give a WAV, FLAC or AIFF file"},
	{engine.AudioLength, 1103, "", false, "ask for fewer seconds, of new audio or of the prompt; audio/probe tells how long a file is"},
	{engine.OutputExists, 1201, "", false, "choose another name; overwrite replaces what is not the input"},
	{engine.OutputUnwritable, 1202, "", true, "choose another outputDir or outputPath"},
	{engine.DownloadFailed, 1301, "", true, "check the network and ask again"},
	{engine.DownloadChecksum, 1302, "", true, "ask again: the damaged file was dropped"},
	{engine.QueueFull, 1401, "", true, "wait for an answer, then ask again"},
	{engine.Timeout, 1402, "", true, "allow more timeoutSeconds, or ask for fewer seconds"},
	{engine.DeviceFailed, 1501, "", true, "ask again; if it persists, run segue doctor"},
}

func codeOf(kind errorKind) errorCode {
	for _, c := range errorCodes {
		if c.kind == kind {
			return c
		}
	}
	return codeOf(internal)
}

// newError makes an error of the protocol itself.
func newError(kind errorKind, format string, args ...any) *jsonrpc2.Error {
	return wireError(engine.Errorf(kind, "", format, args...))
}

// wireError turns any error into what the host gets.
func wireError(err error) *jsonrpc2.Error {
	var e *engine.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled):
		e = engine.Errorf(engine.Cancelled, "", "cancelled")
	case errors.Is(err, context.DeadlineExceeded):
		e = engine.Errorf(engine.Timeout, "", "timed out")
	default:
		e = engine.Errorf(internal, "", "%w", err)
	}
	c := codeOf(e.Kind)
	data := ErrorData{Kind: c.kind, Field: e.Field, Detail: e.Detail, Path: e.Path, Hint: c.hint, Retryable: c.retryable}
	for _, part := range parts(e) {
		data.Errors = append(data.Errors, FieldError{part.Field, part.Detail})
	}
	text, err := json.Marshal(data)
	if err != nil {
		text = fmt.Appendf(nil, `{"kind":%q}`, c.kind)
	}
	return &jsonrpc2.Error{Code: c.code, Message: c.title + e.Detail, Data: (*json.RawMessage)(&text)}
}

// parts returns the single problems of an error that was joined of several, else nothing.
func parts(e *engine.Error) []*engine.Error {
	joined, ok := e.Err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	var list []*engine.Error
	for _, err := range joined.Unwrap() {
		if part, ok := err.(*engine.Error); ok {
			list = append(list, part)
		}
	}
	return list
}
