// Command segue continues music. `segue worker` is the long-lived process that a host spawns and talks JSON-RPC to; the other
// subcommands do the same jobs one at a time for people and scripts.
//
//	main (table of subcommands) ──► one short file each ──► engine, rpc
//
// Here the backend is picked and everything is wired. Data (paths, JSON) goes to stdout, words for people to stderr.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"segue/engine"
)

// command is one subcommand.
type command struct {
	name, summary string
	leaves        string // what a signal that stops it leaves behind; "": nothing to tell of
	run           func(ctx context.Context, env *environment, args []string) error
}

const leavesNothing = "; no file was left behind"

var commands = []command{
	{"worker", "serve a host: JSON-RPC on stdin and stdout", leavesNothing, runWorker},
	{"continue", "continue an audio file", leavesNothing, runContinue},
	{"generate", "make music from nothing, or from a text", leavesNothing, runGenerate},
	{"pull", "bring a model from the hub to this machine", "; the same command goes on where it stopped", runPull},
	{"models", "list the models that can be used", "", runModels},
	{"probe", "tell what an audio file is", "", runProbe},
	{"verify", "compare a checkpoint with the reference's results", "", runVerify},
	{"bench", "measure speed and quality on this machine, and recommend", "", runBench},
	{"doctor", "check this machine: device, memory, folders, a one-second self-test", "", runDoctor},
	{"schema", "print the OpenRPC document of the worker", "", runSchema},
	{"version", "print the version", "", runVersion},
}

// environment is what a subcommand may touch of the outside world.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	terminal       bool       // stderr is one
	columns        func() int // of it
}

// Exit codes beside 0 and 1.
const (
	exitUsage     = 2
	exitInterrupt = 130
	exitTerminate = 143
)

// exitError ends the process with a code; its message, if any, has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// helpAsked ends a command that was asked for its help, which is the text.
type helpAsked string

func (helpAsked) Error() string { return "help" }

// usageError is a mistake in the command line.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

// signalError is the cause of a context that a signal ended.
type signalError struct{ signal os.Signal }

func (e signalError) Error() string { return e.signal.String() }

func main() {
	stdout := os.Stdout
	os.Stdout = os.Stderr     // a stray print must never corrupt the protocol
	log.SetOutput(io.Discard) // the FLAC library logs every odd sample rate
	signal.Ignore(syscall.SIGPIPE)
	env := &environment{stdin: os.Stdin, stdout: stdout, stderr: os.Stderr, terminal: isTerminal(os.Stderr), columns: columns}
	ctx, stop := withSignals(context.Background())
	code := dispatch(ctx, env, os.Args[1:])
	stop()
	if queue, ok := env.stderr.(*lineQueue); ok { // a worker's
		queue.close(lastLines)
	}
	os.Exit(code)
}

// withSignals returns a context that the first SIGINT, SIGTERM or SIGHUP ends; a second one ends the process.
func withSignals(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if s, ok := <-signals; ok {
			signal.Stop(signals)
			cancel(signalError{s})
		}
	}()
	return ctx, func() { signal.Stop(signals); cancel(nil) }
}

// dispatch runs the subcommand that args name and returns the exit code.
func dispatch(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		printUsage(env.stderr)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "--help":
		if len(args) == 1 {
			return exitCode(ctx, env, command{}, printUsage(env.stdout))
		}
		name, args = args[1], []string{args[1], "--help"}
	case "-v", "--version":
		name = "version"
	}
	for _, c := range commands {
		if c.name == name {
			return exitCode(ctx, env, c, c.run(ctx, env, args[1:]))
		}
	}
	fmt.Fprintf(env.stderr, "segue: got %q, want one of the commands below\n\n", name)
	printUsage(env.stderr)
	return exitUsage
}

// exitCode prints err for people and turns it into the process's code.
func exitCode(ctx context.Context, env *environment, c command, err error) int {
	var exit exitError
	var help helpAsked
	var usage usageError
	var bySignal signalError
	var refused *engine.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &help):
		_, err := io.WriteString(env.stdout, string(help))
		return exitCode(ctx, env, c, err)
	case errors.As(context.Cause(ctx), &bySignal):
		fmt.Fprintf(env.stderr, "segue: stopped by %s%s\n", bySignal.signal, c.leaves)
		if bySignal.signal == syscall.SIGTERM {
			return exitTerminate
		}
		return exitInterrupt
	case errors.As(err, &usage):
		fmt.Fprintf(env.stderr, "segue: %s\n", asFlags(usage.message))
		return exitUsage
	case errors.As(err, &refused):
		fmt.Fprintf(env.stderr, "segue: %s\n", asFlags(err.Error()))
		if refused.Kind == engine.BadParam || refused.Kind == engine.Unsupported {
			return exitUsage
		}
		return 1
	}
	fmt.Fprintf(env.stderr, "segue: %v\n", err)
	return 1
}

func printUsage(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`segue continues music: give it an audio file, and the piece goes on.

Usage: segue COMMAND [flags]

`)
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.summary)
	}
	b.WriteString(`
segue COMMAND --help tells the flags of each. A first try:

  segue continue loop.wav --seconds 8
`)
	_, err := io.WriteString(w, b.String())
	return err
}
