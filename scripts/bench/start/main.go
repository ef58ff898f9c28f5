// Command start measures what a host waits for before it hears something: a fresh worker, models/load, and a request whose
// first step needs every weight of the decoder. Each start is a process of its own; the first one of a model packs its
// weights, later ones find them. Linux only: it reads the worker's memory from /proc.
//
//	go run ./scripts/bench/checkpoint small build/random-small
//	go run ./scripts/bench/start ./segue 5 q4 build/random-small [more folders, resident together]
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// settled is the time after which the worker has done what a load leaves for later.
const settled = 2 * time.Second

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: start SEGUE TIMES QUANTIZATION FOLDER...")
		os.Exit(2)
	}
	times, err := strconv.Atoi(os.Args[2])
	for i := 0; i < times && err == nil; i++ {
		err = start(os.Args[1], os.Args[3], os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

type worker struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

type answer struct {
	ID     int
	Result json.RawMessage
	Error  *struct{ Message string }
}

// start runs one worker from its begin to its end and prints a line for each model.
func start(binary, quantization string, folders []string) error {
	w, err := spawn(binary)
	if err != nil {
		return err
	}
	defer w.process.Process.Kill()
	total := int64(0)
	for i, folder := range folders {
		path, err := filepath.Abs(folder)
		if err != nil {
			return err
		}
		packed, err := w.measure(path, quantization, i == 0)
		if err != nil {
			return err
		}
		total += packed
	}
	if len(folders) > 1 {
		var status struct{ DeviceBytes, MemoryBytes int64 }
		if err := w.ask("status", map[string]any{}, &status); err != nil {
			return err
		}
		fmt.Printf("together: packed %.0f MB each on its own, truly held %.0f MB, process %.0f MB\n", mb(total), mb(status.DeviceBytes), mb(status.MemoryBytes))
	}
	w.in.Close()
	return w.process.Wait()
}

func spawn(binary string) (*worker, error) {
	w := &worker{process: exec.Command(binary, "worker", "--log-level", "info")}
	w.process.Stderr = os.Stderr
	var err error
	if w.in, err = w.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewScanner(out)
	if err := w.process.Start(); err != nil {
		return nil, err
	}
	return w, w.ask("ping", map[string]any{}, nil) // the process is up
}

// measure loads a model and has it make one frame, without a text and then with one.
func (w *worker) measure(path, quantization string, peak bool) (packed int64, err error) {
	begin := time.Now()
	var info struct{ MemoryBytes int64 }
	model := map[string]any{"model": path, "quantization": quantization}
	if err := w.ask("models/load", model, &info); err != nil {
		return 0, err
	}
	loaded := time.Since(begin)
	atLoad, err := w.memory("VmHWM")
	if err != nil {
		return 0, err
	}
	first, err := w.generate(path, quantization, "")
	if err != nil {
		return 0, err
	}
	fmt.Printf("load %4.0f ms, first step %4.0f ms after models/load was sent", ms(loaded), ms(loaded)+first)
	second, err := w.generate(path, quantization, "warm bass and crisp drums")
	if err != nil {
		return 0, err
	}
	fmt.Printf(" (with a text: %4.0f ms)", ms(loaded)+second)
	if peak {
		time.Sleep(settled)
		inAll, err := w.memory("VmHWM")
		if err != nil {
			return 0, err
		}
		fmt.Printf("; packed %.0f MB, peak beyond it during the load %+.0f MiB, in all %+.0f MiB", mb(info.MemoryBytes),
			float64(atLoad-info.MemoryBytes)/(1<<20), float64(inAll-info.MemoryBytes)/(1<<20))
	}
	fmt.Println()
	return info.MemoryBytes, nil
}

// generate returns the milliseconds from the request to its first step.
func (w *worker) generate(path, quantization, text string) (float64, error) {
	dir, err := os.MkdirTemp("", "start-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	var result struct {
		Timing struct{ LoadMS, TextMS, PrefillMS, DecodeMS, StepMS float64 }
	}
	err = w.ask("generate", map[string]any{"model": path, "quantization": quantization, "text": text, "seconds": 0.1,
		"outputPath": filepath.Join(dir, "out.wav")}, &result)
	t := result.Timing
	return t.LoadMS + t.TextMS + t.PrefillMS + t.StepMS, err
}

func (w *worker) ask(method string, params map[string]any, result any) error {
	request, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w.in, "%s\n", request); err != nil {
		return err
	}
	if !w.out.Scan() {
		return errors.New("the worker ended")
	}
	var a answer
	if err := json.Unmarshal(w.out.Bytes(), &a); err != nil {
		return err
	}
	if a.Error != nil {
		return fmt.Errorf("%s: %s", method, a.Error.Message)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(a.Result, result)
}

// memory reads a line of the worker's status, in bytes.
func (w *worker) memory(name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return 1024 * kb, err
		}
	}
	return 0, fmt.Errorf("/proc: no %s", name)
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
func mb(n int64) float64         { return float64(n) / 1e6 }
