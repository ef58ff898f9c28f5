package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"segue/engine/audio"
)

// namedTake is a take to export.
type namedTake struct {
	name  string
	rate  int
	audio [][]float32
}

// keepTake names a variant's takes and keeps them until all is measured.
func (r *Report) keepTake(v *Variant, rate int, made *take) {
	for i, planar := range made.audio {
		name := fmt.Sprintf("%s-cache%s-guidance%g", v.Quantization, v.KVCache, v.Guidance)
		if v.Variations != 1 {
			name += fmt.Sprintf("-%dof%d", i+1, v.Variations)
		}
		name += ".wav"
		v.Files = append(v.Files, name)
		r.takes = append(r.takes, namedTake{name, rate, planar})
	}
}

// Export writes the takes, report.json and report.html to a folder, which is made if need be. What is there under these names
// is replaced, each file at once when it is whole.
func (r *Report) Export(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for _, t := range r.takes {
		if err := t.write(filepath.Join(dir, t.name)); err != nil {
			return err
		}
	}
	if err := WriteFile(filepath.Join(dir, "report.json"), r.JSON); err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, "report.html"), r.HTML)
}

func (t *namedTake) write(path string) error {
	w, err := audio.Create(path, audio.Format{Container: "wav", Bits: "24", Rate: t.rate, Channels: len(t.audio)}, true)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.Write(audio.Interleave(t.audio), true); err != nil {
		return err
	}
	return w.Commit()
}

// JSON writes the report as one object.
func (r *Report) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// CheckFile finds out, before minutes of work, whether WriteFile can make a file of that name.
func CheckFile(path string) error {
	f, err := createPart(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// WriteFile gives a file its name when write has filled it, so that nobody sees half of it.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := createPart(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err = errors.Join(write(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("bench: %s: %w", path, err)
	}
	return nil
}

// createPart makes the hidden file that is to become path. A rename would take the place of anything, of a device too.
func createPart(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: got what is no regular file, want one to replace, or a new name", path)
	}
	hidden := filepath.Join(filepath.Dir(path), fmt.Sprintf(".segue-%016x.part", rand.Uint64()))
	f, err := os.OpenFile(hidden, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("%s: no file can be made there: %w", path, err)
	}
	return f, nil
}
