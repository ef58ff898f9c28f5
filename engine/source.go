package engine

import (
	"errors"
	"io/fs"
	"math"

	"segue/engine/audio"
)

// source is the file that a job continues.
type source struct {
	path   string
	reader *audio.Reader
	info   audio.Info
	seam   int64 // frames of the file before the new part
}

func (r *run) openSource() error {
	if r.job.Path == "" {
		return nil
	}
	e := r.engine
	path, err := audio.ResolvePath(r.job.Path, e.options.WorkDir, e.options.Home)
	if err != nil {
		return Errorf(BadParam, "path", "path: %w", err)
	}
	reader, err := audio.Open(path)
	if err != nil {
		return audioError(path, err)
	}
	s := &source{path: path, reader: reader, info: reader.Info()}
	r.source = s
	if s.info.Frames == 0 {
		return &Error{Kind: AudioLength, Field: "path", Path: path, Detail: path + ": got no audio at all, want at least one frame"}
	}
	s.seam = s.info.Frames
	if r.job.PromptFrom == "start" {
		s.seam = max(1, min(s.seam, int64(math.Round(r.job.PromptSeconds*float64(s.info.Rate)))))
	}
	return nil
}

// audioError gives an error met while reading audio its kind.
func audioError(path string, err error) error {
	kind := AudioUnsupported
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		kind = AudioMissing
	}
	return &Error{Kind: kind, Field: "path", Path: path, Detail: err.Error(), Err: err}
}

// frames is how many codec frames of prompt the file has to give, at least one: whole frames, so that the new part begins
// exactly where the file's part ends.
func (s *source) frames(seconds float64, rate, hop int) int {
	wanted := int(math.Round(seconds * float64(rate) / float64(hop)))
	there := int(float64(s.seam) * float64(rate) / float64(s.info.Rate) / float64(hop))
	return max(1, min(wanted, there))
}

// read returns the last frames codec frames before the seam at the model's rate and channels: frames·hop samples, or what
// there is of a file shorter than one frame. Only that window of the file is read.
func (s *source) read(frames, rate, hop, channels int) ([][]float32, error) {
	samples := frames * hop
	n := int64(math.Ceil(float64(samples) * float64(s.info.Rate) / float64(rate)))
	n += int64(s.info.Rate / 25) // beyond the window, for the resampling filter
	if period := int64(s.info.Rate / gcd(s.info.Rate, rate)); period < n {
		n += (period - n%period) % period // both clocks tick at the seam
	}
	n = min(n, s.seam)
	interleaved, err := s.reader.Read(s.seam-n, n)
	if err != nil {
		return nil, audioError(s.path, err)
	}
	planar := audio.Mix(audio.Deinterleave(interleaved, s.info.Channels), channels)
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
