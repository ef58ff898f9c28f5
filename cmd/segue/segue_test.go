package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"segue/weights/bundled"
)

// These tests drive the built binary as hosts and people do.

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "segue-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "segue")
		os.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache")) // packed weights, on Linux
		build := exec.Command("go", "build", "-o", binary, ".")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
			return 1
		}
		return m.Run()
	}())
}

const clip = "../../testdata/clip.wav"

// folder is a fresh one with the bundled clip in it, as clip.wav.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	data, err := os.ReadFile(clip)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "clip.wav"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// segue runs one command to its end.
func segue(t testing.TB, dir, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, words bytes.Buffer
	c := exec.Command(binary, args...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, strings.NewReader(stdin), &out, &words
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), words.String(), c.ProcessState.ExitCode()
}

// answer is a message from the worker.
type answer struct {
	ID     any    `json:"id"`
	Method string `json:"method"`
	Params struct {
		Value struct {
			Kind, Stage string
			Percentage  *float64 // absent where it has not risen
		}
	}
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
		Data    struct{ Kind, Field string }
	}
}

func parseLines(t testing.TB, out string) (answers []answer) {
	t.Helper()
	for line := range strings.Lines(out) {
		var a answer
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatalf("stdout holds %q, want JSON only", line)
		}
		answers = append(answers, a)
	}
	return answers
}

// A request down a shell pipe: progress, then one answer with the path of a whole file, though stdin has long ended.
func TestPipe(t *testing.T) {
	dir := folder(t)
	out, words, code := segue(t, dir, `{"jsonrpc":"2.0","id":1,"method":"continue","params":{"path":"clip.wav","seconds":1,"progress":true}}`+"\n", "worker")
	if code != 0 || words != "" {
		t.Fatalf("exit code %d, stderr %q", code, words)
	}
	answers := parseLines(t, out)
	last := answers[len(answers)-1]
	if last.Error != nil || last.ID != 1.0 || len(answers) < 3 {
		t.Fatalf("got %s", out)
	}
	var result struct{ Outputs []struct{ Path string } }
	if err := json.Unmarshal(last.Result, &result); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(result.Outputs[0].Path)
	if err != nil || info.Size() != 44+44100*4 || !filepath.IsAbs(result.Outputs[0].Path) {
		t.Errorf("got %v, %v; want one second of 16-bit stereo at an absolute path", result, err)
	}
	percentage := -1.0
	for _, a := range answers[:len(answers)-1] {
		next := a.Params.Value.Percentage
		if a.Method != "$/progress" || next != nil && *next <= percentage {
			t.Errorf("got %+v after %g %%", a, percentage)
		}
		if next != nil {
			percentage = *next
		}
	}
}

// conversation is a worker that a test talks to.
type conversation struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func talk(t testing.TB, dir string) *conversation {
	t.Helper()
	c := &conversation{Cmd: exec.Command(binary, "worker")}
	c.Dir, c.Stderr = dir, os.Stderr
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	pipe, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(pipe)
	c.out.Buffer(nil, 1<<20)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	return c
}

func (c *conversation) say(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// hear reads messages up to the first that want accepts.
func (c *conversation) hear(t testing.TB, want func(answer) bool) answer {
	t.Helper()
	for c.out.Scan() {
		a := parseLines(t, c.out.Text())[0]
		if want(a) {
			return a
		}
	}
	t.Fatalf("the worker said no more: %v", c.out.Err())
	return answer{}
}

func decoding(a answer) bool { return a.Params.Value.Stage == "decode" }

// tiny is the model of testdata, for jobs longer than the bundled one's window.
func tiny(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../testdata/tiny")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func longJob(t testing.TB) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"long","method":"continue","params":{"path":"clip.wav","model":%q,"seconds":24,"variations":16,"progress":true}}`, tiny(t))
}

func onlyClip(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want the clip alone", entries, err)
	}
}

func TestCancel(t *testing.T) {
	dir := folder(t)
	c := talk(t, dir)
	c.say(t, longJob(t))
	c.hear(t, decoding)
	c.say(t, `{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"long"}}`)
	a := c.hear(t, func(a answer) bool { return a.ID == "long" })
	if a.Error == nil || a.Error.Code != -32800 || a.Error.Data.Kind != "cancelled" {
		t.Errorf("got %+v, want -32800", a)
	}
	onlyClip(t, dir)
	c.say(t, `{"jsonrpc":"2.0","id":2,"method":"continue","params":{"path":"clip.wav","seconds":0.1}}`)
	if a := c.hear(t, func(a answer) bool { return a.ID == 2.0 }); a.Error != nil {
		t.Errorf("after a cancel: got %+v", a.Error)
	}
}

// Editors speak with headers, and are answered with headers.
func TestHeaderFraming(t *testing.T) {
	message := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	out, _, code := segue(t, t.TempDir(), fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(message), message), "worker")
	if code != 0 || !strings.HasPrefix(out, "Content-Length: ") || !strings.Contains(out, `"id":1`) {
		t.Errorf("got %q, exit code %d", out, code)
	}
}

// 10,000 bad lines are 10,000 error answers, and the next good one is served.
func TestMalformedLines(t *testing.T) {
	out, _, code := segue(t, t.TempDir(), strings.Repeat("{\"jsonrpc\": nonsense\n", 10_000)+`{"jsonrpc":"2.0","id":7,"method":"ping"}`+"\n", "worker")
	answers := parseLines(t, out)
	if code != 0 || len(answers) != 10_001 {
		t.Fatalf("got %d answers, exit code %d", len(answers), code)
	}
	for _, a := range answers[:10_000] {
		if a.Error == nil || a.Error.Code != -32700 {
			t.Fatalf("got %+v, want -32700", a)
		}
	}
	if last := answers[10_000]; last.Error != nil || last.ID != 7.0 {
		t.Errorf("got %+v, want an answer to 7", last)
	}
}

func TestNodeExample(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is needed to test the Node example (Debian: apt-get install nodejs)")
	}
	dir := folder(t)
	script, err := filepath.Abs("../../scripts/node/continue.js")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(node, script, "clip.wav", "1")
	c.Dir, c.Env = dir, append(os.Environ(), "SEGUE_BIN="+binary)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := filepath.Join(dir, "clip-continued.wav"); !strings.Contains(string(out), want) || !strings.Contains(string(out), "done 100 %") {
		t.Errorf("got %s, want progress and %s", out, want)
	}
}

func TestCommandLine(t *testing.T) {
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "broken", "odd"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "broken", "odd", "state_dict.bin"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	goldens, err := filepath.Abs("../../testdata/goldens")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args           string
		code           int
		stdout, stderr string // must be contained
	}{
		{"", 2, "", "Usage: segue"},
		{"help", 0, "Usage: segue", ""},
		{"compose", 2, "", `got "compose"`},
		{"continue --help", 0, "--prompt-seconds", ""},
		{"continue", 2, "", "want one"},
		{"continue clip.wav --seconds many", 2, "", "seconds"},
		{"continue clip.wav --seconds -3", 2, "", "seconds"},
		{"continue clip.wav --colour red", 2, "", "colour"},
		{"continue nothing.wav", 1, "", "nothing.wav"},
		{"continue clip.wav --device abacus", 2, "", "abacus"},
		{"continue --seconds 0.5 clip.wav --output-path one.wav", 0, "one.wav\n", "100 %"},
		{"continue clip.wav --seconds 0.5 --output-path one.wav", 1, "", "one.wav"},
		{"continue clip.wav --seconds 0.1 --variations 2 --json", 0, `"seed"`, ""},
		{"generate --seconds 0.1 --text techno --sample-rate 48000", 0, "generated.wav\n", ""},
		{"generate tune.wav", 2, "", "tune.wav"},
		{"probe clip.wav", 0, "44100 Hz", ""},
		{"probe clip.wav --json", 0, `"tempo": 1`, ""},
		{"models", 0, bundled.Description, ""},
		{"models", 0, "catalog  -  ", ""}, // what is not here has no size yet
		{"models --json --models " + goldens, 0, `"name": "mono"`, ""},
		{"verify " + goldens + "/mono", 0, "0 failed", ""},
		{"verify " + goldens + "/mono --golden " + goldens + "/stereo/golden.safetensors", 1, "", ""},
		{"verify " + goldens + "/mono-audiocraft --base " + goldens + "/mono --golden " + goldens + "/mono/golden.safetensors --json", 0, `"pass": true`, ""},
		{"verify " + dir, 1, "", "golden"},
		{"doctor", 0, "same bytes: true", ""},
		{"doctor --device cpu --models broken", 0, "FAIL  model      odd", ""},
		{"doctor --device cpu", 0, "choice     asked for\n", ""},
		{"doctor --device cpu --report broken", 1, "", "--report: broken: got what is no regular file"},
		{"doctor --device tin", 2, "", `--device: got "tin"`},
		{"schema", 0, `"openrpc"`, ""},
		{"version", 0, "segue ", ""},
		{"--version", 0, "segue ", ""},
		{"help continue", 0, "--prompt-seconds", ""},
		{"help compose", 2, "", `got "compose"`},
		{"continue -", 2, "", "want a file's path"},
		{"continue clip.wav --output-path -", 2, "", "want a file's path"},
		{"continue clip.wav --output-path a.mp3", 2, "", "--output-path: got extension .mp3"},
		{"continue clip.wav --output-dir nowhere", 1, "", "nowhere; make it first"},
		{"continue clip.wav --seconds 0.1 --seed 5 --output-path five.wav", 0, "five.wav\n", "seed 5\n"},
		{"continue clip.wav --seconds 0.1 --output-path five.wav", 1, "", "five.wav is there already, want another name, or overwrite"},
		{"continue clip.wav --bogus", 2, "", "not defined: --bogus"},
		{"continue clip.wav --temprature 1", 2, "", "did you mean --temperature?"},
		{"models prun", 2, "", "want prune"},
		{"bench --seconds 30", 1, "", "want 20 at most in all"},
		{"version please", 2, "", "please"},
		{"schema please", 2, "", "please"},
		{"continue --help", 0, "(default 10)", ""},
		{"continue --help", 0, "else 250\n", ""},
		{"generate --help", 0, "model says, else 3\n", ""},
		{"continue clip.wav --top-k -1", 2, "", "--top-k: got -1, want 0 to 65536"},
		{"continue clip.wav --top-p none", 2, "", "want a number"},
		{"continue clip.wav --seconds 0.1 --output-path said.wav --json --model " + goldens + "/mono", 0, `"topK": 250`, ""},
		{"continue clip.wav --seconds 0.1 --output-path asked.wav --json --top-k 5 --temperature 0.5", 0, `"topK": 5`, ""},
		{"models prune --help", 0, "(default 30)", ""},
		{"worker --framing morse", 2, "", "morse"},
		{"worker --memory -1", 2, "", "--memory: got -1, want 0 to 9223372036854"},
		{"worker --memory 9223372036855", 2, "", "--memory: got 9223372036855, want 0 to 9223372036854"},
	} {
		out, words, code := segue(t, dir, "", strings.Fields(test.args)...)
		if code != test.code || !strings.Contains(out, test.stdout) || !strings.Contains(words, test.stderr) {
			t.Errorf("segue %s: exit code %d, stdout %q, stderr %q; want %d, %q, %q", test.args, code, out, words, test.code, test.stdout, test.stderr)
		}
	}
}

// full is the stdout of a script whose disk is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// What could not be printed is an error, though all else went well.
func TestStdoutThatTakesNothing(t *testing.T) {
	for _, args := range []string{"help", "help pull", "--help", "worker --help", "probe " + clip, "probe --json " + clip, "models", "doctor --device cpu", "schema", "version"} {
		var words strings.Builder
		code := dispatch(t.Context(), &environment{stdout: full{}, stderr: &words}, strings.Fields(args))
		if code != 1 || words.String() != "segue: no space left\n" {
			t.Errorf("segue %s: got exit code %d, %q, want 1 and that no space is left", args, code, words.String())
		}
	}
}

// Answers that nobody reads are lost in the end, and the worker says so.
func TestUnreadAnswers(t *testing.T) {
	var words bytes.Buffer
	c := exec.Command(binary, "worker")
	c.Stdin = strings.NewReader(strings.Repeat(`{"jsonrpc":"2.0","id":null,"method":"rpc.discover"}`+"\n", 20)) // more than a pipe holds
	c.Stderr = &words
	if _, err := c.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	err := c.Run()
	if code := c.ProcessState.ExitCode(); code != 1 || strings.Count(words.String(), "\n") != 1 || !strings.Contains(words.String(), "answers are lost") {
		t.Errorf("got %v, stderr %q; want exit code 1 and a line that answers are lost", err, words.String())
	}
}

// What goes to stdout is a script's: a mistake leaves it empty. An empty name, as a variable that is not set gives, is one.
func TestMistakesLeaveStdoutEmpty(t *testing.T) {
	dir := folder(t)
	for _, args := range [][]string{
		{"continue", "clip.wav", "--seconds", "many"},
		{"continue", "clip.wav", "--colour", "red"},
		{"worker", "--log-level", "loud"},
		{"continue", ""},
		{"probe", ""},
		{"pull", ""},
		{"verify", ""},
	} {
		if out, words, code := segue(t, dir, "", args...); code != 2 || out != "" || !strings.HasPrefix(words, "segue: "+args[0]+": ") {
			t.Errorf("segue %q: exit code %d, stdout %q, stderr %q; want 2 and words alone", args, code, out, words)
		}
	}
	onlyClip(t, dir)
}

// How long a host waits for the first answer.
func BenchmarkInitialize(b *testing.B) {
	for b.Loop() {
		out, _, _ := segue(b, b.TempDir(), `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`+"\n", "worker")
		if !strings.Contains(out, "capabilities") {
			b.Fatal(out)
		}
	}
}
