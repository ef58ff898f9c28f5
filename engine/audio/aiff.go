package audio

// The head of an AIFF or AIFF-C: big-endian chunks, COMM (what) and SSND (where) in any order. The samples are pcm,
// big-endian except for the "sowt" kind. Padding and lying sizes as in WAV.

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// aiffKinds are the AIFF-C compression types that are plain samples; QuickTime brought in24, in32 and both cases of fl.
// Where a kind fixes the size, COMM's is ignored: QuickTime writes 16 there.
var aiffKinds = map[string]struct {
	bits          int // 0: COMM says
	float, little bool
}{
	"NONE": {}, "twos": {}, "sowt": {little: true},
	"in24": {bits: 24}, "in32": {bits: 32},
	"fl32": {bits: 32, float: true}, "FL32": {bits: 32, float: true},
	"fl64": {bits: 64, float: true}, "FL64": {bits: 64, float: true},
}

// aiffCommon is the COMM chunk.
type aiffCommon struct {
	channels int
	frames   int64
	bits     int
	rate     int
	kind     string
}

func openAIFF(file io.ReaderAt, size int64) (Info, source, error) {
	var common *aiffCommon
	var sound *chunk
	err := walkChunks(file, size, binary.BigEndian, func(c chunk) (bool, error) {
		switch c.id {
		case "COMM":
			body, err := readBody(file, c, 18, 22)
			if err != nil {
				return false, err
			}
			common = parseAIFFCommon(body)
		case "SSND":
			sound = &c
		}
		return common != nil && sound != nil, nil
	})
	switch {
	case err != nil:
		return Info{}, nil, err
	case common == nil:
		return Info{}, nil, &FormatError{What: "AIFF without a COMM chunk"}
	case sound == nil:
		return Info{}, nil, &FormatError{What: "AIFF without an SSND chunk"}
	}
	return aiffSource(file, size, *common, *sound)
}

// parseAIFFCommon reads channels[2] frames[4] bits[2] rate[10], and in AIFF-C kind[4].
func parseAIFFCommon(b []byte) *aiffCommon {
	be := binary.BigEndian
	c := &aiffCommon{
		channels: int(be.Uint16(b)),
		frames:   int64(be.Uint32(b[2:])),
		bits:     int(be.Uint16(b[6:])),
		rate:     extendedRate(be.Uint16(b[8:]), be.Uint64(b[10:])),
		kind:     "NONE",
	}
	if len(b) >= 22 {
		c.kind = string(b[18:22])
	}
	return c
}

// extendedRate reads an 80-bit float: sign and exponent (biased 16383), then a mantissa of 64 bits with its one written out.
func extendedRate(exponent uint16, mantissa uint64) int {
	rate := math.Ldexp(float64(mantissa), int(exponent)-16383-63) // a sign bit makes it huge, hence refused
	if rate > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(math.Round(rate))
}

// aiffSource joins what COMM says with where SSND is.
func aiffSource(file io.ReaderAt, size int64, common aiffCommon, sound chunk) (Info, source, error) {
	kind, known := aiffKinds[common.kind]
	if !known {
		return Info{}, nil, notPlain(fmt.Sprintf("an AIFF-C of kind %q", common.kind))
	}
	if kind.bits > 0 {
		common.bits = kind.bits
	}
	width := (common.bits + 7) / 8
	if common.channels < 1 || width < 1 {
		return Info{}, nil, &FormatError{What: "AIFF COMM chunk",
			Got: fmt.Sprintf("%d channels of %d bits", common.channels, common.bits)}
	}
	if !validWidth(width, kind.float) {
		return Info{}, nil, notPlain(fmt.Sprintf("an AIFF of %d-bit samples", common.bits))
	}
	// A program that streams or crashed leaves a size of nothing (SSND's head has 8 bytes) or all ones before its sound; so may
	// an empty file, but with another chunk or nothing behind.
	end := sound.body + sound.size
	if (sound.size <= 8 || sound.size == 0xffffffff) && size-end >= 8 && !plausible(file, end, size, binary.BigEndian) {
		sound.size = size - sound.body
	}
	// SSND begins with an offset to the first frame and a block size of no use.
	head, err := readBody(file, sound, 8, 8)
	if err != nil {
		return Info{}, nil, err
	}
	start := sound.body + 8 + int64(binary.BigEndian.Uint32(head))
	src := &pcm{file: file, offset: start, channels: common.channels, width: width, float: kind.float,
		bigEndian: !kind.little, signed8: true}
	info := Info{Rate: common.rate, Channels: common.channels}
	info.Encoding, info.Bits = describe(common.bits, kind.float)
	info.Frames = max(0, min(size, sound.body+sound.size)-start) / src.stride()
	switch declared := common.frames; {
	case declared == 0 || declared == 0xffffffff:
		info.Warnings = append(info.Warnings, "no length in the header (streamed): read to the end of the sound")
	case declared > info.Frames:
		info.Warnings = append(info.Warnings, fmt.Sprintf("truncated: %d of %d frames are there", info.Frames, declared))
	default:
		info.Frames = declared
	}
	return info, src, nil
}
