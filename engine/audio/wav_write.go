package audio

// WAV through go-audio/wav's encoder, with what it leaves out: the pad byte after an odd number of bytes.

import (
	"io"

	goaudio "github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

type wavEncoder struct {
	encoder *wav.Encoder
	format  goaudio.Format // must equal the encoder's, or the file is silently corrupt
	width   int            // bytes per sample
	samples int
}

func newWAVEncoder(out io.WriteSeeker, f Format) *wavEncoder {
	bits, tag := f.bits(), tagPCM
	if bits == 0 {
		bits, tag = 32, tagFloat
	}
	// The library sets aside a minute of audio at the rate it is given, gigabytes for many channels: begin with 1 Hz.
	encoder := wav.NewEncoder(out, 1, bits, f.Channels, tag)
	encoder.SampleRate = f.Rate
	return &wavEncoder{encoder: encoder, width: bits / 8,
		format: goaudio.Format{NumChannels: f.Channels, SampleRate: f.Rate}}
}

func (e *wavEncoder) encode(interleaved []int) error {
	e.samples += len(interleaved)
	return e.encoder.Write(&goaudio.IntBuffer{Format: &e.format, Data: interleaved, SourceBitDepth: 8 * e.width})
}

// close pads odd data (AddLE counts the byte into the RIFF size, not into the data) and completes both sizes.
func (e *wavEncoder) close() error {
	if e.samples*e.width%2 == 1 {
		if err := e.encoder.AddLE(byte(0)); err != nil {
			return err
		}
	}
	return e.encoder.Close()
}
