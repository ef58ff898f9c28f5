package audio

// Clears away what writers leave that were killed: hidden files that Abort would have removed. Only ".part" files go.
// An ".old" one may be the last copy of what a writer was replacing, and has that file's age, so it is left to people.

import (
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// staleAfter is how long nothing was written to a part before it counts as left behind. A writer that lives writes far
// more often, and one that slept for a day loses its file with an error, not another's.
const staleAfter = 24 * time.Hour

var partName = regexp.MustCompile(`^\.segue-[0-9a-f]{16}\.part$`)

// Sweep removes the stale parts in the folder of w, which is not committed yet, and returns their paths. Age is told by
// the clock that stamps the folder's files, w's own among them, not by this machine's. What cannot be removed stays.
func (w *Writer) Sweep() (removed []string) {
	own, err := w.temp.Stat()
	if err != nil {
		return nil
	}
	folder := filepath.Dir(w.path)
	entries, _ := os.ReadDir(folder) // as far as it can be read
	for _, entry := range entries {
		if !partName.MatchString(entry.Name()) || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err != nil || own.ModTime().Sub(info.ModTime()) < staleAfter {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		if os.Remove(path) == nil {
			removed = append(removed, path)
		}
	}
	return removed
}
