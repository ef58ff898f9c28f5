package rpc

// The structures of the protocol, nothing else. openrpc.json is made from them: names and documentation in the tags are
// what a host reads.

import (
	"encoding/json"

	"segue/engine"
)

// Version of the protocol: raised when a host that keeps to the document would break.
const protocolVersion = "1"

const (
	progressMethod = "$/progress"
	cancelMethod   = "$/cancelRequest"
)

// Null is the result of what has nothing to tell.
type Null struct{}

// MarshalJSON writes null.
func (Null) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// None is the parameters of what takes none.
type None struct{}

// Token is the JSON text of a string or a number: a progress token, or an id. "" is none. Texts are normal, so that
// equal tokens are equal strings: "a\/b" and "a/b" are one.
type Token string

// MarshalJSON writes the token as it came, null for none.
func (t Token) MarshalJSON() ([]byte, error) {
	if t == "" {
		return []byte("null"), nil
	}
	return []byte(t), nil
}

// UnmarshalJSON keeps the text of a string or a number; anything else is no token.
func (t *Token) UnmarshalJSON(text []byte) error {
	*t = tokenOf(text)
	return nil
}

// tokenOf returns the token of a JSON text; "" when that is neither a string nor a number.
func tokenOf(text json.RawMessage) Token {
	if len(text) == 0 || text[0] == 'n' {
		return ""
	}
	if text[0] != '"' {
		return Token(text)
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return ""
	}
	normal, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return Token(normal)
}

// ClientInfo names the host.
type ClientInfo struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

// InitializeParams may hold more than this; what an editor sends beside it is ignored.
type InitializeParams struct {
	ProtocolVersion string     `json:"protocolVersion,omitempty" doc:"version of the protocol that the host speaks" enum:"1"`
	ProcessID       int64      `json:"processId,omitempty" doc:"process of the host: the worker ends when it is gone" min:"1" max:"4294967295"`
	ClientInfo      ClientInfo `json:"clientInfo,omitempty" doc:"name and version of the host, for the log"`
}

// InitializeResult tells what the worker can do.
type InitializeResult struct {
	ProtocolVersion string       `json:"protocolVersion"`
	ServerInfo      ServerInfo   `json:"serverInfo"`
	Capabilities    Capabilities `json:"capabilities"`
	Limits          Limits       `json:"limits"`
}

// ServerInfo names the worker.
type ServerInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Capabilities is what a host may use.
type Capabilities struct {
	Methods  []string `json:"methods"`
	Batch    bool     `json:"batch"`
	Cancel   bool     `json:"cancel"`
	Progress bool     `json:"progress"`
}

// Limits is how much a host may ask for.
type Limits struct {
	MessageBytes  int `json:"messageBytes"`
	BatchMessages int `json:"batchMessages"`
	QueuedJobs    int `json:"queuedJobs"`
}

// Delivery is how a long request is to be followed, and for how long.
type Delivery struct {
	Progress       bool    `json:"progress,omitempty" doc:"send $/progress notifications; their token is the request's id"`
	ProgressToken  Token   `json:"progressToken,omitempty" doc:"send $/progress notifications with this token"`
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty" doc:"give up this long after the request came; absent or 0: never" min:"0" max:"604800"`
}

func (d Delivery) delivery() Delivery { return d }

// JobParams is the parameters of continue and, without path, of generate.
type JobParams struct {
	engine.Job `json:",squash"`
	Delivery   `json:",squash"`
}

// ModelParams names a model.
type ModelParams struct {
	Model string `json:"model,omitempty" doc:"model: a folder, a name in the models folder, or a Hugging Face name; absent: the bundled one"`
}

// LoadParams names a model to make resident.
type LoadParams struct {
	engine.ModelOptions `json:",squash"`
	Delivery            `json:",squash"`
}

// PullParams names a model to bring from the hub.
type PullParams struct {
	ModelParams `json:",squash"`
	Revision    string `json:"revision,omitempty" doc:"branch, tag or commit; absent: the main branch"`
	Delivery    `json:",squash"`
}

// ProbeParams names an audio file.
type ProbeParams struct {
	Path string `json:"path,omitempty" doc:"audio file: absolute, relative to the worker's folder, ~, file:// or Macintosh HD:/…"`
}

// CancelParams names a request: by its id, or by the token of its progress.
type CancelParams struct {
	ID    Token `json:"id,omitempty" doc:"id of the request"`
	Token Token `json:"token,omitempty" doc:"progress token of the request"`
}

// ModelsResult is the models that can be used.
type ModelsResult struct {
	Models []engine.ModelInfo `json:"models"`
}

// UnloadResult names the model that is no longer resident.
type UnloadResult struct {
	Model    string `json:"model"`
	Resident bool   `json:"resident"`
}

// PongResult answers ping.
type PongResult struct {
	Pong bool `json:"pong"`
}

// StatusResult is what the worker is doing and holding.
type StatusResult struct {
	engine.Status
	Version       string      `json:"version"`
	UptimeSeconds float64     `json:"uptimeSeconds"`
	Running       *JobStatus  `json:"running"` // null: idle
	Queue         []JobStatus `json:"queue"`   // in order
}

// JobStatus is a request that works or waits for the device.
type JobStatus struct {
	ID             Token        `json:"id"`
	Method         string       `json:"method"`
	Token          Token        `json:"token,omitempty"`
	Stage          engine.Stage `json:"stage"`
	Percentage     int          `json:"percentage"`
	Seconds        float64      `json:"seconds"`    // of new audio made
	ETASeconds     float64      `json:"etaSeconds"` // 0: unknown
	ElapsedSeconds float64      `json:"elapsedSeconds"`
}

type progressKind string

const (
	progressBegin  progressKind = "begin"
	progressReport progressKind = "report"
	progressEnd    progressKind = "end"
)

type progressParams struct {
	Token Token         `json:"token"`
	Value ProgressValue `json:"value"`
}

// ProgressValue is one $/progress notification. A percentage is greater than every one before it; where it has not
// risen it is absent.
type ProgressValue struct {
	Kind       progressKind `json:"kind"`
	Stage      engine.Stage `json:"stage,omitempty"`
	Percentage *int         `json:"percentage,omitempty"`
	Message    string       `json:"message,omitempty"`
	Seconds    float64      `json:"seconds,omitempty"`
	ETASeconds float64      `json:"etaSeconds,omitempty"`

	Bytes          int64   `json:"bytes,omitempty"` // of a download: there, in all, and by the second
	TotalBytes     int64   `json:"totalBytes,omitempty"`
	BytesPerSecond float64 `json:"bytesPerSecond,omitempty"`
}

// ErrorData is the data of every error.
type ErrorData struct {
	Kind      engine.Kind  `json:"kind"`
	Field     string       `json:"field,omitempty"`
	Detail    string       `json:"detail"`
	Path      string       `json:"path,omitempty"`
	Hint      string       `json:"hint,omitempty"`
	Retryable bool         `json:"retryable"`
	Errors    []FieldError `json:"errors,omitempty"` // where there are several
}

// FieldError is one of several problems.
type FieldError struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}
