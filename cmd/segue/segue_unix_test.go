//go:build unix

package main

import (
	"fmt"
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

// The host dies while a stranger keeps its end of stdin open: the worker notices and ends.
func TestHostDies(t *testing.T) {
	dir := folder(t)
	host := exec.Command("sh", "-c", `mkfifo in; sleep 600 >in & echo $!; "$0" worker <in >out & echo $!; sleep 0.5; kill -9 $$`, binary)
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
