package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"segue/engine/audio"
)

// output is one file to make.
type output struct {
	path   string
	seed   int64
	writer *audio.Writer // nil until there is something to write
	placed bool          // committed, and so to be removed if a later one fails
}

// abandon leaves no trace of a file unless release was called.
func (o *output) abandon() {
	if o.writer != nil {
		o.writer.Abort()
	}
	if o.placed {
		os.Remove(o.path)
	}
}

// planOutputs names the files and finds out whether they can be written, before any work is done for them.
func (r *run) planOutputs() error {
	format, err := r.container()
	if err != nil {
		return err
	}
	dir, stem, err := r.outputStem()
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i := range r.job.Variations {
		path, err := r.outputName(dir, stem, "."+format, i, taken)
		if err != nil {
			return err
		}
		taken[path] = true
		r.outputs = append(r.outputs, output{path: path, seed: r.job.Seed + int64(i)})
	}
	return nil
}

// container is the file format: as asked, or by the extension of outputPath, or WAV.
func (r *run) container() (string, error) {
	extension := strings.ToLower(strings.TrimPrefix(filepath.Ext(r.job.OutputPath), "."))
	switch {
	case r.job.Format != "":
		return r.job.Format, nil
	case r.job.OutputPath == "" || extension == "":
		return "wav", nil
	case extension == "wav" || extension == "flac":
		return extension, nil
	}
	return "", Errorf(BadParam, "outputPath", "outputPath: got extension .%s, want .wav or .flac, or say the format", extension)
}

// outputStem splits where files go into folder and name.
func (r *run) outputStem() (dir, stem string, err error) {
	o := &r.engine.options
	resolve := func(field, path string) string {
		resolved, resolveErr := audio.ResolvePath(path, o.WorkDir, o.Home)
		if resolveErr != nil {
			err = Errorf(BadParam, field, "%s: %w", field, resolveErr)
		}
		return resolved
	}
	switch {
	case r.job.OutputPath != "" && r.job.OutputDir != "":
		return "", "", Errorf(BadParam, "outputPath", "outputPath: got outputDir too, want one of the two")
	case r.job.OutputPath != "":
		path := resolve("outputPath", r.job.OutputPath)
		if isDir(path) {
			return "", "", &Error{Kind: OutputUnwritable, Field: "outputPath", Path: path, Detail: "outputPath: got the folder " + path + ", want a file's path, or outputDir"}
		}
		return filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), err
	case r.source != nil:
		dir, stem = filepath.Dir(r.source.path), filepath.Base(r.source.path)
		stem = strings.TrimSuffix(stem, filepath.Ext(stem)) + "-continued"
	default:
		dir, stem = o.WorkDir, "generated"
	}
	if r.job.OutputDir != "" {
		dir = resolve("outputDir", r.job.OutputDir)
	}
	return dir, stem, err
}

// outputName names variation i. An asked-for path is taken as it is, or refused; in a folder a free name is found.
func (r *run) outputName(dir, stem, extension string, i int, taken map[string]bool) (string, error) {
	field := "outputDir"
	var path string
	switch {
	case r.job.OutputPath != "":
		field = "outputPath"
		if own := filepath.Ext(r.job.OutputPath); own != "" {
			extension = own
		}
		path = filepath.Join(dir, numbered(stem, i+1)+extension)
	case r.job.Overwrite:
		path = filepath.Join(dir, numbered(stem, i+1)+extension)
	default:
		path = audio.FreeName(dir, stem, extension, taken)
	}
	if r.source != nil && sameFile(path, r.source.path) {
		return "", &Error{Kind: OutputExists, Field: field, Path: path, Detail: field + ": got the input file itself, want another path; input is never changed"}
	}
	trial, err := audio.Create(path, r.outputFormat(), r.job.Overwrite)
	if err != nil {
		return "", outputError(field, path, err)
	}
	trial.Abort()
	return path, nil
}

// numbered adds -2, -3, … to all names but the first.
func numbered(stem string, n int) string {
	if n == 1 {
		return stem
	}
	return fmt.Sprintf("%s-%d", stem, n)
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// outputError gives an error met while writing its kind.
func outputError(field, path string, err error) error {
	kind := OutputUnwritable
	if errors.Is(err, audio.ErrExists) {
		kind = OutputExists
	}
	var unsupported *audio.UnsupportedError
	if errors.As(err, &unsupported) {
		kind = BadParam
	}
	return &Error{Kind: kind, Field: field, Path: path, Detail: field + ": " + err.Error(), Err: err}
}
