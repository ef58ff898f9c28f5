// Command pull measures how fast a model comes from a hub on the loopback interface into the cache, and what that costs of
// the processor, beside a plain download of the same bytes to a synced file. The hub is a process of its own. Not on Windows:
// the processor's time comes from getrusage.
//
//	go run ./scripts/bench/pull [MiB]
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"segue/weights/hub"
)

const (
	commit = "0123456789abcdef0123456789abcdef01234567"
	block  = 1 << 20
)

func main() {
	var err error
	size := int64(1024)
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	case len(os.Args) == 2:
		if size, err = strconv.ParseInt(os.Args[1], 10, 64); err != nil {
			break
		}
		fallthrough
	default:
		err = measure(size)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		os.Exit(1)
	}
}

// repositories are one with the bytes in one file, and one with them in four.
func repositories(mib int64) map[string]map[string]int64 {
	shards := map[string]int64{"config.json": 0, "model.safetensors.index.json": 0}
	for i := range 4 {
		shards[fmt.Sprintf("model-%05d-of-00004.safetensors", i+1)] = mib / 4
	}
	return map[string]map[string]int64{"random/one": {"config.json": 0, "model.safetensors": mib}, "random/four": shards}
}

// content is a mebibyte that is repeated; a name's first bytes make files differ.
func content(name string) []byte {
	data := make([]byte, block)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	copy(data, name)
	return data
}

func hashOf(name string, mib int64) string {
	sum, data := sha256.New(), content(name)
	if mib == 0 {
		sum.Write([]byte(`{"model_type":"musicgen"}`))
	}
	for range mib {
		sum.Write(data)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// serve is the hub. It prints its address.
func serve(mib string) error {
	size, err := strconv.ParseInt(mib, 10, 64)
	if err != nil {
		return err
	}
	hashes := map[string]string{}
	mux := http.NewServeMux()
	for repo, files := range repositories(size) {
		type sibling struct {
			Name string `json:"rfilename"`
		}
		var siblings []sibling
		for name, mib := range files {
			siblings = append(siblings, sibling{name})
			hashes[name] = hashOf(name, mib)
			for _, revision := range []string{commit, "main"} { // Python clients ask by name
				mux.HandleFunc("/"+repo+"/resolve/"+revision+"/"+name, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Repo-Commit", commit)
					w.Header().Set("ETag", `"`+hashes[name]+`"`)
					send(w, r, name, mib)
				})
			}
		}
		mux.HandleFunc("/api/models/"+repo+"/revision/main", func(w http.ResponseWriter, _ *http.Request) {
			json.NewEncoder(w).Encode(map[string]any{"sha": commit, "siblings": siblings, "config": map[string]string{"model_type": "musicgen"}})
		})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	return http.Serve(listener, mux)
}

func send(w http.ResponseWriter, r *http.Request, name string, mib int64) {
	if mib == 0 {
		http.ServeContent(w, r, name, time.Time{}, strings.NewReader(`{"model_type":"musicgen"}`))
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(mib*block, 10))
	if r.Method == http.MethodHead {
		return
	}
	for data := content(name); mib > 0; mib-- {
		if _, err := w.Write(data); err != nil {
			return
		}
	}
}

func measure(mib int64) error {
	server := exec.Command(os.Args[0], "serve", strconv.FormatInt(mib, 10))
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer server.Process.Kill()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	address = strings.TrimSpace(address)
	for range 3 {
		err := timed(mib, "plain download", func(dir string) error {
			return plain(address+"/random/one/resolve/"+commit+"/model.safetensors", filepath.Join(dir, "plain"))
		})
		if err != nil {
			return err
		}
		for _, repo := range []string{"random/one", "random/four"} {
			if err := timed(mib, repo, func(dir string) error { return pull(address, repo, dir) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func pull(address, repo, dir string) error {
	c, err := hub.NewClient(hub.Config{Dir: dir, Endpoint: address})
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := c.Plan(context.Background(), repo, "")
	if err != nil {
		return err
	}
	return c.Fetch(context.Background(), []*hub.Plan{p}, func(hub.Progress) {})
}

// plain is what any download costs.
func plain(address, path string) error {
	answer, err := http.Get(address)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, answer.Body)
	return errors.Join(err, file.Sync(), file.Close())
}

// timed prints how fast fn is and how many processors it keeps busy.
func timed(mib int64, what string, fn func(dir string) error) error {
	dir, err := os.MkdirTemp(".", ".pull-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	busy, start := processorTime(), time.Now()
	if err := fn(dir); err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	fmt.Printf("%-14s %5.2f s, %4.0f MB/s, %.2f cores\n", what, seconds, float64(mib*block)/1e6/seconds, (processorTime()-busy).Seconds()/seconds)
	return nil
}
