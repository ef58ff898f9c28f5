package hub

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const lockPeriod = 100 * time.Millisecond // between looks at a lock that another holds

// lock waits until this process alone may write what path stands for, and returns what ends that. The lock file stays:
// to remove it would split those who wait from those who come.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		held, err := tryLock(f)
		if err == nil && held && isAt(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close()
		if err != nil {
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		if err := pause(ctx, lockPeriod); err != nil {
			return nil, err
		}
	}
}

// isAt says whether f is still the file at path: older Python clients remove it when they unlock.
func isAt(f *os.File, path string) bool {
	here, err := f.Stat()
	there, thereErr := os.Stat(path)
	return err == nil && thereErr == nil && os.SameFile(here, there)
}

// pause waits for d, or for the end of ctx, which it returns as an error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
