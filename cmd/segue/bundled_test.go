package main

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"segue/engine"
	"segue/engine/audio"
)

// These tests and the benchmark run the bundled model on the loops of clips, as make demo does. The other tests run a
// faster one.

var loops = []string{"house-119", "synthwave-103", "drum-and-bass-174"}

// bundledEngine is an engine as a command opens it.
func bundledEngine(t testing.TB) *engine.Engine {
	t.Helper()
	machine := machineFlags{device: "cpu", models: t.TempDir()}
	e, err := machine.openEngine()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// played continues a loop as make demo does and returns the file as mono, and its first new sample.
func played(t testing.TB, e *engine.Engine, loop string, seed int64) (mono []float32, seam int, result engine.Result) {
	t.Helper()
	job := engine.NewJob()
	job.Path, job.PromptSeconds, job.Include, job.Seed = filepath.Join("..", "..", "clips", loop+".wav"), 9, "full", seed
	job.OutputPath = filepath.Join(t.TempDir(), "out.wav")
	result, err := e.Run(context.Background(), job, func(engine.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := audio.Open(job.OutputPath)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	info := reader.Info()
	interleaved, err := reader.Read(0, info.Frames)
	if err != nil {
		t.Fatal(err)
	}
	return audio.Mix(audio.Deinterleave(interleaved, info.Channels), 1)[0], int(math.Round(result.Outputs[0].SeamSeconds * float64(info.Rate))), result
}

// No loop clicks where the new part begins, and none falls silent.
func TestBundledSeams(t *testing.T) {
	e := bundledEngine(t)
	for i, loop := range loops {
		mono, seam, result := played(t, e, loop, int64(i))
		if o := result.Outputs[0]; o.Silent || o.Seconds < 10 {
			t.Errorf("%s: got %+v, want ten more seconds that sound", loop, o)
		}
		if c := click(mono, seam); c > 1 {
			t.Errorf("%s: the step at the seam is %.2f times the largest before it, want at most 1", loop, c)
		}
		mono[seam] += 0.5 // the measure must hear a click
		if c := click(mono, seam); c <= 1 {
			t.Errorf("%s: a click of 0.5 is %.2f times the largest step before it, want more than 1", loop, c)
		}
	}
}

// The key goes on: the notes of four takes after a loop are more like its own than like those of the other loops.
func TestBundledKeepsTheKey(t *testing.T) {
	e := bundledEngine(t)
	before, after := make([][]float64, len(loops)), make([][]float64, len(loops))
	for i, loop := range loops {
		after[i] = make([]float64, 12)
		for seed := range 4 {
			mono, seam, _ := played(t, e, loop, int64(seed))
			before[i] = notes(mono[:seam])
			floats.Add(after[i], notes(mono[seam:]))
		}
	}
	for i, loop := range loops {
		own := stat.Correlation(before[i], after[i], nil)
		for j, other := range loops {
			if with := stat.Correlation(before[j], after[i], nil); j != i && with >= own {
				t.Errorf("%s: goes on with notes that correlate %.2f with its own, %.2f with those of %s", loop, own, with, other)
			}
		}
	}
}

// notes counts the frames in which each of the twelve pitch classes is the strongest.
func notes(mono []float32) []float64 {
	counts := make([]float64, 12)
	for i, on := range audio.Chroma(mono, 32000) {
		counts[i%12] += float64(on)
	}
	return counts
}

// click is the largest step between samples within 1 ms of at, over the largest in the quarter of a second before.
func click(x []float32, at int) float64 {
	const near, far = 32, 8000
	return largestStep(x[at-near:at+near+1]) / largestStep(x[at-far:at-near])
}

func largestStep(x []float32) (largest float64) {
	for i := 1; i < len(x); i++ {
		largest = max(largest, math.Abs(float64(x[i])-float64(x[i-1])))
	}
	return largest
}

// BenchmarkSecond makes 10 s after a loop in q8 without guidance, and tells the seconds that one second of music takes:
// steps and codec, with the prompt known. Wanted are 0.15 s on two cores; music plays at 1.
func BenchmarkSecond(b *testing.B) {
	e := bundledEngine(b)
	played(b, e, loops[0], 0)
	var steps, codec, seconds float64
	for i := range b.N {
		_, _, result := played(b, e, loops[0], int64(i))
		steps += result.Timing.DecodeMS / 1000
		codec += result.Timing.CodecMS / 1000
		seconds += result.Outputs[0].Seconds - result.Outputs[0].SeamSeconds
	}
	b.ReportMetric(steps/seconds, "steps-s/s")
	b.ReportMetric(codec/seconds, "codec-s/s")
	b.ReportMetric((steps+codec)/seconds, "s/s")
	b.ReportMetric(0.15, "wanted-s/s")
	b.ReportMetric(0, "ns/op") // a second of music is the unit
}
