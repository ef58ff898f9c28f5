package engine

import (
	"errors"
	"io/fs"
	"math"

	"segue/engine/audio"
)

// source is a file that a job continues, or whose melody it follows.
type source struct {
	field  string // the parameter that names it
	path   string
	reader *audio.Reader
	info   audio.Info
	seam   int64 // frames of the file before the new part
}

func (r *run) openSources() (err error) {
	if r.melody, err = r.engine.openSource("melodyPath", r.job.MelodyPath); err != nil {
		return err
	}
	if r.source, err = r.engine.openSource("path", r.job.Path); err != nil || r.source == nil {
		return err
	}
	s := r.source
	s.seam = s.info.Frames
	if r.job.PromptFrom == "start" {
		// The smaller one first, as a float: what is wished may be more than an integer holds.
		s.seam = max(1, int64(min(float64(s.seam), math.Round(r.job.PromptSeconds*float64(s.info.Rate)))))
	}
	return nil
}

// warnings are what is odd about the file.
func (s *source) warnings() (list []string) {
	for _, w := range s.info.Warnings {
		list = append(list, s.field+": "+w)
	}
	return list
}

// openSource opens the file that a parameter names, nil where it names none.
func (e *Engine) openSource(field, name string) (*source, error) {
	if name == "" {
		return nil, nil
	}
	path, err := audio.ResolvePath(name, e.options.WorkDir, e.options.Home)
	if err != nil {
		return nil, Errorf(BadParam, field, "%s: %w", field, err)
	}
	reader, err := audio.Open(path)
	if err != nil {
		return nil, audioError(field, path, err)
	}
	if reader.Info().Frames == 0 {
		reader.Close()
		return nil, &Error{Kind: AudioLength, Field: field, Path: path, Detail: path + ": got no audio at all, want at least one frame"}
	}
	return &source{field: field, path: path, reader: reader, info: reader.Info()}, nil
}

// start returns the first seconds of the file, or all of a shorter one, as one channel at rate.
func (s *source) start(seconds float64, rate int) ([]float32, error) {
	n := min(s.info.Frames, int64(seconds*float64(s.info.Rate)))
	mono, err := s.reader.ReadMixed(0, n, 1)
	if err != nil {
		return nil, audioError(s.field, s.path, err)
	}
	return audio.Resample(mono[0], s.info.Rate, rate), nil
}

// audioError gives an error met while reading audio its kind.
func audioError(field, path string, err error) error {
	kind := AudioUnsupported
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		kind = AudioMissing
	}
	return &Error{Kind: kind, Field: field, Path: path, Detail: err.Error(), Err: err}
}

// frames is how many codec frames of prompt the file has to give, at least one: whole frames, so that the new part begins
// exactly where the file's part ends.
func (s *source) frames(seconds float64, rate, hop int) int {
	wanted := math.Round(seconds * float64(rate) / float64(hop))
	there := math.Floor(float64(s.seam) * float64(rate) / float64(s.info.Rate) / float64(hop))
	return max(1, int(min(wanted, there)))
}

// before returns the last samples before the seam at a rate and in so many channels, or what there is of a file that is shorter.
// Only that window of the file is read.
func (s *source) before(samples, rate, channels int) ([][]float32, error) {
	n := int64(math.Ceil(float64(samples) * float64(s.info.Rate) / float64(rate)))
	n += int64(s.info.Rate / 25) // beyond the window, for the resampling filter
	if period := int64(s.info.Rate / gcd(s.info.Rate, rate)); period < n {
		n += (period - n%period) % period // both clocks tick at the seam
	}
	n = min(n, s.seam)
	planar, err := s.reader.ReadMixed(s.seam-n, n, channels)
	if err != nil {
		return nil, audioError(s.field, s.path, err)
	}
	for i := range planar {
		planar[i] = audio.Resample(planar[i], s.info.Rate, rate)
		planar[i] = planar[i][max(0, len(planar[i])-samples):]
	}
	return planar, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
