package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"segue/rpc"
)

const aboutWorker = `Serves one host over stdin and stdout with JSON-RPC 2.0: one message per line, or Content-Length headers when the first byte says
so. Ends when stdin ends (after the last answer), on exit, or when the host dies. stdout carries the protocol only; logs go to
stderr. segue schema prints every method and parameter.

  printf '{"jsonrpc":"2.0","id":1,"method":"continue","params":{"path":"loop.wav","seconds":4}}\n' | segue worker
`

func runWorker(ctx context.Context, env *environment, args []string) error {
	parent := os.Getppid() // before a device is opened: the host may die meanwhile
	set := newFlags("worker", "worker [flags]", aboutWorker)
	var machine machineFlags
	machine.register(set)
	framingName := set.String("framing", "auto", "`KIND` auto, line or header")
	level := slog.LevelWarn
	set.Func("log-level", "`LEVEL` log on stderr: debug, info, warn or error (default warn)", func(s string) error {
		if level.UnmarshalText([]byte(s)) != nil {
			return errors.New("want debug, info, warn or error")
		}
		return nil
	})
	if err := parseOnly(set, args); err != nil {
		return err
	}
	framing, err := rpc.ParseFraming(*framingName)
	if err != nil {
		return usageError{err.Error()}
	}
	env.stderr = newLineQueue(env.stderr) // main closes it, behind the last words
	log := newLog(env.stderr, level)
	machine.log = log
	e, err := machine.openEngine()
	if err != nil {
		return err
	}
	code := rpc.Serve(ctx, env.stdin, env.stdout, e, rpc.Options{
		Framing: framing, Version: version(), Log: log,
		ParentAlive:  func() bool { return os.Getppid() == parent },
		ProcessAlive: processAlive,
	})
	closeSoon(e.Close, log)
	return workerError(ctx, code)
}

// closeLimit is longer than an engine waits for what it writes. A device that hangs takes longer, and goes with the process.
const closeLimit = 10 * time.Second

// closeSoon closes the engine, unless that takes too long: a worker must not outlive its host.
func closeSoon(engineClose func() error, log *slog.Logger) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := engineClose(); err != nil {
			log.Warn("not closed well", "error", err)
		}
	}()
	select {
	case <-done:
	case <-time.After(closeLimit):
		log.Error("the device does not come back: the worker ends without it", "waited", closeLimit)
	}
}

// workerError gives the worker's exit code; a signal's own code wins.
func workerError(ctx context.Context, code int) error {
	var bySignal signalError
	switch {
	case errors.As(context.Cause(ctx), &bySignal):
		return bySignal
	case code != 0:
		return exitError(code)
	}
	return nil
}
