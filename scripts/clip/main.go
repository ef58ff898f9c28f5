// Command clip composes and renders testdata/clip.wav: the music that the README's first command continues.
//
// Four bars at 120 bpm (Am F C G; drums, bass, chords, a plucked line) make exactly 8 s at 44.1 kHz, stereo, 16-bit.
// Everything is computed from the score below, so the file can be made again and nobody else owns its music. The last
// bar leads back to the first: the clip loops, and invites a continuation.
//
//	go run ./scripts/clip testdata/clip.wav
package main

import (
	"fmt"
	"os"

	"github.com/go-audio/audio"
	"github.com/go-audio/wav"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: clip FILE.wav")
		os.Exit(2)
	}
	if err := write(os.Args[1], quantize(render())); err != nil {
		fmt.Fprintln(os.Stderr, "clip:", err)
		os.Exit(1)
	}
}

// quantize turns full-scale samples into 16-bit integers, rounded to nearest and clamped.
func quantize(samples []float64) []int {
	out := make([]int, len(samples))
	for i, x := range samples {
		out[i] = int(min(max(x*32767, -32767), 32767)+32768.5) - 32768
	}
	return out
}

// write stores interleaved stereo samples as a 16-bit WAV file.
func write(path string, samples []int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	const pcm = 1
	encoder := wav.NewEncoder(file, rate, 16, 2, pcm)
	buffer := &audio.IntBuffer{
		Format:         &audio.Format{NumChannels: 2, SampleRate: rate},
		Data:           samples,
		SourceBitDepth: 16,
	}
	if err := encoder.Write(buffer); err != nil {
		return err
	}
	if err := encoder.Close(); err != nil {
		return err
	}
	return file.Close()
}
