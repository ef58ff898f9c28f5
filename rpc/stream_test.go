package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/sourcegraph/jsonrpc2"
)

// arithmetic is the server of the examples in section 7 of the JSON-RPC 2.0 specification.
func arithmetic(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) (any, error) {
	var named struct{ Minuend, Subtrahend int }
	var list []int
	if req.Params != nil {
		_ = json.Unmarshal(*req.Params, &named)
		_ = json.Unmarshal(*req.Params, &list)
	}
	switch req.Method {
	case "subtract":
		if len(list) == 2 {
			return list[0] - list[1], nil
		}
		return named.Minuend - named.Subtrahend, nil
	case "sum":
		total := 0
		for _, n := range list {
			total += n
		}
		return total, nil
	case "get_data":
		return []any{"hello", 5}, nil
	case "update", "notify_hello", "notify_sum":
		return nil, nil
	}
	return nil, &jsonrpc2.Error{Code: jsonrpc2.CodeMethodNotFound, Message: "Method not found"}
}

// converse runs the stream under the library's connection until the input ends.
func converse(input string, framing Framing) string {
	var out bytes.Buffer
	s := newStream(strings.NewReader(input), &out, framing)
	quiet := jsonrpc2.SetLogger(discard{})
	conn := jsonrpc2.NewConn(context.Background(), s, jsonrpc2.HandlerWithError(arithmetic), quiet)
	<-conn.DisconnectNotify()
	return out.String()
}

type discard struct{}

func (discard) Printf(string, ...any) {}

// Each example of the specification: what is sent, and the answer. {…} stands for an error of that code and id.
var specExamples = []struct{ name, send, want string }{
	{"positional", `{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}`, `{"jsonrpc":"2.0","id":1,"result":19}`},
	{"positional reversed", `{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}`, `{"jsonrpc":"2.0","id":2,"result":-19}`},
	{"named", `{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}`, `{"jsonrpc":"2.0","id":3,"result":19}`},
	{"named reordered", `{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}`, `{"jsonrpc":"2.0","id":4,"result":19}`},
	{"notification", `{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}`, ``},
	{"notification, unknown", `{"jsonrpc": "2.0", "method": "foobar"}`, ``},
	{"unknown method", `{"jsonrpc": "2.0", "method": "foobar", "id": "1"}`, `"1" -32601`},
	{"invalid JSON", `{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]`, `null -32700`},
	{"invalid request", `{"jsonrpc": "2.0", "method": 1, "params": "bar"}`, `null -32600`},
	{"batch, invalid JSON", `[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]`, `null -32700`},
	{"empty batch", `[]`, `null -32600`},
	{"batch of no request", `[1]`, `[null -32600]`},
	{"batch of no requests", `[1,2,3]`, `[null -32600,null -32600,null -32600]`},
	{"batch", `[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},` +
		`{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},` +
		`{"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},` +
		`{"foo": "boo"},` +
		`{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},` +
		`{"jsonrpc": "2.0", "method": "get_data", "id": "9"}]`,
		`[null -32600,{"jsonrpc":"2.0","id":"1","result":7},{"jsonrpc":"2.0","id":"2","result":19},"5" -32601,{"jsonrpc":"2.0","id":"9","result":["hello",5]}]`},
	{"batch of notifications", `[{"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},{"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}]`, ``},
}

func TestSpecificationExamples(t *testing.T) {
	const last = `{"jsonrpc":"2.0","method":"sum","params":[1],"id":"last"}`
	const lastAnswer = `{"jsonrpc":"2.0","id":"last","result":1}`
	for _, example := range specExamples {
		t.Run(example.name, func(t *testing.T) {
			got := lines(converse(example.send+"\n"+last, FramingAuto))
			checkExample(t, got, example.want, lastAnswer)

			got = unframe(t, converse(withHeader(example.send)+withHeader(last), FramingAuto))
			checkExample(t, got, example.want, lastAnswer)
		})
	}
}

func checkExample(t *testing.T, got []string, want, last string) {
	t.Helper()
	wants := []string{last}
	if want != "" {
		wants = []string{want, last}
	}
	if len(got) != len(wants) {
		t.Fatalf("got %q, want %q", got, wants)
	}
	for i, text := range got {
		if short := shorten(text); short != wants[i] {
			t.Errorf("got %s\nwant %s", short, wants[i])
		}
	}
}

// shorten writes errors as id and code.
func shorten(text string) string {
	if strings.HasPrefix(text, "[") {
		var parts []json.RawMessage
		if json.Unmarshal([]byte(text), &parts) != nil {
			return text
		}
		short := make([]string, len(parts))
		for i, part := range parts {
			short[i] = shorten(string(part))
		}
		return "[" + strings.Join(short, ",") + "]"
	}
	var r reply
	if json.Unmarshal([]byte(text), &r) != nil || r.Error == nil {
		return text
	}
	return fmt.Sprintf("%s %d", r.ID, r.Error.Code)
}

func withHeader(body string) string {
	return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
}

// unframe takes Content-Length headers off.
func unframe(t testing.TB, out string) []string {
	t.Helper()
	var bodies []string
	for out != "" {
		head, rest, ok := strings.Cut(out, "\r\n\r\n")
		n, err := strconv.Atoi(strings.TrimPrefix(head, "Content-Length: "))
		if !ok || err != nil || n > len(rest) {
			t.Fatalf("bad framing: %.80q", out)
		}
		bodies, out = append(bodies, rest[:n]), rest[n:]
	}
	return bodies
}

// Ids and odd messages. Every one leaves the connection usable.
func TestMessages(t *testing.T) {
	const request = `{"jsonrpc":"2.0","method":"get_data","id":%s}`
	deep := strings.Repeat("[", 10001) + strings.Repeat("]", 10001)
	tests := []struct{ name, send, want string }{
		{"id -1", fmt.Sprintf(request, "-1"), `-1 ok`},
		{"id 1.5", fmt.Sprintf(request, "1.5"), `1.5 ok`},
		{"id 1.0", fmt.Sprintf(request, "1.0"), `1.0 ok`},
		{"id 1e2", fmt.Sprintf(request, "1e2"), `1e2 ok`},
		{"id 2^63", fmt.Sprintf(request, "9223372036854775808"), `9223372036854775808 ok`},
		{"id 0", fmt.Sprintf(request, "0"), `0 ok`},
		{"id empty", fmt.Sprintf(request, `""`), `"" ok`},
		{"id null", fmt.Sprintf(request, "null"), `null ok`},
		{"id escaped", fmt.Sprintf(request, `"\u0061<&\/é"`), `"\u0061<&\/é" ok`},
		{"id object", fmt.Sprintf(request, "{}"), `null -32600`},
		{"id true", fmt.Sprintf(request, "true"), `null -32600`},
		{"id array", fmt.Sprintf(request, "[1]"), `null -32600`},
		{"no version", `{"method":"get_data","id":1}`, `1 -32600`},
		{"version 1.0", `{"jsonrpc":"1.0","method":"get_data","id":"a"}`, `"a" -32600`},
		{"version a number", `{"jsonrpc":2.0,"method":"get_data","id":1}`, `1 -32600`},
		{"params a string", `{"jsonrpc":"2.0","method":"get_data","params":"bar","id":1}`, `1 -32600`},
		{"params null", `{"jsonrpc":"2.0","method":"get_data","params":null,"id":1}`, `1 ok`},
		{"Method", `{"jsonrpc":"2.0","Method":"get_data","id":1}`, `1 -32600`},
		{"no method", `{"jsonrpc":"2.0","id":1}`, `1 -32600`},
		{"a number", `5`, `null -32600`},
		{"null", `null`, `null -32600`},
		{"a string", `"get_data"`, `null -32600`},
		{"an answer", `{"jsonrpc":"2.0","result":1,"id":1}`, ``},
		{"an error", `{"jsonrpc":"2.0","error":{"code":1,"message":"x"},"id":1}`, ``},
		{"method and result", `{"jsonrpc":"2.0","method":"get_data","result":1,"id":1}`, `1 ok`},
		{"more members", `{"jsonrpc":"2.0","method":"get_data","id":1,"meta":{"a":1},"trace":[]}`, `1 ok`},
		{"too deep", `{"jsonrpc":"2.0","method":"get_data","params":` + deep + `,"id":1}`, `null -32700`},
		{"deep", `{"jsonrpc":"2.0","method":"get_data","params":` + deep[10:len(deep)-10] + `,"id":1}`, `1 ok`},
		{"invalid UTF-8", "{\"jsonrpc\":\"2.0\",\"method\":\"get_data\",\"params\":{\"path\":\"\xff\"},\"id\":1}", `null -32700`},
		{"two on a line", `{"jsonrpc":"2.0","method":"a","id":1} {"jsonrpc":"2.0","method":"b","id":2}`, `null -32700`},
		{"byte order mark", "\xef\xbb\xbf" + fmt.Sprintf(request, "1"), `1 ok`},
		{"blank lines", "\n \r\n\t\n" + fmt.Sprintf(request, "1") + "\r\n\n", `1 ok`},
		{"batch too long", "[" + strings.Repeat("1,", maxBatch) + "1]", `null -32600`},
		{"pretty printed", "{\n}", `null -32700; null -32700`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, text := range lines(converse(test.send+"\n"+fmt.Sprintf(request, `"last"`), FramingAuto)) {
				got = append(got, strings.TrimSuffix(strings.Join(strings.Fields(brief(t, text))[:2], " "), ";"))
			}
			want := `"last" ok`
			if test.want != "" {
				want = test.want + "; " + want
			}
			if all := strings.Join(got, "; "); all != want {
				t.Errorf("got %s, want %s", all, want)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	const body = `{"jsonrpc":"2.0","method":"get_data","id":1}` // 44 bytes
	size := strconv.Itoa(len(body))
	tests := []struct{ name, send, want string }{
		{"lower case", "content-length: " + size + "\r\n\r\n" + body, `1 ok`},
		{"no blank", "Content-Length:" + size + "\r\n\r\n" + body, `1 ok`},
		{"newlines only", "Content-Length: " + size + "\n\n" + body, `1 ok`},
		{"with a type", "Content-Length: " + size + "\r\nContent-Type: application/json\r\n\r\n" + body, `1 ok`},
		{"type first", "Content-Type: application/json\r\nContent-Length: " + size + "\r\n\r\n" + body, `1 ok`},
		{"blanks after", "Content-Length: 2044\r\n\r\n" + body + strings.Repeat(" ", 2000), `1 ok`},
		{"two in one", "Content-Length: 88\r\n\r\n" + body + body, `null -32700 parse`},
		{"bad JSON", "Content-Length: 1\r\n\r\n{", `null -32700 parse`},
		{"empty", "Content-Length: 0\r\n\r\n", `null -32700 parse`},
		{"not a number", "Content-Length: many\r\n\r\n" + body + "\r\n", `null -32700 parse`},
		{"negative", "Content-Length: -1\r\n\r\n" + body + "\r\n", `null -32700 parse`},
		{"absurd", "Content-Length: 99999999999999\r\n\r\n" + body + "\r\n", `null -32700 parse`},
		{"no length", "Content-Type: x\r\n\r\n" + body + "\r\n", `null -32700 parse`},
		{"too short", "Content-Length: 10\r\n\r\n" + body + "\r\n", `null -32700 parse; null -32700 parse`},
		{"too short, glued", "Content-Length: 10\r\n\r\n" + body, `null -32700 parse; null -32700 parse`},
		{"not a number, glued", "Content-Length: many\r\n\r\n" + body, `null -32700 parse`},
		{"twice too short, glued", strings.Repeat("Content-Length: 10\r\n\r\n"+body, 2), `null -32700 parse; null -32700 parse; null -32700 parse; null -32700 parse`},
		{"long and too short, glued", "content-length: 10\r\n\r\n{" + strings.Repeat("é", 10*maxHeaderLine) + "}", `null -32700 parse; null -32700 parse`},
		{"too large", withHeader(strings.Repeat(" ", maxMessage+1)), `null -32600 request.invalid`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out := converse(test.send+withHeader(`{"jsonrpc":"2.0","method":"get_data","id":"last"}`), FramingAuto)
			if got, want := briefs(t, unframe(t, out)), test.want+`; "last" ok`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
	t.Run("cut off", func(t *testing.T) {
		got := briefs(t, unframe(t, converse("Content-Length: 50\r\n\r\n"+body, FramingAuto)))
		if got != "null -32700 parse" {
			t.Errorf("got %s", got)
		}
	})
}

func TestFramingCanBeForced(t *testing.T) {
	if got := briefs(t, lines(converse("Content-Length: 2\r\n\r\n{}", FramingLine))); got != "null -32700 parse; null -32600 request.invalid" {
		t.Errorf("line: got %s", got)
	}
	if got := briefs(t, unframe(t, converse("{}\n"+withHeader("{}"), FramingHeader))); got != "null -32700 parse; null -32600 request.invalid" {
		t.Errorf("header: got %s", got)
	}
	for _, name := range []string{"auto", "line", "header"} {
		if _, err := ParseFraming(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := ParseFraming("lines"); err == nil {
		t.Error("lines: got no error")
	}
}

func TestManyMalformedLinesThenAGoodOne(t *testing.T) {
	got := lines(converse(strings.Repeat("{\"oops\n", 10000)+`{"jsonrpc":"2.0","method":"get_data","id":1}`, FramingAuto))
	if len(got) != 10001 || brief(t, got[10000]) != "1 ok" {
		t.Errorf("got %d answers, the last %s", len(got), got[len(got)-1])
	}
}

// endless gives left bytes without holding them.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	n := min(len(p), e.left)
	if n == 0 {
		return 0, io.EOF
	}
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

func TestHugeLineIsNotHeld(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := newFrames(&endless{64 << 20}, FramingLine).next(); err != errTooLarge {
		t.Errorf("got %v, want %v", err, errTooLarge)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("allocated %d bytes for a line of 64 MiB", grown)
	}
}

func TestLineLimitIsExact(t *testing.T) {
	message := func(size int) string {
		text := `{"jsonrpc":"2.0","method":"get_data","id":1,"pad":""}`
		return text[:len(text)-2] + strings.Repeat("x", size-len(text)-1) + text[len(text)-2:] + "\n"
	}
	if got := briefs(t, lines(converse(message(maxMessage), FramingAuto))); got != "1 ok" {
		t.Errorf("at the limit: got %s", got)
	}
	if got := briefs(t, lines(converse(message(maxMessage+1), FramingAuto))); got != "null -32600 request.invalid" {
		t.Errorf("over the limit: got %s", got)
	}
}

func FuzzServe(f *testing.F) {
	for _, example := range specExamples {
		f.Add([]byte(example.send + "\n"))
		f.Add([]byte(withHeader(example.send)))
	}
	f.Add([]byte("\xef\xbb\xbf{}\n"))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"continue","id":1,"params":{"path":"a","progress":true}}` + "\n"))
	f.Add([]byte(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}` + "\n"))
	f.Add([]byte("Content-Length: 5\r\nContent-Length: 2\r\n\r\n{}"))
	// Property: Serve returns, and what it wrote is whole JSON messages in one framing, each an answer with a result or
	// an error, a notification, or a batch of answers.
	f.Fuzz(func(t *testing.T, input []byte) {
		out, _ := serveAll(t, &fakeEngine{}, string(input))
		var messages []string
		if strings.HasPrefix(out, "Content-Length") {
			messages = unframe(t, out)
		} else {
			messages = lines(out)
		}
		for _, text := range messages {
			parts := []json.RawMessage{json.RawMessage(text)}
			if strings.HasPrefix(text, "[") {
				if err := json.Unmarshal([]byte(text), &parts); err != nil || len(parts) == 0 {
					t.Fatalf("bad batch %q", text)
				}
			}
			for _, part := range parts {
				r := parse(t, string(part))
				if r.Method == "" && (r.ID == nil || (r.Result == nil) == (r.Error == nil)) {
					t.Fatalf("neither answer nor notification: %s", part)
				}
			}
		}
	})
}
