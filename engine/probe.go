package engine

import (
	"context"
	"fmt"

	"segue/engine/audio"
)

// probedSeconds bounds what a probe listens to: the end of a longer file, which is what a continuation would hear.
const probedSeconds = 120

// Probe tells what an audio file is, without the device.
func (e *Engine) Probe(ctx context.Context, path string) (AudioInfo, error) {
	resolved, err := audio.ResolvePath(path, e.options.WorkDir, e.options.Home)
	if err != nil {
		return AudioInfo{}, Errorf(BadParam, "path", "path: %w", err)
	}
	reader, err := audio.Open(resolved)
	if err != nil {
		return AudioInfo{}, audioError("path", resolved, err)
	}
	defer reader.Close()
	f := reader.Info()
	info := AudioInfo{
		Path: resolved, Format: f.Format, Encoding: f.Encoding, SampleRate: f.Rate, Channels: f.Channels,
		Frames: f.Frames, Seconds: float64(f.Frames) / float64(f.Rate), Warnings: f.Warnings,
	}
	n := min(f.Frames, int64(probedSeconds*f.Rate))
	if n < f.Frames {
		info.Warnings = append(info.Warnings, fmt.Sprintf("peak, loudness and tempo are those of the last %d s", probedSeconds))
	}
	if ctx.Err() != nil {
		return AudioInfo{}, context.Cause(ctx)
	}
	interleaved, err := reader.Read(f.Frames-n, n)
	if err != nil {
		return AudioInfo{}, audioError("path", resolved, err)
	}
	planar := audio.Deinterleave(interleaved, f.Channels)
	info.PeakDB = measured(audio.PeakDB(planar...))
	info.Loudness = measured(audio.Loudness(planar, f.Rate))
	info.Tempo = measured(audio.Tempo(audio.Mix(planar, 1)[0], f.Rate))
	return info, nil
}
