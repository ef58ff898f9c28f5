package audio

// FLAC through mewkiz/flac's encoder: fixed blocks, independent channels, the predictor that its analysis finds.

import (
	"io"

	"github.com/mewkiz/flac"
	"github.com/mewkiz/flac/frame"
	"github.com/mewkiz/flac/meta"
)

// flacBlock is the number of frames in each block but the last.
const flacBlock = 4096

type flacEncoder struct {
	out     io.WriteSeeker
	encoder *flac.Encoder
	header  frame.Header
	pending [][]int32 // per channel, fewer than flacBlock between calls
}

func newFLACEncoder(out io.WriteSeeker, f Format) (*flacEncoder, error) {
	info := &meta.StreamInfo{BlockSizeMin: flacBlock, BlockSizeMax: flacBlock,
		SampleRate: uint32(f.Rate), NChannels: uint8(f.Channels), BitsPerSample: uint8(f.bits())}
	encoder, err := flac.NewEncoder(out, info)
	if err != nil {
		return nil, err
	}
	e := &flacEncoder{out: out, encoder: encoder, pending: make([][]int32, f.Channels)}
	e.header = frame.Header{HasFixedBlockSize: true, BitsPerSample: info.BitsPerSample,
		Channels: frame.Channels(f.Channels - 1)}
	if frameRate(f.Rate) {
		e.header.SampleRate = info.SampleRate
	}
	return e, nil
}

// frameRate tells whether a frame header can hold a rate: a common one, whole kHz to 255, Hz in 16 bits, or tens of Hz.
// Any other stays 0 there, which refers to STREAMINFO.
func frameRate(rate int) bool {
	return rate <= 0xffff || rate%10 == 0 || rate%1000 == 0 && rate <= 255000
}

// encode collects blocks; the library takes one channel at a time.
func (e *flacEncoder) encode(interleaved []int) error {
	channels := len(e.pending)
	for i := 0; i < len(interleaved); i += channels {
		for c := range e.pending {
			e.pending[c] = append(e.pending[c], int32(interleaved[i+c]))
		}
		if len(e.pending[0]) == flacBlock {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the pending frames as one FLAC frame.
func (e *flacEncoder) flush() error {
	n := len(e.pending[0])
	f := &frame.Frame{Header: e.header, Subframes: make([]*frame.Subframe, len(e.pending))}
	f.BlockSize = uint16(n)
	for c, samples := range e.pending {
		// "Verbatim" lets the library choose.
		f.Subframes[c] = &frame.Subframe{SubHeader: frame.SubHeader{Pred: frame.PredVerbatim}, Samples: samples, NSamples: n}
		e.pending[c] = samples[:0]
	}
	return e.encoder.WriteFrame(f)
}

func (e *flacEncoder) close() error {
	if len(e.pending[0]) > 0 {
		if err := e.flush(); err != nil {
			return err
		}
	}
	// Close goes back to fill in the length and the MD5 of all samples.
	if err := e.encoder.Close(); err != nil {
		return err
	}
	return e.fixBlockSize()
}

// fixBlockSize sets both block sizes of STREAMINFO. The library counts the short last block as the smallest, which the
// format does not, and a smallest block under 16 makes decoders refuse the file.
func (e *flacEncoder) fixBlockSize() error {
	const offset = 8 // "fLaC", block header
	if _, err := e.out.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	_, err := e.out.Write([]byte{flacBlock >> 8, flacBlock & 0xff, flacBlock >> 8, flacBlock & 0xff})
	return err
}
