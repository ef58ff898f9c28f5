//go:build linux && (amd64 || arm64)

// Command sanitize runs dispatches again that tests recorded, under AddressSanitizer, UndefinedBehaviorSanitizer and
// ThreadSanitizer. It fails where one of them complains, where a result depends on the order of threads, and where a
// kernel was never dispatched.
//
//	SEGUE_METAL_RECORD=build/mtltest/dispatches go test ./metalkern/...
//	go run ./metalkern/mtltest/sanitize build/mtltest/dispatches
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"segue/metalkern/mtltest"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "sanitize: want one argument, the folder that SEGUE_METAL_RECORD named")
		os.Exit(2)
	}
	if err := sanitize(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func sanitize(folder string) error {
	all, err := mtltest.Recordings(folder)
	if err != nil {
		return err
	}
	var results []error
	for _, r := range all {
		if missing := r.Missing(); len(missing) > 0 {
			results = append(results, fmt.Errorf("sanitize: %s.metal: no test dispatches %s", r.Name, strings.Join(missing, ", ")))
		}
	}
	folder, err = os.MkdirTemp("", "sanitize")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	replayed := make([]error, len(all)*len(mtltest.Sanitizers))
	var group sync.WaitGroup
	room := make(chan bool, runtime.NumCPU())
	for i := range replayed {
		group.Go(func() {
			room <- true
			defer func() { <-room }()
			r, s := all[i/len(mtltest.Sanitizers)], mtltest.Sanitizers[i%len(mtltest.Sanitizers)]
			replayed[i] = replay(r, s, filepath.Join(folder, fmt.Sprint(i)))
		})
	}
	group.Wait()
	return errors.Join(append(results, replayed...)...)
}

func replay(r mtltest.Recorded, s mtltest.Sanitizer, program string) error {
	err := s.Compile(r.Text, program)
	if err == nil {
		err = s.Replay(program, "", r.Files)
	}
	if err != nil {
		return fmt.Errorf("%s.metal: %w", r.Name, err)
	}
	fmt.Printf("sanitize: %-11s %-18s %3d stretches of dispatches, none complained\n", r.Name, s.Name, len(r.Files))
	return nil
}
