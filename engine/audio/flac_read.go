package audio

// FLAC through mewkiz/flac, one frame at a time. The library decodes frames; finding them is ours: it would seek by
// decoding the whole file, and it takes positions and lengths from headers that streaming and cutting make wrong.
//
// A frame begins with a sync code, says its position, and carries a CRC-8 over its header and a CRC-16 over all of it.
// So any byte offset leads to a proven frame, and a window is found by bisection without a seek table.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mewkiz/flac/frame"
	"github.com/mewkiz/flac/meta"
)

const (
	maxFrameBytes = 4 << 20  // above 65535 frames × 8 channels × 32 bits with headers
	scanBytes     = 64 << 10 // read at once while looking for a sync code
	maxCandidates = 64       // sync codes tried in one search: noise has about one per 32 KiB
)

// flacSource is a source. Positions are in frames from the file's start.
type flacSource struct {
	file  io.ReaderAt
	size  int64
	info  *meta.StreamInfo
	start int64 // offset of the first FLAC frame
	first int64 // its position as written: not 0 in a piece cut from a stream
	block int64 // frames per FLAC frame, where that is fixed
}

// flacFrame is one decoded FLAC frame.
type flacFrame struct {
	*frame.Frame
	offset, next int64 // bytes: where it begins, where it ends
	position     int64
}

func (f flacFrame) end() int64 { return f.position + int64(f.BlockSize) }

func openFLAC(file io.ReaderAt, size int64) (Info, source, error) {
	info, start, err := flacHeader(file, size)
	if err != nil {
		return Info{}, nil, err
	}
	if info.BitsPerSample > 24 {
		return Info{}, nil, notPlain(fmt.Sprintf("a FLAC of %d-bit samples", info.BitsPerSample))
	}
	s := &flacSource{file: file, size: size, info: info, start: start}
	// The file must begin with a whole frame; all later searches can fall back on it.
	head, err := s.frameAt(start)
	if err != nil {
		return Info{}, nil, &FormatError{What: "FLAC: first frame: damaged (" + err.Error() + ")"}
	}
	// The first frame has a fixed stream's block size, whatever the header says; only the last may be shorter.
	s.block = int64(head.BlockSize)
	s.first = s.written(head.Frame)
	out := Info{Rate: int(info.SampleRate), Channels: int(info.NChannels), Frames: s.last().end()}
	out.Encoding, out.Bits = describe(int(info.BitsPerSample), false)
	if declared := int64(info.NSamples); declared > out.Frames {
		out.Warnings = append(out.Warnings, fmt.Sprintf("truncated: %d of %d frames are there", out.Frames, declared))
	}
	return out, s, nil
}

// flacHeader reads STREAMINFO and skips the other metadata, pictures included, unread.
func flacHeader(file io.ReaderAt, size int64) (info *meta.StreamInfo, start int64, err error) {
	var head [10]byte
	file.ReadAt(head[:], 0) // a short file leaves zeros
	pos, _ := id3Size(head[:])
	pos += int64(len("fLaC"))
	for range maxChunks {
		section := io.NewSectionReader(file, pos, size-pos)
		block, err := meta.New(section)
		if err != nil {
			return nil, 0, &FormatError{What: "FLAC: metadata cut short"}
		}
		if info == nil {
			err := guarded("FLAC STREAMINFO", block.Parse)
			body, ok := block.Body.(*meta.StreamInfo)
			if err != nil || !ok {
				return nil, 0, &FormatError{What: "FLAC: damaged STREAMINFO"}
			}
			info = body
		}
		pos += 4 + block.Length
		if block.IsLast {
			return info, pos, nil
		}
	}
	return nil, 0, &FormatError{What: "FLAC metadata blocks", Got: fmt.Sprintf("over %d", maxChunks), Want: "fewer"}
}

// blocks finds the first frame and decodes on from there; what it does not need is never read.
func (s *flacSource) blocks(from, n int64, fn func([]float32) error) error {
	if n == 0 {
		return nil
	}
	f, err := s.find(from)
	if err != nil {
		return err
	}
	// From here frames must follow one another; the reader's buffer may hold the next one's beginning.
	in := newMeter(s.file, f.next, s.size)
	samples := make([]float32, 0, int(f.BlockSize)*int(s.info.NChannels))
	for {
		a, b := max(from, f.position)-f.position, min(from+n, f.end())-f.position
		samples = s.interleave(samples[:0], f.Frame, a, b)
		if err := fn(samples); err != nil {
			return err
		}
		if f.end() >= from+n {
			return nil
		}
		want := f.end()
		if f, err = s.decode(in); err != nil {
			return damaged(want, err)
		}
		if f.position != want {
			return &FormatError{What: "FLAC: position of the next frame", Got: fmt.Sprint(f.position), Want: fmt.Sprint(want)}
		}
	}
}

func damaged(position int64, err error) error {
	if format := (*FormatError)(nil); errors.As(err, &format) {
		return err
	}
	return &FormatError{What: fmt.Sprintf("FLAC: frame %d: damaged (%v)", position, err)}
}

// interleave appends samples a..b-1 of each channel to out. Up to 24 bits they are exact in a float32.
func (s *flacSource) interleave(out []float32, f *frame.Frame, a, b int64) []float32 {
	scale := 1 / float32(int64(1)<<(s.info.BitsPerSample-1))
	for i := a; i < b; i++ {
		for _, channel := range f.Subframes {
			out = append(out, float32(channel.Samples[i])*scale)
		}
	}
	return out
}

// find decodes the FLAC frame that holds a position. lo is always the offset of a frame at or before it.
func (s *flacSource) find(position int64) (flacFrame, error) {
	lo, hi := s.start, s.size
	for hi-lo > scanBytes {
		mid := lo + (hi-lo)/2
		f, ok := s.search(mid, hi)
		switch {
		case !ok || f.position > position:
			hi = mid
		case f.end() > position:
			return f, nil
		default:
			lo = f.offset
		}
	}
	in := newMeter(s.file, lo, s.size)
	for {
		f, err := s.decode(in)
		if err != nil {
			return f, damaged(position, err)
		}
		if f.position > position {
			return f, &FormatError{What: fmt.Sprintf("FLAC: frame %d is missing", position)}
		}
		if f.end() > position {
			return f, nil
		}
	}
}

// last decodes the last whole FLAC frame of the file, looking back from its end. The first frame is known to be whole.
func (s *flacSource) last() flacFrame {
	back := int64(scanBytes)
	for {
		from := max(s.start, s.size-back)
		if f, ok := s.search(from, s.size); ok {
			return s.follow(f)
		}
		if from == s.start || back > maxFrameBytes {
			f, _ := s.frameAt(s.start)
			return s.follow(f)
		}
		back *= 4
	}
}

// follow returns the last of the frames that follow f without a gap.
func (s *flacSource) follow(f flacFrame) flacFrame {
	in := newMeter(s.file, f.next, s.size)
	for {
		next, err := s.decode(in)
		if err != nil || next.position != f.end() {
			return f
		}
		f = next
	}
}

// search decodes the first FLAC frame that begins at from or later, before to, and within a frame's greatest size.
func (s *flacSource) search(from, to int64) (flacFrame, bool) {
	buf := make([]byte, scanBytes+1)
	to = min(to, from+maxFrameBytes)
	tried := 0
	for ; from < to; from += scanBytes {
		n, _ := s.file.ReadAt(buf[:min(scanBytes+1, s.size-from)], from)
		for i := 0; i+1 < n && from+int64(i) < to; i++ {
			if buf[i] != 0xff || buf[i+1]&0xfe != 0xf8 {
				continue
			}
			if f, err := s.frameAt(from + int64(i)); err == nil {
				return f, true
			}
			if tried++; tried == maxCandidates {
				return flacFrame{}, false
			}
		}
	}
	return flacFrame{}, false
}

// frameAt decodes the FLAC frame at a byte offset. Its header is tried alone first: that settles nearly every false sync code.
func (s *flacSource) frameAt(offset int64) (f flacFrame, err error) {
	var head [16]byte // the longest header, CRC-8 included
	n, _ := s.file.ReadAt(head[:], offset)
	err = guarded("FLAC frame", func() error {
		header, err := frame.New(bytes.NewReader(head[:n]))
		if err != nil {
			return err
		}
		return s.check(header)
	})
	if err != nil {
		return f, err
	}
	return s.decode(newMeter(s.file, offset, s.size))
}

// check refuses a frame that does not belong to this stream.
func (s *flacSource) check(f *frame.Frame) error {
	switch {
	case f.Channels.Count() != int(s.info.NChannels):
		return &FormatError{What: "FLAC frame: channels", Got: fmt.Sprint(f.Channels.Count()), Want: fmt.Sprint(s.info.NChannels)}
	case f.SampleRate != 0 && f.SampleRate != s.info.SampleRate:
		return &FormatError{What: "FLAC frame: rate", Got: fmt.Sprint(f.SampleRate), Want: fmt.Sprint(s.info.SampleRate)}
	case f.BitsPerSample != 0 && f.BitsPerSample != s.info.BitsPerSample:
		return &FormatError{What: "FLAC frame: bits", Got: fmt.Sprint(f.BitsPerSample), Want: fmt.Sprint(s.info.BitsPerSample)}
	case f.BlockSize == 0: // what the library makes of 65536
		return &FormatError{What: "FLAC frame: block size", Got: "65536", Want: "at most 65535"}
	}
	return nil
}

// decode decodes the FLAC frame that in stands at.
func (s *flacSource) decode(in *meter) (f flacFrame, err error) {
	f.offset = in.pos
	in.left = maxFrameBytes
	err = guarded("FLAC frame", func() error {
		if f.Frame, err = frame.New(in); err != nil {
			return err
		}
		if err := s.check(f.Frame); err != nil {
			return err
		}
		f.BitsPerSample = s.info.BitsPerSample // a frame may leave it to STREAMINFO; the library would take 0
		return f.Parse()
	})
	if err != nil {
		return f, err
	}
	for _, channel := range f.Subframes {
		if len(channel.Samples) != int(f.BlockSize) {
			return f, &FormatError{What: "FLAC frame: samples", Got: fmt.Sprint(len(channel.Samples)), Want: fmt.Sprint(f.BlockSize)}
		}
	}
	f.next = in.pos
	f.position = s.written(f.Frame) - s.first
	return f, nil
}

// written is a frame's position as its header has it: a frame number where the block size is fixed, else samples.
func (s *flacSource) written(f *frame.Frame) int64 {
	if f.HasFixedBlockSize {
		return int64(f.Num) * s.block
	}
	return int64(f.Num)
}

// meter is a buffered reader that knows its place in the file, and that ends where no FLAC frame can be longer: a run
// of zeros is a legal number to the library, of any length.
type meter struct {
	in   *bufio.Reader
	pos  int64
	left int
}

func newMeter(file io.ReaderAt, from, size int64) *meter {
	return &meter{in: bufio.NewReaderSize(io.NewSectionReader(file, from, size-from), 32<<10), pos: from}
}

func (m *meter) Read(p []byte) (int, error) {
	if len(p) > m.left {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := m.in.Read(p)
	m.pos += int64(n)
	m.left -= n
	return n, err
}
