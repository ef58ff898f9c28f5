package audio

// Makes new files. Samples go to a hidden file in the target's folder; Commit syncs it and gives it its name, so
// whoever sees the name sees a whole file, and Abort leaves nothing. Between two writers of one name exactly one wins.
// Files that belong together are committed together: see CommitAll.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Format is what to write.
type Format struct {
	Container string // wav or flac
	Bits      string // 16, 24 or 32f; flac has no 32f
	Rate      int
	Channels  int
}

// maxFLACChannels is what the format can say.
const maxFLACChannels = 8

// encoder writes samples: integers of the format's size, or the bits of floats. close completes the headers.
type encoder interface {
	encode(interleaved []int) error
	close() error
}

// Writer writes one file. It is not safe for concurrent use.
type Writer struct {
	path      string
	overwrite bool
	format    Format
	another   func() string // a name to take when path is taken; nil: that is an error
	temp      *os.File      // nil once committed or aborted
	replaced  string        // hidden name of what publish replaced, "" for nothing
	out       *fileBuffer
	encoder   encoder
	written   int64 // samples of all channels
	ints      []int // scratch
}

// Create begins the file at path, which must be resolved already.
func Create(path string, f Format, overwrite bool) (*Writer, error) {
	if err := f.check(path); err != nil {
		return nil, err
	}
	if err := checkTarget(path, overwrite); err != nil {
		return nil, err
	}
	temp, err := os.OpenFile(hiddenName(path, "part"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, unwritable(path, err)
	}
	w := &Writer{path: path, overwrite: overwrite, format: f, temp: temp, out: newFileBuffer(temp)}
	if f.Container == "flac" {
		w.encoder, err = newFLACEncoder(w.out, f)
	} else {
		w.encoder = newWAVEncoder(w.out, f)
	}
	if err != nil {
		w.Abort()
		return nil, unwritable(path, err)
	}
	return w, nil
}

func (f Format) check(path string) error {
	var what, cure string
	switch {
	case f.Container != "wav" && f.Container != "flac":
		what, cure = fmt.Sprintf("writing %q", f.Container), "write wav or flac"
	case f.Bits != "16" && f.Bits != "24" && f.Bits != "32f":
		what, cure = fmt.Sprintf("writing %q bits", f.Bits), "write 16, 24 or 32f"
	case f.Container == "flac" && f.Bits == "32f":
		what, cure = "float in FLAC", "write 24 bits, or wav"
	case f.Container == "flac" && f.Channels > maxFLACChannels:
		what, cure = fmt.Sprintf("FLAC of %d channels", f.Channels), fmt.Sprintf("write at most %d, or wav", maxFLACChannels)
	default:
		return withPath(path, checkShape(f.Rate, f.Channels))
	}
	return &UnsupportedError{Path: path, What: what, Cure: cure}
}

// bits is the size of an integer sample, 0 for floats.
func (f Format) bits() int {
	switch f.Bits {
	case "16":
		return 16
	case "24":
		return 24
	}
	return 0
}

// checkTarget fails early, before minutes of work; Commit decides again.
func checkTarget(path string, overwrite bool) error {
	stat, err := os.Stat(path)
	link, linkErr := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && linkErr == nil && link.Mode()&fs.ModeSymlink != 0 && !overwrite:
		return fmt.Errorf("audio: %s: %w, as a link to nothing", path, ErrExists)
	case errors.Is(err, fs.ErrNotExist):
		folder, err := os.Stat(filepath.Dir(path))
		if err == nil && !folder.IsDir() {
			err = fmt.Errorf("%s is not a folder", filepath.Dir(path))
		}
		return unwritable(path, err)
	case err != nil:
		return unwritable(path, err)
	case stat.IsDir():
		return unwritable(path, errors.New("it is a folder"))
	case !stat.Mode().IsRegular():
		return unwritable(path, errors.New("it is a device, pipe or socket"))
	case !overwrite:
		return fmt.Errorf("audio: %s: %w", path, ErrExists)
	}
	return nil
}

// unwritable keeps the cause; nil stays nil.
func unwritable(path string, cause error) error {
	if cause == nil {
		return nil
	}
	return fmt.Errorf("audio: %s: %w: %w", path, ErrUnwritable, cause)
}

// Write appends interleaved frames. Integers are rounded and clamped to full scale. dither is for new audio: at 16
// bits it adds triangular noise of ±1 step, the same for the same place in a file, and it clamps 32f too. Without it
// samples that came from integers of this size, and all floats, arrive exactly as they were.
func (w *Writer) Write(interleaved []float32, dither bool) error {
	if w.temp == nil {
		return fmt.Errorf("audio: %s: write after Commit or Abort", w.path)
	}
	if len(interleaved)%w.format.Channels != 0 {
		return fmt.Errorf("audio: %s: got %d samples, want whole frames of %d", w.path, len(interleaved), w.format.Channels)
	}
	if i := firstNonFinite(interleaved); i >= 0 {
		return &FormatError{Path: w.path, What: "new audio", Got: fmt.Sprint(interleaved[i]), Want: "finite samples"}
	}
	if err := w.checkSize(len(interleaved)); err != nil {
		return err
	}
	chunk := max(1, blockSamples/w.format.Channels) * w.format.Channels
	for len(interleaved) > 0 {
		n := min(chunk, len(interleaved))
		w.quantize(interleaved[:n], dither)
		if err := w.guarded(func() error { return w.encoder.encode(w.ints) }); err != nil {
			return unwritable(w.path, err)
		}
		w.written += int64(n)
		interleaved = interleaved[n:]
	}
	return nil
}

// guarded runs a call into the encoder. Where the disk refused, its own error counts, which the buffer keeps: the FLAC
// library hides it behind the place in its source, in colours.
func (w *Writer) guarded(call func() error) error {
	err := guarded(w.format.Container+" encoder", call)
	if err == nil {
		return nil
	}
	if refused := w.out.Flush(); refused != nil {
		return refused
	}
	return err
}

// checkSize keeps a WAV below the 4 GiB that its header can count.
func (w *Writer) checkSize(more int) error {
	return w.format.checkSamples(w.path, w.written+int64(more))
}

// CheckFrames says early whether a file of so many frames can be written.
func (f Format) CheckFrames(path string, frames int64) error {
	return f.checkSamples(path, frames*int64(f.Channels))
}

func (f Format) checkSamples(path string, samples int64) error {
	width := int64(4)
	if bits := f.bits(); bits > 0 {
		width = int64(bits / 8)
	}
	most := (math.MaxUint32 - wavHeaderSize) / width
	if f.Container != "wav" || samples < most {
		return nil
	}
	seconds := func(samples int64) float64 { return float64(samples) / float64(f.Channels) / float64(f.Rate) }
	cure := "write the continuation alone"
	if f.Channels <= maxFLACChannels {
		cure = "write flac, or the continuation alone"
	}
	return &UnsupportedError{Path: path, Cure: cure,
		What: fmt.Sprintf("a WAV over 4 GiB, here one of %.1f s where %.1f s fit at %d Hz, %d channels and %d bits,",
			seconds(samples), seconds(most), f.Rate, f.Channels, 8*width)}
}

// quantize fills w.ints.
func (w *Writer) quantize(x []float32, dither bool) {
	w.ints = w.ints[:0]
	bits := w.format.bits()
	if bits == 0 {
		for _, v := range x {
			if dither {
				v = min(max(v, -1), 1)
			}
			w.ints = append(w.ints, int(int32(math.Float32bits(v))))
		}
		return
	}
	full := float64(int(1) << (bits - 1))
	dither = dither && bits == 16
	for i, v := range x {
		s := float64(v) * full
		if dither {
			s += triangular(uint64(w.written) + uint64(i))
		}
		w.ints = append(w.ints, int(min(max(math.RoundToEven(s), -full), full-1)))
	}
}

// triangular is noise in (-1, 1) of triangular density, a pure function of n: the difference of the two halves of
// one SplitMix64 output.
func triangular(n uint64) float64 {
	z := (n + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return (float64(uint32(z)) - float64(z>>32)) / (1 << 32)
}

// OrElse has Commit take the name that another returns, and ask again, where the one of Create is taken by then.
func (w *Writer) OrElse(another func() string) { w.another = another }

// Path is the file's name: after Commit the one that it has got.
func (w *Writer) Path() string { return w.path }

// Commit completes the file and gives it its name. After an error nothing is left behind.
func (w *Writer) Commit() error {
	_, err := CommitAll([]*Writer{w})
	return err
}

// CommitAll completes files that belong together and gives them their names. After an error, which comes with the writer
// concerned, none of them is left behind, and what they replaced is back.
func CommitAll(writers []*Writer) (*Writer, error) {
	for _, w := range writers {
		defer w.Abort()
	}
	for _, w := range writers {
		if err := w.finish(); err != nil {
			return w, err
		}
	}
	for i, w := range writers {
		if err := w.publish(i+1 < len(writers)); err != nil {
			for _, earlier := range writers[:i] {
				earlier.withdraw()
			}
			return w, err
		}
	}
	for _, w := range writers {
		w.settle()
	}
	return nil, nil
}

// finish makes the temporary file whole, durable and closed: Windows renames and links closed files only.
func (w *Writer) finish() error {
	switch {
	case w.temp == nil:
		return fmt.Errorf("audio: %s: Commit after Commit or Abort", w.path)
	case w.written == 0:
		return fmt.Errorf("audio: %s: nothing was written", w.path)
	}
	if err := w.guarded(w.encoder.close); err != nil {
		return unwritable(w.path, err)
	}
	for _, step := range []func() error{w.out.Flush, w.temp.Sync, w.temp.Close} {
		if err := step(); err != nil {
			return unwritable(w.path, err)
		}
	}
	return nil
}

// publish gives the temporary file its name. With keep, what it replaces stays under a hidden name until settle or withdraw.
func (w *Writer) publish(keep bool) error {
	if w.overwrite {
		if keep {
			w.hide()
		}
		err := os.Rename(w.temp.Name(), w.path)
		if err != nil {
			w.putBack()
		}
		return unwritable(w.path, err)
	}
	for {
		err := linkNew(w.temp.Name(), w.path)
		switch {
		case !errors.Is(err, fs.ErrExist):
			return unwritable(w.path, err)
		case w.another == nil:
			return fmt.Errorf("audio: %s: %w", w.path, ErrExists)
		}
		w.path = w.another()
	}
}

// hide keeps what is there under a second name; where the file system has no links, under that name alone.
func (w *Writer) hide() {
	if there, err := os.Lstat(w.path); err != nil || there.IsDir() {
		return
	}
	hidden := hiddenName(w.path, "old")
	if os.Link(w.path, hidden) == nil || os.Rename(w.path, hidden) == nil {
		w.replaced = hidden
	}
}

// withdraw undoes publish.
func (w *Writer) withdraw() {
	if w.replaced == "" {
		os.Remove(w.path)
	}
	w.putBack()
}

// putBack undoes hide.
func (w *Writer) putBack() {
	if w.replaced != "" {
		os.Rename(w.replaced, w.path)
		os.Remove(w.replaced) // which is still there if both were names of one file
	}
}

// settle ends a publish that stays.
func (w *Writer) settle() {
	if w.replaced != "" {
		os.Remove(w.replaced)
	}
	if folder, err := os.Open(filepath.Dir(w.path)); err == nil {
		folder.Sync() // makes the name durable; some systems cannot, and the file is there all the same
		folder.Close()
	}
}

// linkNew gives a file a name that is free. A hard link never replaces, and Abort removes the other name; where the file
// system has none (FAT, network shares) an empty file reserves the name.
func linkNew(from, to string) error {
	err := os.Link(from, to)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = renameReserved(from, to)
	}
	return err
}

// hiddenName is a new one in path's folder.
func hiddenName(path, extension string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".segue-%016x.%s", rand.Uint64(), extension))
}

func renameReserved(from, to string) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	f.Close()
	if err = os.Rename(from, to); err != nil {
		os.Remove(to)
	}
	return err
}

// Abort removes what was written. After Commit it does nothing, so it can be deferred.
func (w *Writer) Abort() {
	if w.temp == nil {
		return
	}
	w.temp.Close()
	os.Remove(w.temp.Name())
	w.temp = nil
}

// fileBuffer buffers writes and can seek. It hides the file's Close and Sync from the codec libraries.
type fileBuffer struct {
	*bufio.Writer
	file *os.File
}

var _ io.WriteSeeker = (*fileBuffer)(nil)

func newFileBuffer(file *os.File) *fileBuffer {
	return &fileBuffer{bufio.NewWriterSize(file, 1<<18), file}
}

func (b *fileBuffer) Seek(offset int64, whence int) (int64, error) {
	if err := b.Flush(); err != nil {
		return 0, err
	}
	return b.file.Seek(offset, whence)
}
