package audio

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Only parts that nothing was written to for a day go: not those of writers at work, not what an overwrite keeps, not what
// is a folder, a link or another program's.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	file := func(name string, age time.Duration) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const day = 24 * time.Hour
	stale := []string{file(".segue-0123456789abcdef.part", day+time.Minute), file(".segue-fedcba9876543210.part", 400*day)}
	kept := []string{
		file(".segue-1123456789abcdef.part", day-time.Minute), file(".segue-2123456789abcdef.part", -day), // of a clock ahead
		file(".segue-3123456789abcdef.old", 400*day), file(".segue-notes.part", 400*day), file(".segue-0123456789abcdef.part.wav", 400*day),
		file("segue-0123456789abcdef.part", 400*day), file("song.wav", 400*day),
	}
	folder, link := filepath.Join(dir, ".segue-4123456789abcdef.part"), filepath.Join(dir, ".segue-5123456789abcdef.part")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept[4], link); err != nil {
		t.Skipf("needs the right to make links: %v", err)
	}
	if err := os.Chtimes(folder, now.Add(-400*day), now.Add(-400*day)); err != nil {
		t.Fatal(err)
	}
	w, err := Create(filepath.Join(dir, "new.wav"), pcm16, false)
	if err != nil {
		t.Fatal(err)
	}
	if removed := w.Sweep(); !slices.Equal(removed, stale) {
		t.Errorf("removed %v, want %v", removed, stale)
	}
	if err := w.Write(make([]float32, 2), false); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Errorf("the writer that swept: %v", err)
	}
	for _, path := range append(kept, folder, link) {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", filepath.Base(path))
		}
	}
	if list := names(t, dir); len(list) != len(kept)+3 {
		t.Errorf("the folder holds %v", list)
	}
}
