//go:build unix

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGTERM: the job in flight is answered, its files are gone, and the exit code tells why.
func TestSignal(t *testing.T) {
	dir := folder(t)
	c := talk(t, dir)
	c.say(t, longJob(t))
	c.hear(t, decoding)
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if a := c.hear(t, func(a answer) bool { return a.ID == "long" }); a.Error == nil || a.Error.Code != -32802 {
		t.Errorf("got %+v, want -32802", a)
	}
	if err := c.Wait(); c.ProcessState.ExitCode() != exitTerminate {
		t.Errorf("got %v, want exit code %d", err, exitTerminate)
	}
	onlyClip(t, dir)
}

// A download that is stopped keeps what has come, and says so.
func TestSignalDuringPull(t *testing.T) {
	hub, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	var words bytes.Buffer
	c := exec.Command(binary, "pull", "small")
	c.Env = append(os.Environ(), "HF_ENDPOINT=http://"+hub.Addr().String(), "HF_HOME="+t.TempDir())
	c.Stderr = &words
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Accept(); err != nil { // it asks, and is not answered
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitInterrupt || !strings.Contains(words.String(), "goes on where it stopped") {
		t.Errorf("exit code %d, stderr %q; want %d and that the command goes on", code, words.String(), exitInterrupt)
	}
}

// The host dies while a stranger keeps its end of stdin open: the worker, which has answered it before, notices and ends.
func TestHostDies(t *testing.T) {
	dir := folder(t)
	host := exec.Command("sh", "-c", `
		mkfifo in
		(echo '{"jsonrpc":"2.0","id":1,"method":"ping"}'; exec sleep 600) >in & echo $!
		"$0" worker <in >out & echo $!
		while [ ! -s out ]; do sleep 0.05; done
		kill -9 $$`, binary)
	host.Dir = dir
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var sleeper, worker int
	if _, err := fmt.Fscan(out, &sleeper, &worker); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(sleeper, syscall.SIGKILL)
	host.Wait()
	for deadline := time.Now().Add(30 * time.Second); processRuns(worker); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(worker, syscall.SIGKILL)
			t.Fatal("the worker outlives its host")
		}
	}
}

// processRuns says whether a process exists and is more than a zombie.
func processRuns(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		return !strings.Contains(string(stat), ") Z ")
	}
	return processAlive(int64(pid)) && runtime.GOOS != "linux"
}
