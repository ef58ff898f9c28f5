package audio

// Walks the chunks of RIFF (little-endian) and IFF (big-endian) files: id[4] size[4] body, padded to even length.
// Sizes are only ever compared with the file's, never allocated.

import (
	"encoding/binary"
	"fmt"
	"io"
)

// maxChunks bounds the walk over a file made of nothing but tiny chunks.
const maxChunks = 10000

type chunk struct {
	id   string
	body int64 // offset of the body
	size int64 // as declared
}

func readChunk(file io.ReaderAt, pos int64, order binary.ByteOrder) (chunk, error) {
	var head [8]byte
	if _, err := file.ReadAt(head[:], pos); err != nil {
		return chunk{}, fmt.Errorf("audio: chunk header at byte %d: %w", pos, err)
	}
	return chunk{id: string(head[:4]), body: pos + 8, size: int64(order.Uint32(head[4:]))}, nil
}

// walkChunks calls fn for each chunk that starts in the file, until fn says done.
func walkChunks(file io.ReaderAt, size int64, order binary.ByteOrder, fn func(chunk) (done bool, err error)) error {
	pos := int64(12) // after the form header
	for range maxChunks {
		if pos+8 > size {
			return nil
		}
		c, err := readChunk(file, pos, order)
		if err != nil {
			return err
		}
		if done, err := fn(c); done || err != nil {
			return err
		}
		pos = c.body + c.size + c.size&1
	}
	return &FormatError{What: "chunks", Got: fmt.Sprintf("over %d", maxChunks), Want: "fewer"}
}

// readBody reads a chunk's first bytes, at most limit and at least need.
func readBody(file io.ReaderAt, c chunk, need, limit int64) ([]byte, error) {
	body := make([]byte, min(c.size, limit))
	n, err := file.ReadAt(body, c.body)
	if int64(n) < need {
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("audio: %w", err)
		}
		return nil, &FormatError{What: fmt.Sprintf("%q chunk", c.id), Got: fmt.Sprintf("%d bytes", n),
			Want: fmt.Sprintf("at least %d", need)}
	}
	return body[:n], nil
}

// plausible tells whether a chunk that fits the file starts at pos: how an empty body is told from one of unknown length.
func plausible(file io.ReaderAt, pos, size int64, order binary.ByteOrder) bool {
	c, err := readChunk(file, pos, order)
	if err != nil || c.body+c.size > size {
		return false
	}
	for _, b := range []byte(c.id) {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}
