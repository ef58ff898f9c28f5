package main

import (
	"math"
	"os"
	"testing"

	"github.com/go-audio/wav"
)

// The stored clip is what the program makes. One step of 16 bits is allowed: processors with fused multiply-add round
// a few samples differently.
func TestClipIsFresh(t *testing.T) {
	file, err := os.Open("../../testdata/clip.wav")
	if err != nil {
		t.Fatal(err, "; make it with: make clip")
	}
	defer file.Close()
	decoder := wav.NewDecoder(file)
	stored, err := decoder.FullPCMBuffer()
	if err != nil {
		t.Fatal(err)
	}
	if decoder.SampleRate != rate || decoder.NumChans != 2 || decoder.BitDepth != 16 {
		t.Fatalf("clip: got %d Hz, %d channels, %d bit", decoder.SampleRate, decoder.NumChans, decoder.BitDepth)
	}
	made := quantize(render())
	if len(stored.Data) != len(made) {
		t.Fatalf("clip: got %d samples, want %d", len(stored.Data), len(made))
	}
	for i, x := range made {
		if d := stored.Data[i] - x; d < -1 || d > 1 {
			t.Fatalf("clip: sample %d is %d, the program makes %d: run make clip", i, stored.Data[i], x)
		}
	}
}

// A clip to show has a healthy level and never touches full scale.
func TestClipLevel(t *testing.T) {
	peak, power := 0.0, 0.0
	samples := render()
	for _, x := range samples {
		peak = max(peak, math.Abs(x))
		power += x * x
	}
	peakDB, meanDB := 20*math.Log10(peak), 10*math.Log10(power/float64(len(samples)))
	if peakDB > -1 || peakDB < -8 || meanDB < -22 || meanDB > -12 {
		t.Fatalf("clip: peak %.1f dBFS, mean %.1f dBFS; want a peak of -8 to -1 and a mean of -22 to -12", peakDB, meanDB)
	}
}
