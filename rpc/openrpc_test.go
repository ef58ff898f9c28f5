package rpc

// openrpc.json is made here, from the table of methods, the structures and the table of errors:
//
//	go test ./rpc -run TestDocument -update
//
// and checked: it is current, and every answer of the server is what it says.

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"segue/engine"
)

var update = flag.Bool("update", false, "write openrpc.json")

type document struct {
	OpenRPC       string           `json:"openrpc"`
	Info          documentInfo     `json:"info"`
	Methods       []documentMethod `json:"methods"`
	Notifications []documentMethod `json:"x-notifications"` // from the worker to the host
	Components    struct {
		Errors  map[string]documentError      `json:"errors"`
		Schemas map[string]*jsonschema.Schema `json:"schemas"`
	} `json:"components"`
}

type documentInfo struct {
	Title       string `json:"title"`
	Version     string `json:"version"`
	Description string `json:"description"`
}

type documentMethod struct {
	Name           string          `json:"name"`
	Summary        string          `json:"summary"`
	ParamStructure string          `json:"paramStructure"`
	Params         []documentValue `json:"params"`
	Result         *documentValue  `json:"result,omitempty"` // absent: a notification
	Errors         []reference     `json:"errors,omitempty"`
}

type documentValue struct {
	Name        string             `json:"name"`
	Description string             `json:"description,omitempty"`
	Required    bool               `json:"required,omitempty"`
	Schema      *jsonschema.Schema `json:"schema"`
}

type documentError struct {
	Code    int64             `json:"code"`
	Message string            `json:"message"`
	Data    documentErrorData `json:"data"`
}

// documentErrorData is what every ErrorData of a kind has in common.
type documentErrorData struct {
	Kind      errorKind `json:"kind"`
	Hint      string    `json:"hint,omitempty"`
	Retryable bool      `json:"retryable"`
}

type reference struct {
	Ref string `json:"$ref"`
}

func makeDocument(t *testing.T) []byte {
	d := document{OpenRPC: "1.3.2", Info: documentInfo{
		Title: "segue", Version: protocolVersion,
		Description: "Continues music. JSON-RPC 2.0 on stdin and stdout: one message per line, or Content-Length headers. " +
			"Parameters are named; null means absent; unknown names are errors. The data of every error is an ErrorData.",
	}}
	for _, m := range methods() {
		d.Methods = append(d.Methods, describeMethod(t, m))
	}
	d.Notifications = []documentMethod{{
		Name: progressMethod, Summary: "How far a request is: begin, reports, end, and then its answer.", ParamStructure: "by-name",
		Params: []documentValue{{Name: "token", Schema: schemaOf(t, reflect.TypeFor[Token]())}, {Name: "value", Schema: schemaOf(t, reflect.TypeFor[ProgressValue]())}},
	}}
	d.Components.Errors = map[string]documentError{}
	for _, c := range errorCodes {
		title := strings.TrimSuffix(c.title, ": ")
		if title == "" {
			title = string(c.kind)
		}
		d.Components.Errors[string(c.kind)] = documentError{c.code, title, documentErrorData{c.kind, c.hint, c.retryable}}
	}
	d.Components.Schemas = map[string]*jsonschema.Schema{"ErrorData": schemaOf(t, reflect.TypeFor[ErrorData]())}

	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(d); err != nil {
		t.Fatal(err)
	}
	return text.Bytes()
}

func describeMethod(t *testing.T, m method) documentMethod {
	d := documentMethod{Name: m.name, Summary: m.summary, ParamStructure: "by-name", Params: []documentValue{}}
	defaults := reflect.ValueOf(m.fresh()).Elem()
	for _, field := range reflect.VisibleFields(m.params) {
		name := jsonName(field)
		if field.Anonymous || name == m.without {
			continue
		}
		schema := schemaOf(t, plain(field.Type))
		annotate(t, schema, field)
		schema.Description = "" // the value has it
		if preset := defaults.FieldByIndex(field.Index); !preset.IsZero() {
			schema.Default, _ = json.Marshal(preset.Interface())
		}
		d.Params = append(d.Params, documentValue{name, field.Tag.Get("doc"), name == m.required, schema})
	}
	if !m.notification {
		d.Result = &documentValue{Name: "result", Schema: schemaOf(t, m.result)}
		d.Errors = errorsOf(m)
	}
	return d
}

// plain is what a pointer points to: nil is absence, and null means that for every parameter.
func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// errorsOf names what a method can answer beside its result: what takes no time fails in its parameters only.
func errorsOf(m method) []reference {
	var list []reference
	for _, c := range errorCodes {
		params := c.kind == requestInvalid || c.kind == engine.BadParam
		work := c.code > 0 || c.kind == internal || c.kind == engine.Cancelled || c.kind == engine.ShuttingDown
		if params || m.job && c.kind == engine.Unsupported || m.lane != laneInline && work {
			list = append(list, reference{"#/components/errors/" + string(c.kind)})
		}
	}
	return list
}

// wireSchemas are types that look different on the wire than in Go.
var wireSchemas = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[Null]():            {Type: "null"},
	reflect.TypeFor[Token]():           {Types: []string{"string", "number", "null"}},
	reflect.TypeFor[json.RawMessage](): {Type: "object"},
	reflect.TypeFor[engine.Bits]():     {Enum: []any{"16", "24", "32f", 16, 24}},
	reflect.TypeFor[engine.Rate](): {AnyOf: []*jsonschema.Schema{
		{Enum: []any{"source"}},
		{Type: "integer", Minimum: jsonschema.Ptr(float64(engine.MinRate)), Maximum: jsonschema.Ptr(float64(engine.MaxRate))},
	}},
}

func schemaOf(t *testing.T, typ reflect.Type) *jsonschema.Schema {
	schema, err := jsonschema.ForType(typ, &jsonschema.ForOptions{TypeSchemas: wireSchemas})
	if err != nil {
		t.Fatal(err)
	}
	annotateAll(t, schema, typ)
	return schema
}

// annotateAll puts the tags of all fields below typ into its schema, and does away with null for slices.
func annotateAll(t *testing.T, schema *jsonschema.Schema, typ reflect.Type) {
	if wireSchemas[typ] != nil {
		return
	}
	switch typ.Kind() {
	case reflect.Pointer:
		annotateAll(t, schema, typ.Elem())
	case reflect.Slice:
		schema.Type, schema.Types = "array", nil
		annotateAll(t, schema.Items, typ.Elem())
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(typ) {
			if !field.Anonymous {
				annotateAll(t, schema.Properties[jsonName(field)], field.Type)
				annotate(t, schema.Properties[jsonName(field)], field)
			}
		}
	}
}

func annotate(t *testing.T, schema *jsonschema.Schema, field reflect.StructField) {
	schema.Description = field.Tag.Get("doc")
	for key, bound := range map[string]**float64{"min": &schema.Minimum, "max": &schema.Maximum, "above": &schema.ExclusiveMinimum} {
		if text, ok := field.Tag.Lookup(key); ok {
			x, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatalf("%s: %s: %v", field.Name, key, err)
			}
			*bound = &x
		}
	}
	if choices, ok := field.Tag.Lookup("enum"); ok && wireSchemas[field.Type] == nil {
		for choice := range strings.SplitSeq(choices, ",") {
			schema.Enum = append(schema.Enum, choice)
		}
	}
}

func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	return name
}

func TestDocumentIsCurrent(t *testing.T) {
	text := makeDocument(t)
	if *update {
		if err := os.WriteFile("openrpc.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text, Schema()) {
		t.Error("openrpc.json is stale: run go test ./rpc -run TestDocument -update")
	}
}

func TestDocumentKeepsToItsWord(t *testing.T) {
	for name := range planned {
		if bytes.Contains(Schema(), []byte(`"name": "`+name+`"`)) {
			t.Errorf("%s is in the document, but not supported", name)
		}
	}
}

// What the model has a say in has no default in the document, but the words that say so.
func TestDocumentLeavesSettingsToTheModel(t *testing.T) {
	var d document
	if err := json.Unmarshal(Schema(), &d); err != nil {
		t.Fatal(err)
	}
	for i, m := range methods() {
		left := 0
		for _, p := range d.Methods[i].Params {
			if strings.Contains(p.Description, "absent: as the model says, else ") {
				left++
				if p.Schema.Default != nil || p.Schema.Type == "" {
					t.Errorf("%s: %s: got default %s, type %q, want none, and one type", m.name, p.Name, p.Schema.Default, p.Schema.Type)
				}
			}
		}
		if m.job && left != reflect.TypeFor[engine.SamplingOptions]().NumField() {
			t.Errorf("%s: %d parameters are left to the model, want every sampling option", m.name, left)
		}
	}
}

// described compiles the schema at a JSON pointer of the document.
func described(t *testing.T, pointer string) *validator.Schema {
	t.Helper()
	whole, err := validator.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := validator.NewCompiler()
	if err := compiler.AddResource("openrpc.json", whole); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("openrpc.json#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func conforms(t *testing.T, schema *validator.Schema, text json.RawMessage) {
	t.Helper()
	value, err := validator.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: %v", text, err)
	}
}

func TestAnswersAreAsDocumented(t *testing.T) {
	for i, m := range methods() {
		if m.notification {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			params := "{}"
			if m.required != "" {
				params = `{"path":"/a.wav"}`
			}
			got := parse(t, serveLines(t, &fakeEngine{}, request("1", m.name, params))[0])
			conforms(t, described(t, fmt.Sprintf("/methods/%d/result/schema", i)), got.Result)
		})
	}
}

func TestStatusOfBusyWorkerIsAsDocumented(t *testing.T) {
	for i, m := range methods() {
		if m.name != "status" {
			continue
		}
		schema := described(t, fmt.Sprintf("/methods/%d/result/schema", i))
		bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
			h.send(request("1", "generate", "{}"), request("2", "generate", "{}"), request(`"s"`, "status", "{}"))
			conforms(t, schema, parse(t, h.heard()[0]).Result)
			h.send(cancelNote(`{"id":1}`), cancelNote(`{"id":2}`))
			h.heard()
		})
	}
}

func TestErrorsAndProgressAreAsDocumented(t *testing.T) {
	data, value := described(t, "/components/schemas/ErrorData"), described(t, "/x-notifications/0/params/1/schema")
	bubble(t, &fakeEngine{run: slow}, Options{}, func(t *testing.T, h *host) {
		h.send(`{`, request("1", "nothing", "{}"), request("2", "generate", `{"topK":-1,"a":2}`), request("3", "generate", `{"progress":true,"timeoutSeconds":1}`))
		time.Sleep(2 * time.Second)
		for _, text := range h.heard() {
			var message struct {
				Params struct{ Value json.RawMessage }
				Error  struct{ Data json.RawMessage }
			}
			if err := json.Unmarshal([]byte(text), &message); err != nil {
				t.Fatal(err)
			}
			if message.Error.Data != nil {
				conforms(t, data, message.Error.Data)
			} else {
				conforms(t, value, message.Params.Value)
			}
		}
	})
}

// What the document calls legal is accepted, and what it does not is refused.
func TestParamsAreAsDocumented(t *testing.T) {
	var d document
	if err := json.Unmarshal(Schema(), &d); err != nil {
		t.Fatal(err)
	}
	values := []string{"0", "-1", "1", "2.0", "1.5", "16", "24", "8000", "70000", "1e30", `""`, `"16"`, `"32f"`, `"source"`, `"end"`, `"wav"`, "true", "[]", "{}"}
	for i, m := range methods() {
		for k, p := range d.Methods[i].Params {
			schema := described(t, fmt.Sprintf("/methods/%d/params/%d/schema", i, k))
			for _, text := range values {
				raw := json.RawMessage(`{"path":"/a.wav",` + strconv.Quote(p.Name) + ":" + text + "}")
				if m.required != "path" || p.Name == "path" {
					raw = json.RawMessage("{" + strconv.Quote(p.Name) + ":" + text + "}")
				}
				value, _ := validator.UnmarshalJSON(strings.NewReader(text))
				legal, err := schema.Validate(value) == nil, m.decode(&raw, m.fresh())
				if legal != (err == nil) && !alsoAccepted(p.Name, text) {
					t.Errorf("%s %s: legal by the document: %v, but got %v", m.name, raw, legal, err)
				}
			}
		}
	}
}

// alsoAccepted: zeros that stand for the default, and the type of a missing path.
func alsoAccepted(name, text string) bool {
	return text == `""` || text == "0" && (name == "sampleRate" || name == "processId") || name == "clientInfo"
}
