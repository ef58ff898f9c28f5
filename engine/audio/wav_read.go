package audio

// The head of a WAV: RIFF, RF64 or BW64, chunks in any order, up to the place and length of the samples.
// Sizes lie in practice: 0 or 0xFFFFFFFF from programs that stream, too large in cut files. What the file really
// has decides; a difference that loses audio becomes a warning.

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	tagPCM        = 0x0001
	tagFloat      = 0x0003
	tagExtensible = 0xfffe
)

// wavTags names the encodings in a WAV that are not plain samples.
var wavTags = map[uint16]string{
	0x0002: "Microsoft ADPCM", 0x0006: "A-law", 0x0007: "µ-law", 0x0011: "IMA ADPCM", 0x0031: "GSM", 0x0055: "MP3",
	0x00ff: "AAC", 0x2000: "AC-3",
}

// extensibleTail ends every sub-format GUID of the WAVE_FORMAT_ family; its first two bytes are the format tag.
const extensibleTail = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

// wavFormat is what a fmt chunk says, EXTENSIBLE resolved.
type wavFormat struct {
	tag      uint16
	channels int
	rate     int
	width    int // bytes per sample, from the block alignment
	bits     int // that carry signal, at the top of the container
}

// openWAV reads no further than it must: the walk ends once both fmt and data are known.
func openWAV(file io.ReaderAt, size int64) (Info, source, error) {
	var format *wavFormat
	var data *chunk
	var dataSize64 int64 // of RF64 and BW64
	le := binary.LittleEndian
	err := walkChunks(file, size, le, func(c chunk) (bool, error) {
		switch c.id {
		case "ds64": // riff size, data size, frames: 8 bytes each
			body, err := readBody(file, c, 16, 16)
			if err != nil {
				return false, err
			}
			dataSize64 = int64(le.Uint64(body[8:]) & (1<<62 - 1))
		case "fmt ":
			body, err := readBody(file, c, 16, 40)
			if err != nil {
				return false, err
			}
			if format, err = parseWAVFormat(body); err != nil {
				return false, err
			}
		case "data":
			data = &c
		}
		return format != nil && data != nil, nil
	})
	switch {
	case err != nil:
		return Info{}, nil, err
	case format == nil:
		return Info{}, nil, &FormatError{What: "WAV without a fmt chunk"}
	case data == nil:
		return Info{}, nil, &FormatError{What: "WAV without a data chunk"}
	}
	length, warning := dataLength(file, size, *data, dataSize64)
	src := &pcm{file: file, offset: data.body, channels: format.channels, width: format.width, float: format.tag == tagFloat}
	info := Info{Rate: format.rate, Channels: format.channels, Frames: length / src.stride()}
	info.Encoding, info.Bits = describe(format.bits, src.float)
	if warning != "" {
		info.Warnings = append(info.Warnings, warning)
	}
	return info, src, nil
}

// dataLength tells how many bytes of samples there are, whatever the header says.
func dataLength(file io.ReaderAt, size int64, data chunk, dataSize64 int64) (length int64, warning string) {
	rest := size - data.body
	declared := data.size
	if declared == 0xffffffff && dataSize64 > 0 {
		declared = dataSize64
	}
	streamed := dataSize64 == 0 && (declared == 0xffffffff || declared >= 0x7ffff000 && declared > rest)
	// A recorder that crashed leaves 0 before its audio; an editor may write an empty chunk and metadata after it.
	empty := declared == 0 && (rest < 8 || plausible(file, data.body, size, binary.LittleEndian))
	switch {
	case empty:
		return 0, ""
	case streamed || declared == 0:
		return rest, "no length in the header (streamed): read to the end of the file"
	case declared <= rest:
		return declared, ""
	}
	return rest, fmt.Sprintf("truncated: %d of %d bytes of audio are there", rest, declared)
}

// parseWAVFormat reads tag[2] channels[2] rate[4] bytes/s[4] block[2] bits[2], and in EXTENSIBLE size[2] valid[2]
// mask[4] GUID[16]. The container comes from the block alignment: 20 bits are held in 3 bytes, 24 perhaps in 4, and
// fill them from the top, so the container's size is also the scale.
func parseWAVFormat(b []byte) (*wavFormat, error) {
	le := binary.LittleEndian
	f := &wavFormat{tag: le.Uint16(b), channels: int(le.Uint16(b[2:])), rate: int(le.Uint32(b[4:]))}
	block := int(le.Uint16(b[12:]))
	container := int(le.Uint16(b[14:]))
	f.bits = container
	if f.tag == tagExtensible {
		if len(b) < 40 {
			return nil, &FormatError{What: "WAV fmt chunk", Got: fmt.Sprintf("%d bytes", len(b)), Want: "40 (EXTENSIBLE)"}
		}
		if string(b[26:40]) != extensibleTail {
			return nil, notPlain("a WAV of unknown sub-format")
		}
		f.tag = le.Uint16(b[24:])
		if valid := int(le.Uint16(b[18:])); valid > 0 && valid < container {
			f.bits = valid
		}
	}
	if f.tag != tagPCM && f.tag != tagFloat {
		name, known := wavTags[f.tag]
		if !known {
			name = fmt.Sprintf("format %#04x", f.tag)
		}
		return nil, notPlain(name + " in WAV")
	}
	if f.channels < 1 || block%f.channels != 0 || container < 1 || container > 8*(block/f.channels) {
		return nil, &FormatError{What: "WAV fmt chunk",
			Got: fmt.Sprintf("%d channels of %d bits in frames of %d bytes", f.channels, container, block)}
	}
	f.width = block / f.channels
	if !validWidth(f.width, f.tag == tagFloat) {
		return nil, notPlain(fmt.Sprintf("a WAV of %d-bit samples (format tag %d)", 8*f.width, f.tag))
	}
	return f, nil
}

// validWidth: integers of 1 to 4 bytes, floats of 4 or 8.
func validWidth(width int, float bool) bool {
	if float {
		return width == 4 || width == 8
	}
	return width >= 1 && width <= 4
}

func notPlain(what string) error {
	return &UnsupportedError{What: what, Cure: "save it with plain 8- to 32-bit integer or 32- or 64-bit float samples"}
}
