package audio

// Recognises a file by its first bytes. What segue cannot read is still named, since "convert your m4a" helps a
// musician and "bad magic" does not.

import (
	"bytes"
	"fmt"
	"io"
)

// strangers are formats that people mistake for readable audio: bytes at an offset, and the name to say.
var strangers = []struct {
	offset int
	magic  string
	name   string
}{
	{0, "OggS", "an Ogg file (Vorbis, Opus or Ogg FLAC)"},
	{4, "ftypM4A", "an m4a file (AAC or Apple Lossless)"},
	{4, "ftyp", "an MP4 file"},
	{0, "caff", "a Core Audio (caf) file"},
	{0, "riff\x2e\x91\xcf\x11", "a Wave64 (w64) file"},
	{0, "RIFX", "big-endian WAV (RIFX)"},
	{0, "\x30\x26\xb2\x75", "a Windows Media (wma) file"},
	{0, ".snd", "an AU file"},
	{0, "MThd", "a MIDI file (notes, not sound)"},
	{0, "wvpk", "a WavPack file"},
	{0, "MAC ", "a Monkey's Audio (ape) file"},
	{0, "\x1a\x45\xdf\xa3", "a Matroska or WebM file"},
	{8, "AVI ", "an AVI video"},
	{0, "PK\x03\x04", "a zip archive"},
	{0, "\x1f\x8b", "a gzip archive"},
}

// detect returns wav, aiff or flac, or an error that names what the file is instead.
func detect(file io.ReaderAt, size int64) (string, error) {
	if size == 0 {
		return "", &FormatError{What: "empty file", Want: "audio"}
	}
	head := make([]byte, min(size, 16))
	if _, err := file.ReadAt(head, 0); err != nil && err != io.EOF {
		return "", fmt.Errorf("audio: %w", err)
	}
	form, kind := string(slot(head, 0)), string(slot(head, 8))
	switch {
	case (form == "RIFF" || form == "RF64" || form == "BW64") && kind == "WAVE":
		return "wav", nil
	case form == "FORM" && (kind == "AIFF" || kind == "AIFC"):
		return "aiff", nil
	case form == "fLaC":
		return "flac", nil
	case bytes.HasPrefix(head, []byte("ID3")):
		return detectBehindID3(file, head)
	}
	return "", foreign(head)
}

// slot is the four bytes at offset, or as many as there are.
func slot(head []byte, offset int) []byte {
	return head[min(offset, len(head)):min(offset+4, len(head))]
}

// detectBehindID3 looks past an ID3v2 tag, which taggers put before FLAC as well as MP3.
func detectBehindID3(file io.ReaderAt, head []byte) (string, error) {
	var magic [4]byte
	if offset, ok := id3Size(head); ok {
		file.ReadAt(magic[:], offset) // a short read leaves zeros, which match nothing
	}
	if string(magic[:]) == "fLaC" {
		return "flac", nil
	}
	return "", notCovered("an MP3 file")
}

// id3Size is the length of the ID3v2 tag at the start of head: ten bytes and a size of four times seven bits.
func id3Size(head []byte) (int64, bool) {
	if len(head) < 10 || string(head[:3]) != "ID3" {
		return 0, false
	}
	size := int64(0)
	for _, b := range head[6:10] {
		size = size<<7 | int64(b&0x7f)
	}
	return 10 + size, true
}

func foreign(head []byte) error {
	for _, s := range strangers {
		if s.offset <= len(head) && bytes.HasPrefix(head[s.offset:], []byte(s.magic)) {
			return notCovered(s.name)
		}
	}
	// MPEG audio has no magic but a run of set bits. Layer 0 is ADTS AAC; layer I looks like a UTF-16 mark and is extinct.
	if len(head) >= 2 && head[0] == 0xff && head[1]&0xe0 == 0xe0 {
		switch head[1] >> 1 & 3 {
		case 0:
			return notCovered("an AAC file")
		case 1, 2:
			return notCovered("an MP3 file")
		}
	}
	return &FormatError{What: "not an audio file that segue knows", Got: fmt.Sprintf("one that starts %q", head),
		Want: "WAV, FLAC or AIFF"}
}

func notCovered(name string) error {
	return &UnsupportedError{What: name, Cure: "convert it to WAV, FLAC or AIFF"}
}
