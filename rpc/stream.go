package rpc

// stream makes sourcegraph/jsonrpc2 keep to the whole of JSON-RPC 2.0. The library closes the connection on anything
// unexpected and knows neither batches nor ids such as null, -1 or 1.5, so what it gets to see is already clean: each
// message is validated here, a batch is taken apart, and the host's id is exchanged for a counter of our own. On the
// way out the id is put back byte for byte and the answers of a batch are collected. What is not a request at all is
// answered here, and the next one is served.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// maxBatch bounds what one message can ask for: the answers of a batch are held until all are there, and rpc.discover has one of
	// 43 KB.
	maxBatch = 100

	// flushLimit is how long a host that reads nothing is waited for, once all its requests are answered.
	flushLimit = 2 * time.Second
)

// stream implements jsonrpc2.ObjectStream.
type stream struct {
	in     *ahead
	frames *frames
	out    *outbox
	begun  bool
	ready  [][]byte // validated requests, for the library; the reading goroutine's own

	mu      sync.Mutex
	idle    *sync.Cond         // pending became empty, or the stream closed
	pending map[uint64]pending // requests without an answer
	ids     map[Token]uint64   // the host's id of these, null excepted
	last    uint64
	closed  bool
}

type pending struct {
	id    json.RawMessage // as the host wrote it
	batch *batch          // nil for a message of its own
}

// batch collects answers until every request of it has its own.
type batch struct {
	open    int // requests without an answer, and one while the batch is being read
	answers [][]byte
}

func newStream(in io.Reader, out io.Writer, framing Framing) *stream {
	s := &stream{out: newOutbox(out), pending: map[uint64]pending{}, ids: map[Token]uint64{}}
	s.in = readAhead(in, s.out.end)
	s.frames = newFrames(s.in, framing)
	s.idle = sync.NewCond(&s.mu)
	return s
}

// ReadObject gives the library the next valid request. It returns an error only at the end of the input, after all
// requests are answered and the answers are written.
func (s *stream) ReadObject(v any) error {
	for len(s.ready) == 0 {
		s.out.room()
		frame, err := s.next()
		var bad badFrame
		switch {
		case err == errTooLarge:
			s.refuse(nil, nil, requestInvalid, fmt.Sprintf("message: more than %d bytes", maxMessage))
		case errors.As(err, &bad):
			s.refuse(nil, nil, parseFailed, bad.Error())
		case err != nil:
			s.drain()
			return io.EOF
		default:
			s.accept(frame)
		}
	}
	request := s.ready[0]
	s.ready = s.ready[1:]
	return json.Unmarshal(request, v)
}

func (s *stream) next() ([]byte, error) {
	if !s.begun {
		if err := s.frames.detect(); err != nil {
			return nil, err
		}
		s.begun = true
		if s.frames.framing == FramingHeader {
			s.out.useHeaders()
		}
	}
	return s.frames.next()
}

// accept takes one frame apart.
func (s *stream) accept(frame []byte) {
	if !utf8.Valid(frame) {
		// Decoding would replace the bytes, and silently change a path.
		s.refuse(nil, nil, parseFailed, "message: not valid UTF-8")
		return
	}
	var whole json.RawMessage
	if err := json.Unmarshal(frame, &whole); err != nil { // bounds the nesting, too
		s.refuse(nil, nil, parseFailed, "message: "+err.Error())
		return
	}
	if frame[0] != '[' {
		s.acceptOne(frame, nil)
		return
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(frame, &parts); err != nil || len(parts) == 0 || len(parts) > maxBatch {
		s.refuse(nil, nil, requestInvalid, fmt.Sprintf("batch: got %d messages, want 1 to %d", len(parts), maxBatch))
		return
	}
	b := &batch{open: 1}
	for _, part := range parts {
		s.acceptOne(part, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle(b)
}

// acceptOne validates one request and puts it before the library, or refuses it.
func (s *stream) acceptOne(raw []byte, b *batch) {
	var members map[string]json.RawMessage // a struct would take "METHOD" for "method"
	if json.Unmarshal(raw, &members) != nil || members == nil {
		s.refuse(b, nil, requestInvalid, fmt.Sprintf("message: got %.40q, want an object", raw))
		return
	}
	method, hasMethod := members["method"]
	if !hasMethod && (members["result"] != nil || members["error"] != nil) {
		return // an answer; but this worker asks the host nothing
	}
	id, hasID := members["id"]
	if hasID && bytes.IndexByte([]byte(`"-0123456789n`), id[0]) < 0 {
		s.refuse(b, nil, requestInvalid, fmt.Sprintf("id: got %.40s, want a string, a number or null", id))
		return
	}
	params := members["params"]
	switch {
	case string(members["jsonrpc"]) != `"2.0"`:
		s.refuse(b, id, requestInvalid, fmt.Sprintf(`jsonrpc: got %.40s, want "2.0"`, orAbsent(members["jsonrpc"])))
	case !hasMethod || method[0] != '"':
		s.refuse(b, id, requestInvalid, fmt.Sprintf("method: got %.40s, want a string", orAbsent(method)))
	case params != nil && params[0] != '{' && params[0] != '[' && params[0] != 'n':
		s.refuse(b, id, requestInvalid, fmt.Sprintf("params: got %.40s, want an object", params))
	default:
		s.forward(method, params, id, b)
	}
}

func orAbsent(raw json.RawMessage) string {
	if raw == nil {
		return "none"
	}
	return string(raw)
}

// forward puts a valid request before the library, under an id of ours. A notification has none.
func (s *stream) forward(method, params, id json.RawMessage, b *batch) {
	request := append([]byte(`{"jsonrpc":"2.0","method":`), method...)
	if params != nil && params[0] != 'n' {
		request = append(append(request, `,"params":`...), params...)
	}
	if id != nil {
		own, ok := s.register(id, b)
		if !ok {
			s.refuse(b, id, requestInvalid, fmt.Sprintf("id: %.40s is still in use by a request without an answer", id))
			return
		}
		request = strconv.AppendUint(append(request, `,"id":`...), own, 10)
	}
	s.ready = append(s.ready, append(request, '}'))
}

func (s *stream) register(id json.RawMessage, b *batch) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := tokenOf(id)
	if _, taken := s.ids[token]; taken {
		return 0, false
	}
	s.last++
	if token != "" {
		s.ids[token] = s.last
	}
	if b != nil {
		b.open++
	}
	s.pending[s.last] = pending{id, b}
	return s.last, true
}

// refuse answers what the library never sees. The id is the host's, nil where it is unknown.
func (s *stream) refuse(b *batch, id json.RawMessage, kind errorKind, detail string) {
	failure, err := json.Marshal(newError(kind, "%s", detail))
	if err != nil {
		return // a struct of strings and numbers: cannot be
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliver(b, answer(id, "error", failure))
}

func answer(id json.RawMessage, member string, value []byte) []byte {
	if id == nil {
		id = json.RawMessage("null")
	}
	text := make([]byte, 0, len(id)+len(value)+40)
	text = append(append(text, `{"jsonrpc":"2.0","id":`...), id...)
	text = append(append(text, `,"`+member+`":`...), value...)
	return append(text, '}')
}

// deliver sends an answer, or keeps it for its batch. Called with mu held.
func (s *stream) deliver(b *batch, text []byte) {
	if b == nil {
		s.out.push(message{text: text})
		return
	}
	b.answers = append(b.answers, text)
}

// settle counts one answer of a batch, and sends the batch after the last. Called with mu held.
func (s *stream) settle(b *batch) {
	b.open--
	if b.open > 0 || len(b.answers) == 0 {
		return
	}
	text := append([]byte{'['}, bytes.Join(b.answers, []byte{','})...)
	s.out.push(message{text: append(text, ']')})
}

// outgoing is what the library writes: an answer or a notification.
type outgoing struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

// WriteObject sends an answer or a notification of the library. It does not wait for the host.
func (s *stream) WriteObject(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("stream: message not encodable: %w", err)
	}
	var m outgoing
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("stream: message not readable: %w", err)
	}
	if m.Method != "" {
		s.out.push(notification(m, text))
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	request, ok := s.pending[m.ID]
	if !ok {
		return fmt.Errorf("stream: answer to id %d, which has its answer already", m.ID)
	}
	delete(s.pending, m.ID)
	delete(s.ids, tokenOf(request.id))
	if m.Error != nil {
		s.deliver(request.batch, answer(request.id, "error", m.Error))
	} else {
		s.deliver(request.batch, answer(request.id, "result", m.Result))
	}
	if request.batch != nil {
		s.settle(request.batch)
	}
	if len(s.pending) == 0 {
		s.idle.Broadcast()
	}
	return nil
}

func notification(m outgoing, text []byte) message {
	var p progressParams
	if m.Method != progressMethod || json.Unmarshal(m.Params, &p) != nil {
		return message{text: text}
	}
	return message{token: p.Token, report: p.Value.Kind == progressReport, text: text}
}

// find returns the library's id of the request that the host calls id.
func (s *stream) find(id Token) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, ok := s.ids[id]
	return own, ok
}

// hostID returns the id of a request as the host wrote it.
func (s *stream) hostID(own uint64) Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return tokenOf(s.pending[own].id)
}

// drain waits after the end of the input until all requests are answered and the answers are written.
func (s *stream) drain() {
	s.mu.Lock()
	for len(s.pending) > 0 && !s.closed {
		s.idle.Wait()
	}
	s.mu.Unlock()
	s.out.flush(flushLimit)
}

// Close lets go of everything that waits.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	s.idle.Broadcast()
	s.mu.Unlock()
	s.in.close()
	s.out.close()
	return nil
}
