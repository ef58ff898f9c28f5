package audio

// Fixed-size samples in a file, as WAV and AIFF hold them: which bytes they are, and their decoding.
// go-audio/wav decodes; it gets a header of our own making before each bounded block, because on real files it
// trusts declared sizes (one lying chunk costs 8 GB) and misreads float, odd-length and streamed data.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	goaudio "github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

// wavHeaderSize is a RIFF header, a 16-byte fmt chunk and a data chunk's head.
const wavHeaderSize = 44

// pcm is a source of samples of equal size.
type pcm struct {
	file      io.ReaderAt
	offset    int64 // of the first frame
	channels  int
	width     int  // bytes per sample: 1, 2, 3, 4 or 8
	float     bool // IEEE 754, width 4 or 8
	bigEndian bool
	signed8   bool // AIFF counts 8-bit samples from -128, WAV from 0
}

func (p *pcm) stride() int64 { return int64(p.channels * p.width) }

// blocks reads, decodes and hands on at most blockSamples at a time.
func (p *pcm) blocks(from, n int64, fn func([]float32) error) error {
	stride := p.stride()
	frames := min(n, int64(max(1, blockSamples/p.channels)))
	raw := make([]byte, wavHeaderSize+frames*stride)
	samples := make([]float32, frames*int64(p.channels))
	for ; n > 0; n -= frames {
		frames = min(frames, n)
		data := raw[wavHeaderSize : wavHeaderSize+frames*stride]
		if _, err := p.file.ReadAt(data, p.offset+from*stride); err != nil {
			if err == io.EOF {
				return &FormatError{What: fmt.Sprintf("frame %d", from), Got: "the end of the file"}
			}
			return fmt.Errorf("audio: %w", err)
		}
		block := samples[:frames*int64(p.channels)]
		if err := p.decode(block, raw[:wavHeaderSize+len(data)]); err != nil {
			return err
		}
		if err := fn(block); err != nil {
			return err
		}
		from += frames
	}
	return nil
}

// decode turns raw, room for a header and then samples, into floats.
func (p *pcm) decode(out []float32, raw []byte) error {
	data := raw[wavHeaderSize:]
	if p.bigEndian {
		reverseEach(data, p.width)
	}
	if p.signed8 && p.width == 1 {
		for i := range data {
			data[i] ^= 0x80
		}
	}
	if p.width == 8 { // go-audio/wav has no 64-bit samples
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		}
		return nil
	}
	p.putHeader(raw[:wavHeaderSize], len(data))
	ints, err := decodeWAV(raw, len(out))
	if err != nil {
		return err
	}
	p.toFloat(out, ints)
	return nil
}

// reverseEach turns the bytes of each sample around.
func reverseEach(data []byte, width int) {
	for i := 0; i+width <= len(data); i += width {
		for a, b := i, i+width-1; a < b; a, b = a+1, b-1 {
			data[a], data[b] = data[b], data[a]
		}
	}
}

// putHeader writes a plain PCM header. It is one channel at an arbitrary rate: samples come out interleaved anyhow.
func (p *pcm) putHeader(h []byte, dataSize int) {
	le := binary.LittleEndian
	copy(h, "RIFF....WAVEfmt ")
	le.PutUint32(h[4:], uint32(wavHeaderSize-8+dataSize))
	le.PutUint32(h[16:], 16) // size of fmt
	le.PutUint16(h[20:], 1)  // PCM; float bits travel as integers
	le.PutUint16(h[22:], 1)  // channels
	le.PutUint32(h[24:], minRate)
	le.PutUint32(h[28:], uint32(minRate*p.width))
	le.PutUint16(h[32:], uint16(p.width))
	le.PutUint16(h[34:], uint16(8*p.width))
	copy(h[36:], "data")
	le.PutUint32(h[40:], uint32(dataSize))
}

// decodeWAV decodes a whole WAV in memory of n samples.
func decodeWAV(file []byte, n int) ([]int, error) {
	buffer := goaudio.IntBuffer{Data: make([]int, n)}
	got := 0
	err := guarded("WAV samples", func() (err error) {
		got, err = wav.NewDecoder(bytes.NewReader(file)).PCMBuffer(&buffer)
		return err
	})
	if err != nil {
		return nil, err
	}
	if got != n {
		return nil, &FormatError{What: "WAV samples", Got: fmt.Sprint(got), Want: fmt.Sprint(n)}
	}
	return buffer.Data, nil
}

// toFloat scales to ±1: unsigned bytes about 128, two's complement by its full scale, float bits as they are.
func (p *pcm) toFloat(out []float32, ints []int) {
	switch {
	case p.float:
		for i, v := range ints {
			out[i] = math.Float32frombits(uint32(int32(v)))
		}
	case p.width == 1:
		for i, v := range ints {
			out[i] = float32(v-128) / 128
		}
	default:
		// A power of two: exact up to 24 bits, one rounding at 32.
		scale := 1 / float64(int64(1)<<(8*p.width-1))
		for i, v := range ints {
			out[i] = float32(float64(v) * scale)
		}
	}
}

// describe names an encoding for people, and the output format that holds its samples as they are read, if any.
func describe(bits int, float bool) (encoding, exact string) {
	switch {
	case float:
		return fmt.Sprintf("%d-bit float", bits), "32f"
	case bits <= 16:
		exact = "16"
	case bits <= 24:
		exact = "24"
	}
	return fmt.Sprintf("%d-bit integer", bits), exact
}
