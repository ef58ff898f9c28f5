package audio

import (
	"math"
	"testing"
)

// Each note of a scale over four octaves is found in its own pitch class, C first.
func TestChromaFindsNotes(t *testing.T) {
	const rate = 32000
	for note := 36; note < 84; note++ { // MIDI numbers: 60 is middle C, 69 is 440 Hz
		x := make([]float32, 3*chromaWindow)
		for i := range x {
			x[i] = float32(0.3 * math.Sin(2*math.Pi*440*math.Exp2(float64(note-69)/12)*float64(i)/rate))
		}
		chroma := Chroma(x, rate)
		if want := (len(x)/chromaHop + 1) * 12; len(chroma) != want {
			t.Fatalf("got %d numbers, want %d", len(chroma), want)
		}
		row := chroma[len(chroma)/2/12*12:][:12]
		for class, v := range row {
			if want := float32(0); class == note%12 {
				want = 1
				if v != want {
					t.Errorf("note %d: got %v, want class %d", note, row, note%12)
				}
			} else if v != want {
				t.Errorf("note %d: got %v, want one class", note, row)
			}
		}
	}
}

// Silence is C in every row, and the shortest input gives the rows of one window.
func TestChromaOfSilence(t *testing.T) {
	for _, n := range []int{1, 5000, chromaWindow} {
		chroma := Chroma(make([]float32, n), 32000)
		if want := (chromaWindow/chromaHop + 1) * 12; len(chroma) != want {
			t.Fatalf("%d samples: got %d numbers, want %d", n, len(chroma), want)
		}
		for i, v := range chroma {
			if (i%12 == 0) != (v == 1) {
				t.Fatalf("%d samples: got %v, want C throughout", n, chroma)
			}
		}
	}
}
