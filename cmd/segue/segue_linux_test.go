package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A full disk: a clear error, and nothing left on it.
func TestDiskFull(t *testing.T) {
	dir := folder(t)
	disk := filepath.Join(dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, 0) })
	_, words, code := segue(t, dir, "", "continue", "clip.wav", "--seconds", "2", "--output-dir", "disk")
	if code != 1 || !strings.Contains(words, "no space left") {
		t.Errorf("exit code %d, stderr %q; want 1 and the reason", code, words)
	}
	if entries, err := os.ReadDir(disk); err != nil || len(entries) != 0 {
		t.Errorf("the disk holds %v, %v; want nothing", entries, err)
	}
}
