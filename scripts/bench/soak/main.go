// Command soak talks to one worker for a long time: 1,000 short requests, whose memory it reports on the way, then twenty
// cancels of a long one, whose answers it times.
//
//	go run ./scripts/bench/soak ./segue [requests]
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: soak SEGUE [requests]")
		os.Exit(2)
	}
	requests := 1000
	if len(os.Args) > 2 {
		requests, _ = strconv.Atoi(os.Args[2])
	}
	if err := soak(os.Args[1], requests); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

type message struct {
	ID     any
	Method string
	Params struct{ Value struct{ Stage string } }
	Result struct {
		MemoryBytes, DeviceBytes int64
		Timing                   struct{ StepMS float64 }
	}
	Error *struct {
		Code    int
		Message string
	}
}

type worker struct {
	in  io.Writer
	out *bufio.Scanner
}

func (w *worker) say(format string, args ...any) { fmt.Fprintf(w.in, format+"\n", args...) }

// hear returns the next message that want accepts.
func (w *worker) hear(want func(message) bool) (message, error) {
	for w.out.Scan() {
		var m message
		if err := json.Unmarshal(w.out.Bytes(), &m); err != nil {
			return m, err
		}
		if want(m) {
			return m, nil
		}
	}
	return message{}, fmt.Errorf("the worker ended: %v", w.out.Err())
}

func soak(binary string, requests int) error {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	clip, err := filepath.Abs("testdata/clip.wav")
	if err != nil {
		return err
	}
	c := exec.Command(binary, "worker")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	w := &worker{in: in, out: bufio.NewScanner(out)}
	if err := w.repeat(requests, clip, filepath.Join(dir, "out.wav")); err != nil {
		return err
	}
	if err := w.cancels(20, clip); err != nil {
		return err
	}
	in.Close()
	return c.Wait()
}

// repeat sends requests with ever new seeds and texts, so that caches fill and turn over.
func (w *worker) repeat(requests int, clip, output string) error {
	for i := range requests {
		w.say(`{"jsonrpc":"2.0","id":%d,"method":"continue","params":{"path":%q,"outputPath":%q,"overwrite":true,"seconds":0.1,"promptSeconds":0.5,"seed":%d,"text":"take %d"}}`,
			i, clip, output, i, i%50)
		m, err := w.hear(func(m message) bool { return m.ID == float64(i) })
		if err != nil {
			return err
		}
		if m.Error != nil {
			return fmt.Errorf("request %d: %s", i, m.Error.Message)
		}
		if (i+1)%max(requests/10, 1) == 0 {
			w.say(`{"jsonrpc":"2.0","id":"s","method":"status"}`)
			s, err := w.hear(func(m message) bool { return m.ID == "s" })
			if err != nil {
				return err
			}
			fmt.Printf("%5d requests: %6.1f MB resident, %6.1f MB of models and caches\n", i+1, float64(s.Result.MemoryBytes)/1e6, float64(s.Result.DeviceBytes)/1e6)
		}
	}
	return nil
}

// cancels times how long a cancelled request takes to be answered.
func (w *worker) cancels(times int, clip string) error {
	var took []time.Duration
	for i := range times {
		id := fmt.Sprintf("long%d", i)
		w.say(`{"jsonrpc":"2.0","id":%q,"method":"continue","params":{"path":%q,"seconds":24,"variations":16,"progress":true,"text":"drums"}}`, id, clip)
		if _, err := w.hear(func(m message) bool { return m.Params.Value.Stage == "decode" }); err != nil {
			return err
		}
		time.Sleep(time.Duration(i) * 20 * time.Millisecond) // at different places
		start := time.Now()
		w.say(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%q}}`, id)
		if _, err := w.hear(func(m message) bool { return m.ID == id }); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	fmt.Printf("%d cancels answered: median %v, slowest %v\n", times, took[len(took)/2], took[len(took)-1])
	return nil
}
