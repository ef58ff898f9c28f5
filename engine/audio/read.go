// Package audio reads, converts, measures and writes the audio files that hosts hand over and want back.
//
//	path ─ ResolvePath ─► Open ─ Read/Blocks ─► Deinterleave ─ Mix ─ Resample ─► model
//	model ─► Resample ─ Mix ─ MatchGain ─ Seam ─► Interleave ─► Create ─ Write ─ Commit ─► path
//
// Samples are float32 with full scale at ±1; "planar" means one slice per channel. A file is recognised by its
// content, never by its name, and only the window asked for is read: the end of a 6 GB recording costs megabytes.
package audio

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
)

// What this package covers, both ways.
const (
	minRate, maxRate = 8000, 384000
	maxChannels      = 64
)

// blockSamples bounds what is decoded at once, in samples of all channels.
const blockSamples = 1 << 16

// maxWindow bounds what one Read returns: 1 GiB of float32. It is a variable for the tests alone.
var maxWindow int64 = 1 << 28

// Info describes a file that can be read.
type Info struct {
	Format   string // wav, flac or aiff
	Encoding string // for people: "24-bit integer"
	Bits     string // the Format.Bits that holds its samples exactly, those of 64-bit floats rounded to 32; or ""
	Rate     int    // Hz
	Channels int
	Frames   int64    // samples per channel, never 0
	Warnings []string // "truncated: …"; the file is usable all the same
}

// source decodes frames from..from+n-1, which exist, into interleaved blocks that are valid during the call only.
type source interface {
	blocks(from, n int64, fn func([]float32) error) error
}

// Reader reads windows of one file. It is not safe for concurrent use.
type Reader struct {
	path   string
	file   *os.File
	info   Info
	source source
}

// Open recognises the file at path, which must be resolved already, and reads its headers.
func Open(path string) (*Reader, error) {
	// A fifo would block in os.Open, so look before.
	stat, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audio: %w", err)
	}
	if err := checkRegular(path, stat.Mode()); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("audio: %w", err)
	}
	info, source, err := open(file, stat.Size())
	if err != nil {
		file.Close()
		return nil, withPath(path, err)
	}
	return &Reader{path: path, file: file, info: info, source: source}, nil
}

func checkRegular(path string, mode os.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return &FormatError{Path: path, What: "a folder", Want: "an audio file"}
	}
	return &FormatError{Path: path, What: "a device, pipe or socket", Want: "an audio file"}
}

// open is Open without the file system.
func open(file io.ReaderAt, size int64) (info Info, src source, err error) {
	format, err := detect(file, size)
	if err != nil {
		return info, nil, err
	}
	switch format {
	case "wav":
		info, src, err = openWAV(file, size)
	case "aiff":
		info, src, err = openAIFF(file, size)
	default:
		info, src, err = openFLAC(file, size)
	}
	if err != nil {
		return info, nil, err
	}
	info.Format = format
	if info.Frames < 1 {
		return info, nil, &FormatError{What: "no audio in it", Got: "0 frames"}
	}
	return info, src, checkShape(info.Rate, info.Channels)
}

func checkShape(rate, channels int) error {
	const cure = "convert it to %s"
	switch {
	case rate < 1 || channels < 1:
		return &FormatError{What: "damaged header", Got: fmt.Sprintf("%d Hz, %d channels", rate, channels)}
	case rate < minRate || rate > maxRate:
		return &UnsupportedError{What: fmt.Sprintf("a sample rate of %d Hz", rate),
			Cure: fmt.Sprintf(cure, fmt.Sprintf("%d to %d Hz", minRate, maxRate))}
	case channels > maxChannels:
		return &UnsupportedError{What: fmt.Sprintf("audio of %d channels", channels),
			Cure: fmt.Sprintf(cure, fmt.Sprintf("at most %d", maxChannels))}
	}
	return nil
}

// Info tells what the file holds.
func (r *Reader) Info() Info { return r.info }

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// Read returns frames from … from+n-1, interleaved.
func (r *Reader) Read(from, n int64) ([]float32, error) {
	if err := r.checkWindow(n, r.info.Channels); err != nil {
		return nil, err
	}
	// A lying header must not cost memory: beyond a few seconds the slice grows with what is really there.
	samples := make([]float32, 0, min(max(n, 0)*int64(r.info.Channels), 1<<21))
	err := r.Blocks(from, n, func(block []float32) error {
		samples = append(samples, block...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return samples, nil
}

// ReadMixed returns the same window planar, in so many channels: what Mix makes of it. Only these are held, so a window of
// many channels costs no more than they do.
func (r *Reader) ReadMixed(from, n int64, channels int) ([][]float32, error) {
	if err := r.checkWindow(n, channels); err != nil {
		return nil, err
	}
	planar := make([][]float32, channels)
	err := r.Blocks(from, n, func(block []float32) error {
		for c, samples := range Mix(Deinterleave(block, r.info.Channels), channels) {
			planar[c] = append(planar[c], samples...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return planar, nil
}

// checkWindow refuses what would take more memory than there may be.
func (r *Reader) checkWindow(n int64, channels int) error {
	most := maxWindow / int64(channels)
	if n <= most {
		return nil
	}
	seconds := func(frames int64) float64 { return float64(frames) / float64(r.info.Rate) }
	return &UnsupportedError{Path: r.path,
		What: fmt.Sprintf("a window of %.1f s in %d channels at %d Hz", seconds(n), channels, r.info.Rate),
		Cure: fmt.Sprintf("read at most %.1f s at once", seconds(most))}
}

// Blocks hands the same window to fn in bounded interleaved blocks of whole frames; a block is valid during the call.
func (r *Reader) Blocks(from, n int64, fn func([]float32) error) error {
	if from < 0 || n < 0 || from > r.info.Frames-n {
		return &FormatError{Path: r.path, What: fmt.Sprintf("window of %d frames from frame %d", n, from),
			Want: fmt.Sprintf("within the %d frames of the file", r.info.Frames)}
	}
	done := int64(0)
	err := r.source.blocks(from, n, func(block []float32) error {
		if i := firstNonFinite(block); i >= 0 {
			frame := from + done + int64(i/r.info.Channels)
			return &FormatError{What: fmt.Sprintf("frame %d", frame),
				Got: strconv.FormatFloat(float64(block[i]), 'g', -1, 32), Want: "finite samples"}
		}
		done += int64(len(block) / r.info.Channels)
		return fn(block)
	})
	return withPath(r.path, err)
}

// firstNonFinite returns the index of the first NaN or infinity, -1 if there is none.
func firstNonFinite(x []float32) int {
	const exponent = 0x7f800000
	for i, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return i
		}
	}
	return -1
}

// Finite says that no sample of any channel is NaN or infinite.
func Finite(planar [][]float32) bool {
	return !slices.ContainsFunc(planar, func(x []float32) bool { return firstNonFinite(x) >= 0 })
}
