package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"segue/engine/audio"
)

// output is one file to make.
type output struct {
	path   string
	field  string // the parameter that says where
	free   bool   // the name was chosen among the free ones
	seed   int64
	writer *audio.Writer // nil until there is something to write
}

// abandon leaves no trace of a file that is not in place.
func (o *output) abandon() {
	if o.writer != nil {
		o.writer.Abort()
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
	r.stem = stem
	for i := range r.job.Variations {
		o := r.nameOutput(dir, "."+format, i)
		if err := r.tryOutput(o); err != nil {
			return err
		}
		r.outputs = append(r.outputs, o)
	}
	return nil
}

// freeName is a name in a folder that is neither there nor planned.
func (r *run) freeName(dir, extension string) string {
	planned := map[string]bool{}
	for i := range r.outputs {
		planned[r.outputs[i].path] = true
	}
	return audio.FreeName(dir, r.stem, extension, planned)
}

// container is the file format: as asked, or by the extension of outputPath, or WAV.
func (r *run) container() (string, error) {
	extension := strings.ToLower(strings.TrimPrefix(filepath.Ext(r.job.OutputPath), "."))
	switch {
	case extension == "":
		return cmp.Or(r.job.Format, "wav"), nil
	case extension != "wav" && extension != "flac":
		return "", Errorf(BadParam, "outputPath", "outputPath: got extension .%s, want .wav or .flac", extension)
	case r.job.Format != "" && r.job.Format != extension:
		return "", Errorf(BadParam, "format", "format: got %s for an outputPath that ends in .%s, want the same, or no format", r.job.Format, extension)
	}
	return extension, nil
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
		if isDir(path) || strings.HasSuffix(filepath.ToSlash(r.job.OutputPath), "/") {
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

// nameOutput names variation i. An asked-for path is taken as it is; in a folder a free name is found.
func (r *run) nameOutput(dir, extension string, i int) output {
	o := output{field: "outputDir", seed: r.job.takeSeed(i)}
	switch {
	case r.job.OutputPath != "":
		o.field = "outputPath"
		if own := filepath.Ext(r.job.OutputPath); own != "" {
			extension = own
		}
		o.path = filepath.Join(dir, numbered(r.stem, i+1)+extension)
	case r.job.Overwrite:
		o.path = filepath.Join(dir, numbered(r.stem, i+1)+extension)
	default:
		o.free, o.path = true, r.freeName(dir, extension)
	}
	return o
}

// tryOutput finds out whether a file can be made.
func (r *run) tryOutput(o output) error {
	for _, s := range []*source{r.source, r.melody} {
		if s != nil && sameFile(o.path, s.path) {
			return &Error{Kind: OutputExists, Field: o.field, Path: o.path, Detail: o.field + ": got the input file itself, want another path; input is never changed"}
		}
	}
	format := r.outputFormat()
	if err := r.checkSize(o.path, 0); err != nil {
		return err
	}
	trial, err := audio.Create(o.path, format, r.job.Overwrite)
	if err != nil {
		return outputError(o.field, o.path, err)
	}
	defer trial.Abort()
	if len(r.outputs) == 0 { // all go to one folder
		for _, path := range trial.Sweep() {
			r.engine.options.Log.Info("removed what a killed worker had left", "file", path)
		}
	}
	return nil
}

// checkSize finds out whether a file can hold what it is to: the original, if at all, and the new part's frames.
func (r *run) checkSize(path string, newFrames int) error {
	if r.source == nil || r.job.Include != "full" {
		return nil
	}
	format := r.outputFormat()
	seconds := float64(r.source.seam) / float64(r.source.info.Rate)
	if err := format.CheckFrames(path, int64(seconds*float64(format.Rate))+int64(newFrames)); err != nil {
		return outputError("include", path, err)
	}
	return nil
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
	kind, detail := OutputUnwritable, err.Error()
	var unsupported *audio.UnsupportedError
	folder := filepath.Dir(path)
	switch info, _ := os.Stat(folder); {
	case errors.Is(err, audio.ErrExists):
		kind, detail = OutputExists, path+" is there already, want another name, or overwrite"
	case errors.Is(err, fs.ErrNotExist):
		detail = "there is no folder " + folder + "; make it first"
	case info != nil && !info.IsDir():
		detail = "got the file " + folder + ", want a folder"
	case errors.As(err, &unsupported):
		kind = BadParam
		if field != "include" {
			field = "format" // that is what does not go with bits or channels
		}
	}
	return &Error{Kind: kind, Field: field, Path: path, Detail: field + ": " + detail, Err: err}
}
