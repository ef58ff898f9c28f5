package rpc

// Bytes in, frames out. Two framings: one JSON message per line, or Content-Length headers as editors send them; the
// first byte tells which. A frame over the limit is skipped, never held. A bad header block is answered once, and
// reading goes on at the next Content-Length, be it glued to the end of a body that was longer than announced: a host's
// slip must not end the worker.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Framing says where one message ends and the next begins.
type Framing int

const (
	FramingAuto   Framing = iota // by the first byte
	FramingLine                  // one message per line
	FramingHeader                // Content-Length: N, blank line, N bytes
)

// ParseFraming reads the names of the command line: auto, line and header.
func ParseFraming(name string) (Framing, error) {
	for framing, known := range []string{"auto", "line", "header"} {
		if name == known {
			return Framing(framing), nil
		}
	}
	return FramingAuto, fmt.Errorf("framing: got %q, want auto, line or header", name)
}

const (
	maxMessage    = 1 << 20 // bytes of one message
	maxHeaderLine = 8 << 10
)

// errTooLarge and badFrame are answered and survived; every other error of frames.next ends the input.
var errTooLarge = errors.New("message too large")

type badFrame string

func (e badFrame) Error() string { return string(e) }

type frames struct {
	r       *bufio.Reader
	framing Framing
	lost    bool   // in a bad header block: skip to the next Content-Length
	glued   string // a Content-Length that was found behind something else, to be read next
}

func newFrames(r io.Reader, framing Framing) *frames {
	return &frames{r: bufio.NewReaderSize(r, 64<<10), framing: framing}
}

// detect looks at the first byte that is not blank; 'C' begins a header, no JSON message does.
func (f *frames) detect() error {
	if mark, _ := f.r.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) { // byte order mark
		f.r.Discard(3)
	}
	for f.framing == FramingAuto {
		b, err := f.r.ReadByte()
		if err != nil {
			return err
		}
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		case 'C', 'c':
			f.framing = FramingHeader
		default:
			f.framing = FramingLine
		}
		f.r.UnreadByte()
	}
	return nil
}

// next returns one message, without blanks around it.
func (f *frames) next() ([]byte, error) {
	if f.framing == FramingHeader {
		return f.nextHeader()
	}
	return f.nextLine()
}

func (f *frames) nextLine() ([]byte, error) {
	for {
		line, err := f.line(maxMessage)
		line = bytes.TrimSpace(line)
		if len(line) > 0 && (err == nil || err == io.EOF) {
			return line, nil // a last line needs no newline
		}
		if err != nil {
			return nil, err
		}
	}
}

func (f *frames) nextHeader() ([]byte, error) {
	length, err := f.header()
	if err != nil {
		return nil, err
	}
	if length > maxMessage {
		if _, err := io.CopyN(io.Discard, f.r, length); err != nil {
			return nil, err
		}
		return nil, errTooLarge
	}
	body := make([]byte, length)
	if n, err := io.ReadFull(f.r, body); err != nil {
		return nil, badFrame(fmt.Sprintf("the input ended after %d of the %d bytes that Content-Length announced", n, length))
	}
	return bytes.TrimSpace(body), nil
}

// header reads a header block up to its blank line and returns its Content-Length.
func (f *frames) header() (int64, error) {
	length := int64(-1)
	for {
		line, err := f.headerLine()
		if err != nil {
			return 0, err
		}
		if line == "" {
			if length >= 0 {
				return length, nil
			}
			continue // blank lines between messages
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if f.lost || !headerName(name) {
			line, f.glued = unglue(line)
		}
		switch {
		case strings.EqualFold(name, "Content-Length"):
			// 31 bits: more is a slip, and skipping that much would look like a worker that hangs.
			n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 31)
			if err == nil {
				length, f.lost = int64(n), false
				continue
			}
		case ok && !f.lost && headerName(name):
			continue // Content-Type and the like
		}
		if f.lost {
			continue
		}
		f.lost = true
		return 0, badFrame(fmt.Sprintf("header: got %.60q, want Content-Length: and the number of bytes", line))
	}
}

// headerLine is the next line without blanks around it; of one that is far too long, its end.
func (f *frames) headerLine() (string, error) {
	if line := f.glued; line != "" {
		f.glued = ""
		return line, nil
	}
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		line = append(line, part...)
		line = append(line[:0], line[max(0, len(line)-maxHeaderLine):]...)
		if err != bufio.ErrBufferFull {
			return strings.TrimSpace(string(line)), err
		}
	}
}

// unglue cuts a line before the last Content-Length in it that does not stand at its beginning.
func unglue(line string) (before, glued string) {
	const header = "Content-Length:"
	for at := len(line) - len(header); at > 0; at-- {
		if strings.EqualFold(line[at:at+len(header)], header) {
			return line[:at], line[at:]
		}
	}
	return line, ""
}

func headerName(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// line reads up to and including a newline; a line longer than limit is read to its end and dropped.
func (f *frames) line(limit int) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := f.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > limit; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case long && (err == nil || err == io.EOF):
			return nil, errTooLarge
		default:
			return line, err
		}
	}
}
